/** `npm run bench:membership`, as short as it gets: that it runs, what it prints, and that nothing stays. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { COVEY_NODE } from '../../src/testnet/paths.ts';
import { processesWithArguments, waitUntilGone } from '../../src/testnet/processes.ts';
import { processEndsWithUs } from '../support/end-with-us.ts';
import { atEnd } from './setting.ts';

const TIMEOUT_MS = 120_000;
const BENCH = fileURLToPath(new URL('../../bench/membership.ts', import.meta.url));

async function bench(): Promise<{ readonly temporary: string; readonly child: ChildProcess }> {
  const temporary = await mkdtemp(join(tmpdir(), 'cvb-'));
  atEnd(() => rm(temporary, { recursive: true, force: true }));
  const args = [BENCH, '--quick', '--n', '3', '--only', 'covey', '--json'];
  const child = spawn(COVEY_NODE, args, {
    env: { ...process.env, TMPDIR: temporary },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  await processEndsWithUs(child.pid);
  return { temporary, child };
}

test(
  'a kill, a leave and joins of three daemons give figures, and one line of JSON',
  async () => {
    const { temporary, child } = await bench();
    if (!child.stdout || !child.stderr) throw new Error('no output');
    const [out, errors] = await Promise.all([text(child.stdout), text(child.stderr)]);
    expect({ lines: out.trimEnd().split('\n').length, errors }).toMatchObject({ lines: 1 });
    const { covey, targets } = JSON.parse(out);
    for (const figure of ['all_dead_ms', 'leave_all_ms', 'join_one_ms', 'join_all_ms', 'rss_mib']) {
      expect({ figure, value: covey[3][figure] }).toEqual({ figure, value: expect.any(Number) });
    }
    expect(targets).toContainEqual(
      expect.objectContaining({ what: 'all_dead_ms, N = 3', value: covey[3].all_dead_ms }),
    );
    expect(await readdir(temporary)).toEqual([]);
  },
  TIMEOUT_MS,
);

test(
  'an interrupt ends its daemons and removes its files',
  async () => {
    const { temporary, child } = await bench();
    let daemons = await daemonsBelow(temporary);
    while (daemons.length === 0 && child.exitCode === null) daemons = await daemonsBelow(temporary);
    const exited = once(child, 'exit');
    child.kill('SIGINT');
    expect((await exited)[0]).toBe(130);
    expect(await waitUntilGone(daemons, 10_000)).toEqual([]);
    expect(await readdir(temporary)).toEqual([]);
  },
  TIMEOUT_MS,
);

/** By the data directory of the first daemon, which lies in a directory that this run made. */
async function daemonsBelow(temporary: string) {
  for (const name of await readdir(temporary)) {
    const data = join(temporary, name, 'run', 'covey-3-1', 'n1', 'data');
    const found = await processesWithArguments(['--data-dir', data]);
    if (found.length > 0) return found;
  }
  return [];
}
