/**
 * The shape of the project, enforced: who imports whom, who touches the host, sizes, dead code, documents. Each
 * finding names file, line, rule and what to write instead; tables and exceptions are in tidy/rooms.ts.
 *
 * Below the rules, a table of bad snippets goes through the same functions: a rule that cannot fail is none.
 */
import { existsSync } from 'node:fs';
import { glob, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { ERROR_CODES } from '../src/base/errors.ts';
import { mergeConfig } from '../src/host/config.ts';
import { VERSION } from '../src/version.ts';
import { openProject, openSnippets, type Problem } from './tidy/program.ts';
import * as project from './tidy/project-rules.ts';
import * as rooms from './tidy/rooms.ts';
import * as rules from './tidy/rules.ts';
import * as semantic from './tidy/semantic-rules.ts';
import { BAD_SNIPPETS, GOOD_SNIPPETS } from './tidy/snippets.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, '');
const show = (problems: readonly Problem[]): string[] =>
  problems.map(({ file, line, rule, message }) => `${file}:${line} [${rule}] ${message}`);

const sources = openProject(ROOT);
afterAll(() => sources.close());

/** Relative paths that match, the project's own only. */
async function find(...patterns: string[]): Promise<string[]> {
  const found: string[] = [];
  for await (const path of glob(patterns, { cwd: ROOT })) {
    if (!/(^|\/)(node_modules|dist)\//.test(path)) found.push(path);
  }
  return found.sort();
}
const read = (path: string): Promise<string> => readFile(join(ROOT, path), 'utf8');

describe('every source file', () => {
  test.each(rules.FILE_RULES.map((rule, index) => [rule.name || `rule ${index}`, rule] as const))(
    '%s',
    (_, rule) => {
      expect(show(sources.files.flatMap(rule))).toEqual([]);
    },
  );

  test('uses no global of the host outside the rooms that run on it', () => {
    expect(show(semantic.globals(sources))).toEqual([]);
  });

  test('waits for every promise', { timeout: 60_000 }, () => {
    expect(show(semantic.floatingPromises(sources))).toEqual([]);
  });

  test('is reached from an entry point', () => {
    expect(show(project.deadFiles(sources.files, rooms.ENTRY_POINTS))).toEqual([]);
  });
});

describe('the project', () => {
  test('uses every error code, and each has its own number', () => {
    const unused = project.unusedCodes(sources.files, Object.keys(ERROR_CODES));
    expect(show([...unused, ...project.sharedNumbers(ERROR_CODES)])).toEqual([]);
  });

  test('has presets that the daemon accepts', async () => {
    const presets = await find('configs/*.yaml');
    expect(presets).toContain('configs/lan.yaml');
    for (const path of presets) {
      const values = (parse(await read(path)) ?? {}) as Record<string, unknown>;
      expect(mergeConfig({ file: { path, values }, env: {}, flags: {} })).toMatchObject({
        ok: true,
      });
    }
  });

  test('calls itself by one version', async () => {
    expect(VERSION).toBe((JSON.parse(await read('package.json')) as { version: string }).version);
  });

  test('has documents that need nothing from outside and name what exists', async () => {
    const problems: Problem[] = [];
    for (const path of await find('*.md', 'docs/**/*.md')) {
      const text = await read(path);
      problems.push(...rules.outsidePaths(path, text));
      problems.push(...project.missingPaths(path, text, (name) => existsSync(join(ROOT, name))));
    }
    expect(show(problems)).toEqual([]);
  });

  test('leaves no note to self in scripts, presets and documents', async () => {
    const problems: Problem[] = [];
    for (const path of await find('bin/*', '.ci/*', 'configs/*', '*.md', 'docs/**/*.{md,py}')) {
      problems.push(...rules.forbiddenWords(path, await read(path)));
    }
    expect(show(problems)).toEqual([]);
  });

  test('has no exception for a file that is gone', () => {
    const files = [...rooms.EXCEPTIONS, ...rooms.RAISED].map(({ file }) => file);
    expect(files.filter((file) => !existsSync(join(ROOT, file)))).toEqual([]);
  });
});

describe('the rules themselves', () => {
  const texts = Object.fromEntries(
    [...BAD_SNIPPETS, ...GOOD_SNIPPETS].map(({ path, text }) => [path, text]),
  );
  const snippets = openSnippets(ROOT, texts);
  afterAll(() => snippets.close());
  const found = [
    ...rules.FILE_RULES.flatMap((rule) => snippets.files.flatMap(rule)),
    ...semantic.globals(snippets),
    ...semantic.floatingPromises(snippets),
  ];

  test.each(BAD_SNIPPETS)('$rule fails on $path', ({ path, rule, says }) => {
    const here = show(found.filter((problem) => problem.file === path));
    expect(here).toHaveLength(1);
    expect(here[0]).toMatch(new RegExp(`^${path}:\\d+ \\[${rule}\\] `));
    expect(here[0]).toContain(says);
  });

  test.each(GOOD_SNIPPETS)('$path is as it should be', ({ path }) => {
    expect(show(found.filter((problem) => problem.file === path))).toEqual([]);
  });

  test('a file that nobody loads is dead, also when only a test loads it', () => {
    const dead = project.deadFiles(snippets.files, ['src/cli/entry.ts']);
    const paths = dead.map(({ file }) => file);
    expect(paths).toContain('src/cli/loaded-by-a-test.ts');
    expect(paths).not.toContain('src/cli/loaded.ts');
    expect(paths).not.toContain('src/sim/loaded-by-a-test.ts');
  });

  test('error codes: unused ones and shared numbers are named', () => {
    expect(project.unusedCodes(snippets.files, ['GHOST', 'ANSWERED'])).toMatchObject([
      { message: expect.stringContaining('GHOST') },
    ]);
    expect(project.sharedNumbers({ A: { rpc: 1 }, B: { rpc: 2 }, C: { rpc: 1 } })).toMatchObject([
      { message: expect.stringContaining('C and A share 1') },
    ]);
  });

  test('documents: paths outside and paths that are gone are named', () => {
    const text = 'See src/base/errors.ts.\nSee ../shared/DESIGN.md and src/gone.ts.\n';
    expect(rules.outsidePaths('docs/x.md', text)).toMatchObject([{ line: 2 }]);
    const exists = (path: string): boolean => path === 'src/base/errors.ts';
    expect(project.missingPaths('docs/x.md', text, exists)).toMatchObject([
      { line: 2, message: expect.stringContaining('src/gone.ts') },
    ]);
  });

  test('a preset with an unknown key is refused, with the nearest known one', () => {
    const file = { path: 'configs/x.yaml', values: { copis: 3 } };
    expect(mergeConfig({ file, env: {}, flags: {} })).toEqual({
      ok: false,
      error: "configs/x.yaml: there is no key 'copis'; did you mean 'copies'?",
    });
  });
});
