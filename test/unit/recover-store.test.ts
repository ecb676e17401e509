/** Whether a file may be opened as a store, seen from its first bytes: LMDB would end the process instead of saying no. */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { HostClock } from '../../src/host/clock.ts';
import {
  fellOver,
  flawOf,
  lostIdentity,
  markOpening,
  setAside,
  settled,
} from '../../src/host/recover-store.ts';
import { openStore } from '../../src/host/store.ts';

let directory: string;

beforeEach(async () => {
  directory = join(await mkdtemp(join(tmpdir(), 'covey-recover-')), 'store');
  await mkdir(directory);
});

afterEach(() => rm(join(directory, '..'), { recursive: true }));

async function makeStore(): Promise<Buffer> {
  const opened = await openStore({ directory, clock: new HostClock() });
  if (!opened.ok) throw new Error(opened.error.detail);
  for (let i = 0; i < 20; i++)
    await opened.value.append([{ put: `k/${i}`, value: new Uint8Array(5_000) }]);
  await opened.value.close();
  return readFile(join(directory, 'data.mdb'));
}

const put = (bytes: Uint8Array): Promise<void> => writeFile(join(directory, 'data.mdb'), bytes);

test('a store, and the lack of one, may be opened', async () => {
  expect(await flawOf(directory)).toBeUndefined();
  await put(new Uint8Array(0));
  expect(await flawOf(directory)).toBeUndefined();
  await rm(join(directory, 'data.mdb'));
  await makeStore();
  expect(await flawOf(directory)).toBeUndefined();
});

test.each<[string, (bytes: Buffer) => Uint8Array]>([
  ['garbage', () => new Uint8Array(100_000).map((_, i) => i * 7)],
  ['a text', () => Buffer.from('hello')],
  ['nothing but zeros', () => new Uint8Array(100_000)],
  ['a store cut off within its head', (bytes) => bytes.subarray(0, 4_200)],
  ['a store whose first page was overwritten', (bytes) => bytes.fill(0xa5, 0, 4_096)],
  ['a store whose second page was overwritten', (bytes) => bytes.fill(0xa5, 4_096, 8_192)],
])('%s is no store', async (_, damage) => {
  await put(damage(await makeStore()));
  expect(await flawOf(directory)).toMatch(/no LMDB file|cut off/);
});

test('what has a good head and still ends the process is found by another one, after the first fall', async () => {
  const bytes = await makeStore();
  expect(await fellOver(directory)).toBe(false);
  await markOpening(directory);
  expect(await fellOver(directory)).toBe(false);
  await put(bytes.subarray(0, 3 * 4_096));
  expect(await flawOf(directory)).toBeUndefined();
  expect(await fellOver(directory)).toBe(true);
  await settled(directory);
  expect(await fellOver(directory)).toBe(false);
});

test('a page that is in no order any more can be walked, and is found all the same', async () => {
  const bytes = await makeStore();
  await markOpening(directory);
  for (let at = bytes.indexOf('k/1'); at >= 0; at = bytes.indexOf('k/1', at + 1)) bytes[at] = 0x7a;
  await put(bytes);
  expect(await fellOver(directory)).toBe(true);
});

test('a store without the identity it was made under is told from a new directory', async () => {
  const dataDir = join(directory, '..');
  expect(await lostIdentity(dataDir)).toBeUndefined();
  await makeStore();
  expect(await lostIdentity(dataDir)).toBe('identity/key');
  await mkdir(join(dataDir, 'identity', 'book'), { recursive: true });
  await writeFile(join(dataDir, 'identity', 'key'), 'key');
  expect(await lostIdentity(dataDir)).toBe('identity/book/data.mdb');
  await writeFile(join(dataDir, 'identity', 'book', 'data.mdb'), 'book');
  expect(await lostIdentity(dataDir)).toBeUndefined();
});

test('a directory is set aside under the first name that is free', async () => {
  for (const n of [1, 2]) {
    await put(Buffer.from(`store ${n}`));
    expect(await setAside(directory, 'corrupt')).toEqual({
      ok: true,
      value: `${directory}.corrupt-${n}`,
    });
    await mkdir(directory);
  }
  const names = await readdir(join(directory, '..'));
  expect(names.sort()).toEqual(['store', 'store.corrupt-1', 'store.corrupt-2']);
});
