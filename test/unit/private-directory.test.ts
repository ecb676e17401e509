/** Directories for nobody else: made so, made so again, and refused with a reason where none can be. */
import { chmod, lstat, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { makePrivateDirectory, prepareDataDirectory } from '../../src/host/private-directory.ts';

let dir = '';
const umask = process.umask();
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'covey-private-'));
  process.umask(0o022);
});
afterEach(async () => {
  process.umask(umask);
  await rm(dir, { recursive: true, force: true });
});

const modeOf = async (path: string): Promise<string> =>
  ((await lstat(path)).mode & 0o7777).toString(8);

test('what is missing is made, all of it for its owner alone', async () => {
  const path = join(dir, 'a/b/c');
  expect(await prepareDataDirectory(path)).toEqual({ ok: true, value: 'private' });
  for (const part of ['a', 'a/b', 'a/b/c']) expect(await modeOf(join(dir, part))).toBe('700');
  expect(await prepareDataDirectory(path)).toEqual({ ok: true, value: 'private' });
});

test('a data directory of ours that is open to others is narrowed', async () => {
  const path = join(dir, 'data');
  await mkdir(join(path, 'identity'), { recursive: true });
  await writeFile(join(path, 'lock'), '');
  await chmod(path, 0o755);
  expect(await prepareDataDirectory(path)).toEqual({ ok: true, value: 'private' });
  expect(await modeOf(path)).toBe('700');
});

test('one that holds what is not a daemon’s keeps its mode, and the caller is told', async () => {
  await writeFile(join(dir, 'somebody.txt'), '');
  await chmod(dir, 0o1777);
  expect(await prepareDataDirectory(dir)).toEqual({ ok: true, value: 'shared' });
  expect(await modeOf(dir)).toBe('1777');
});

test('where none can be made it says why, and ends', async () => {
  await writeFile(join(dir, 'file'), '');
  await symlink('nowhere', join(dir, 'dangling'));
  for (const [path, why] of [
    // Node's own recursive mkdir tries for ever here.
    ['/proc/nope/data', /^ENOENT: .*\/proc\/nope/],
    [join(dir, 'file'), /^EEXIST/],
    [join(dir, 'file/data'), /^ENOTDIR/],
    [join(dir, 'dangling'), /^EEXIST/],
  ] as const) {
    const refused = { ok: false, error: expect.stringMatching(why) };
    expect(await makePrivateDirectory(path)).toEqual(refused);
    expect(await prepareDataDirectory(path)).toEqual(refused);
  }
});
