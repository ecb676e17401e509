/**
 * Every mutant fits the source as it is today: each edit matches exactly once and what it makes still parses.
 * Whether the simulator finds them is for `npm run sim:mutants`: it takes long.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { applyEdit, type Mutant, mutatedFiles } from './mutant.ts';
import { MUTANTS } from './planted.ts';

const SOURCE = fileURLToPath(new URL('../../src', import.meta.url));
const read = (file: string): Promise<string> => readFile(join(SOURCE, file), 'utf8');

describe('an edit', () => {
  const edit = { file: 'a.ts', find: 'one', replace: 'two' };

  it('is applied where it matches', () => {
    expect(applyEdit('example', 'this one', edit)).toBe('this two');
  });

  it('is an error that names the mutant where it matches never or twice', () => {
    expect(() => applyEdit('example', 'none', { ...edit, find: 'x' })).toThrow(
      'mutant example: its edit of a.ts matches 0 times',
    );
    expect(() => applyEdit('example', 'one one', edit)).toThrow('matches 2 times');
  });

  it('is an error where what it makes is no program', async () => {
    const broken: Mutant = {
      name: 'example',
      breaks: '',
      modes: ['calm'],
      edits: [{ ...edit, replace: 'two(' }],
    };
    await expect(mutatedFiles(broken, () => Promise.resolve('one'))).rejects.toThrow(
      'mutant example: a.ts does not parse',
    );
  });
});

describe('the planted bugs', () => {
  it('are at least 25, each with a name of its own', () => {
    expect(MUTANTS.length).toBeGreaterThanOrEqual(25);
    expect(new Set(MUTANTS.map(({ name }) => name)).size).toBe(MUTANTS.length);
  });

  it.each(MUTANTS.map((mutant) => [mutant.name, mutant] as const))(
    '%s changes the source as it is',
    async (_, mutant) => {
      const files = await mutatedFiles(mutant, read);
      expect(files.size).toBeGreaterThan(0);
      for (const [file, text] of files) expect(text).not.toBe(await read(file));
    },
  );
});
