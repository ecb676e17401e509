/** Whether a file may be opened as a store, seen from its first bytes: LMDB would end the process instead of saying no. */
import { spawnSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { RecordingLogger } from '../../src/base/telemetry.ts';
import { HostClock } from '../../src/host/clock.ts';
import { openRecords } from '../../src/host/open-records.ts';
import {
  fellOver,
  flawOf,
  isDamaged,
  lostIdentity,
  markOpening,
  orDamage,
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

/** Where the newer head of the file says that the tree of what is stored begins. */
function rootPageOf(bytes: Buffer): number {
  const heads = [0, bytes.readUInt32LE(48)];
  const newer = heads.sort((a, b) =>
    Number(bytes.readBigUInt64LE(b + 152) - bytes.readBigUInt64LE(a + 152)),
  );
  return Number(bytes.readBigUInt64LE((newer[0] ?? 0) + 136)) * bytes.readUInt32LE(48);
}

test('damage that the opening meets costs this start nothing but the store, which is set aside', async () => {
  const dataDir = join(directory, '..');
  const log = new RecordingLogger();
  const bytes = await makeStore();
  await put(bytes.fill(0, rootPageOf(bytes), rootPageOf(bytes) + 4_096));
  const opened = await openRecords({ dataDir, log }, new HostClock());
  if (!opened.ok) throw new Error(opened.error);
  expect(log.lines).toMatchObject([
    { level: 'error', fields: { why: expect.stringContaining('MDB_CORRUPTED') } },
  ]);
  expect(await opened.value.append([{ put: 'k', value: new Uint8Array(1) }])).toEqual({ ok: true });
  await opened.value.close();
  expect((await readdir(dataDir)).sort()).toEqual(['store', 'store.corrupt-1']);
});

test('an error of LMDB at the start is the fault of the store only if nothing else can explain it', async () => {
  const thrown = await orDamage(() => Promise.reject(new Error('MDB_BAD_TXN: must abort')));
  expect(thrown).toMatchObject({ ok: false, error: { code: 'failed' } });
  await expect(orDamage(() => Promise.reject(new Error('a bug')))).rejects.toThrow('a bug');
  const bytes = await makeStore();
  expect(await isDamaged(directory, 'writing failed: the port is in use')).toBe(false);
  expect(await isDamaged(directory, 'store/ cannot be read: MDB_BAD_TXN')).toBe(false);
  // The peer book is another file.
  expect(await isDamaged(directory, 'the start was not counted: MDB_CORRUPTED')).toBe(false);
  await put(bytes.subarray(0, 3 * 4_096));
  expect(await isDamaged(directory, 'store/ cannot be read: MDB_BAD_TXN')).toBe(true);
});

test('what keeps another process from trying the store is no fault of the store', async () => {
  await makeStore();
  await markOpening(directory);
  const inUse = await openStore({ directory, clock: new HostClock() });
  if (!inUse.ok) throw new Error(inUse.error.detail);
  expect(await fellOver(directory)).toBe(false);
  await inUse.value.close();
  // As an error of the disk would: nothing of the store was looked at.
  await rm(join(directory, 'lock'));
  await mkdir(join(directory, 'lock'));
  expect(await fellOver(directory)).toBe(false);
});

test('a directory that this user may not use is named, with its rights', async () => {
  await chmod(directory, 0o100);
  // Root may do everything. Another user may not read the sources, if they lie in root's home.
  const user = 'process.setgid(65_534); process.setuid(65_534);';
  const module = join(import.meta.dirname, '../../src/host/recover-store.ts');
  const script = `import { forbidden } from ${JSON.stringify(module)};
    ${process.getuid?.() === 0 ? user : ''}
    console.log(await forbidden(process.argv[1]));`;
  const argv = ['--input-type=module', '-e', script, directory];
  const said = spawnSync(process.execPath, argv, { encoding: 'utf8' });
  expect(said.stdout).toContain(`${directory} cannot be read and written by user`);
  expect(said.stdout).toContain('EACCES');
  await chmod(directory, 0o700);
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
