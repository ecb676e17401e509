/**
 * Files as they must not be, and next to them files that look alike and are right. They exist in memory only and
 * go through the rules of tidy.test.ts. Each bad one breaks exactly one rule.
 */
interface Snippet {
  readonly path: string;
  readonly text: string;
}
interface BadSnippet extends Snippet {
  readonly rule: string;
  /** A part of what the finding says: the replacement, or the name at fault. */
  readonly says: string;
}

const lines = (count: number): string => 'x += 1;\n'.repeat(count);
const file = (path: string, body: string): Snippet => ({
  path,
  text: `/** A snippet. */\n${body}\n`,
});
const bad = (rule: string, path: string, body: string, says: string): BadSnippet => ({
  ...file(path, body),
  rule,
  says,
});
/** Written in two halves, or the rule would find this table. */
const NOTE = `TO${'DO'}`;

export const BAD_SNIPPETS: readonly BadSnippet[] = [
  bad(
    'direction',
    'src/base/up.ts',
    "import type { A } from '../ports/a.ts';\nexport type B = A;",
    'ports',
  ),
  bad('direction', 'src/ring/side.ts', "export * from '../records/a.ts';", "not import 'records'"),
  bad('direction', 'src/membership/side.ts', "export type A = import('../ring/a.ts').A;", 'ring'),
  bad('direction', 'src/membership/value.ts', "export * from '../api/a.ts';", 'type:api'),
  bad('direction', 'src/tasks/up.ts', "export const a = () => import('../peer/a.ts');", 'peer'),
  bad('direction', 'src/peer/host.ts', "export { a } from '../host/a.ts';", 'host'),
  bad('direction', 'src/client/ports.ts', "export { a } from '../ports/a.ts';", 'only base, api'),
  bad('direction', 'src/cli/run.ts', "export { a } from '../sim/a.ts';", 'sim'),
  bad('direction', 'src/wire/out.ts', "export { a } from '../../test/a.ts';", 'test/a.ts'),
  bad('direction', 'src/attic/a.ts', 'export const a = 1;', 'test/tidy/rooms.ts'),
  bad('package', 'src/tasks/node.ts', "export { join } from 'node:path';", 'src/host'),
  bad('package', 'src/sim/store.ts', "export { open } from 'lmdb';", 'lmdb'),
  bad('package', 'src/cli/net.ts', "export { createLibp2p } from 'libp2p';", 'libp2p'),
  bad('package', 'src/client/schema.ts', "export { z } from 'zod';", 'only node:'),
  bad('global', 'src/tasks/date.ts', 'export const now = () => Date.now();', 'Clock port'),
  bad('global', 'src/peer/date.ts', 'export type At = Date;', 'Clock port'),
  bad('global', 'src/ring/chance.ts', 'export const n = Math.random();', 'Random port'),
  bad('global', 'src/records/timer.ts', 'setTimeout(() => undefined, 1);', 'Clock.after'),
  bad('global', 'src/control/soon.ts', 'queueMicrotask(() => undefined);', 'a promise'),
  bad('global', 'src/control/late.ts', 'export const s = AbortSignal.timeout(1);', 'Clock.after'),
  bad('global', 'src/wire/bytes.ts', 'export const b = Buffer.alloc(1);', 'Uint8Array'),
  bad('global', 'src/base/env.ts', 'export const { env } = process;', 'Processes port'),
  bad('global', 'src/executors/key.ts', 'export const o = { crypto };', 'Identity'),
  bad('global', 'src/sim/now.ts', 'export const t = performance.now();', 'Clock port'),
  bad('global', 'src/sim/global.ts', 'export const g = globalThis;', 'port'),
  bad('global', 'src/host/print.ts', "console.log('x');", 'the Logger'),
  bad(
    'sync',
    'src/host/read.ts',
    "import { readFileSync } from 'node:fs';\nexport const t = readFileSync('x');",
    'node:fs/promises',
  ),
  bad('sync', 'src/testnet/make.ts', "import fs from 'node:fs';\nfs.mkdirSync('x');", 'mkdirSync'),
  bad(
    'catch',
    'src/host/quiet.ts',
    'try { JSON.parse(""); } catch { /* so what */ }',
    'empty catch',
  ),
  { ...bad('opening', 'src/ring/bare.ts', '', 'purpose'), text: 'export const a = 1;\n' },
  bad(
    'file length',
    'src/ring/long.ts',
    `let x = 0;\n${lines(398)}export const y = x;`,
    '401 lines',
  ),
  bad(
    'function length',
    'src/ring/tall.ts',
    `export function tall(x: number): number {\n${lines(68)}return x;\n}`,
    'tall has 71 lines',
  ),
  bad('word', 'src/ring/later.ts', `// ${NOTE}: all of it`, 'issue'),
  bad('word', 'src/ring/ignore.ts', `// @ts-${'ignore'}\nexport const a = 1;`, 'type'),
  bad('word', 'src/ring/lint.ts', `// biome-${'ignore'} lint/x/y: no`, 'reason'),
  bad(
    'skip',
    'test/skipped.test.ts',
    "import { test } from 'vitest';\ntest.skip('x', () => undefined);",
    'test.skip',
  ),
  bad(
    'skip',
    'test/retried.test.ts',
    "import { test } from 'vitest';\ntest('x', { retry: 2 }, () => undefined);",
    'condition',
  ),
  bad(
    'promise',
    'src/peer/floating.ts',
    "import { later } from './later.ts';\nlater();",
    'later()',
  ),
  bad(
    'promise',
    'src/peer/chained.ts',
    "import { later } from './later.ts';\nlater().then(() => 1);",
    'then',
  ),
  bad(
    'promise',
    'src/host/floating.ts',
    "import { rm } from 'node:fs/promises';\nrm('x');",
    'await',
  ),
];

export const GOOD_SNIPPETS: readonly Snippet[] = [
  file('src/peer/later.ts', 'export async function later(): Promise<number> {\n  return 1;\n}'),
  file(
    'src/peer/waits.ts',
    "import { later } from './later.ts';\nawait later();\nvoid later();\nlater().catch(() => 0);",
  ),
  file(
    'src/tasks/parameter.ts',
    'export const f = (process: { Date: number }): number => process.Date;',
  ),
  file(
    'src/tasks/words.ts',
    "// Date.now() and setTimeout\nexport const s = 'Math.random() console process';",
  ),
  file('src/tasks/key.ts', 'export const o = { Date: 1, console: 2, performance: 3 };'),
  file('src/membership/types.ts', "import type { A } from '../api/a.ts';\nexport type B = A;"),
  file('src/cli/sim.ts', "export { a } from '../sim/a.ts';"),
  file(
    'src/sim/disk.ts',
    'export class Disk {\n  a(): void {\n    this.finishSync();\n  }\n  finishSync(): void {\n    return;\n  }\n}',
  ),
  file('src/cli/entry.ts', "export { a } from './loaded.ts';"),
  file('src/cli/loaded.ts', "export const a = 'ANSWERED';"),
  file('src/cli/loaded-by-a-test.ts', 'export const a = 1;'),
  file('src/sim/loaded-by-a-test.ts', 'export const a = 1;'),
  file(
    'test/loads.test.ts',
    "import '../src/cli/loaded-by-a-test.ts';\nimport '../src/sim/loaded-by-a-test.ts';",
  ),
];
