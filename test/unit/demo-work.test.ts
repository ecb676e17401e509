/** The work of `npm start`: which files, and how a batch shows that another run of its task still lives. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir, uptime } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { Children } from '../../src/testnet/demo-children.ts';
import { parseRecords, parseStarts } from '../../src/testnet/demo-verdict.ts';
import { chooseVictim } from '../../src/testnet/demo-victim.ts';
import { filesPerTaskOf, furnish, listFiles, workplaceIn } from '../../src/testnet/demo-work.ts';
import { descendantsOf, waitUntilGone } from '../../src/testnet/processes.ts';

const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function scratch(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'covey-test-'));
  cleanups.push(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

/** A directory with awkward files, and a workplace for them. */
async function prepare() {
  const dir = await scratch();
  const data = join(dir, 'data');
  await mkdir(join(data, 'sub dir'), { recursive: true });
  const names = ['plain', 'sub dir/two\nlines', "sub dir/it's {} $HOME", '-n'];
  for (const name of names) await writeFile(join(data, name), `content of ${name}`);
  await symlink('plain', join(data, 'link'));
  const listed = await listFiles(data, false);
  if (!listed.ok) throw new Error(listed.error);
  const place = workplaceIn(join(dir, 'work'));
  await mkdir(place.locks, { recursive: true });
  await furnish(place, listed.value);
  return { data, names, files: listed.value, place };
}

test('every regular file is listed, links are not, and plain xargs hashes each', async () => {
  const { data, names, files, place } = await prepare();
  expect(files).toEqual(names.map((name) => join(data, name)).sort());
  let records = 0;
  const children = new Children();
  const finished = await children.run(
    ['xargs', '-0', '-n', '3', '-P', '2', ...place.plainCommand],
    place.list,
    (count) => {
      records += count;
    },
  );
  expect(finished).toMatchObject({ exitCode: 0, errors: '' });
  expect(records).toBe(files.length);
  const found = parseRecords(finished.output);
  expect(found.map((record) => record.slice(66)).sort()).toEqual(files);
  // printf 'content of plain' | gzip -9 -n -c | sha256sum, but for the name: -n leaves it out.
  const again = spawn('sh', ['-c', `gzip -9 -n -c <"$0" | sha256sum`, join(data, 'plain')]);
  const [hash] = await once(again.stdout.setEncoding('utf8'), 'data');
  expect(found).toContain(`${String(hash).slice(0, 64)}  ${join(data, 'plain')}`);
});

test('a directory without files, one that is not there, and a small default are refused', async () => {
  const dir = await scratch();
  expect(await listFiles(dir, false)).toMatchObject({
    ok: false,
    error: expect.stringMatching(/no regular file/),
  });
  expect(await listFiles(join(dir, 'none'), false)).toMatchObject({
    ok: false,
    error: expect.stringMatching(/ENOENT/),
  });
  await writeFile(join(dir, 'one'), '');
  expect(await listFiles(dir, true)).toMatchObject({
    ok: false,
    error: expect.stringMatching(/needs 5000; run 'npm/),
  });
  expect(await listFiles(dir, false)).toMatchObject({ ok: true });
});

test('a start is free, unless any process of an earlier start still lives', async () => {
  const { files, place } = await prepare();
  const [program = 'sh', ...args] = place.batchCommand;
  const start = (attempt: number, words: readonly string[], path = process.env.PATH) => {
    const child = spawn(program, [...args, ...words], {
      detached: true,
      stdio: 'ignore',
      env: { PATH: path, COVEY_TASK_ID: 'TASK', COVEY_ATTEMPT: String(attempt) },
    });
    const kill = () => {
      if (child.pid !== undefined && child.signalCode === null && child.exitCode === null) {
        process.kill(-child.pid, 'SIGKILL');
      }
    };
    cleanups.push(kill);
    return { pid: child.pid, kill, exit: once(child, 'exit') };
  };
  const startsOf = async () => parseStarts(await readFile(place.starts, 'utf8'));
  // A gzip that never ends: the first start lives until it is killed.
  const slow = join(place.dir, 'slow');
  await mkdir(slow);
  await writeFile(join(slow, 'gzip'), '#!/bin/sh\nexec sleep 60\n', { mode: 0o755 });
  const first = start(1, files, `${slow}:${process.env.PATH}`);
  while ((await startsOf()).length < 1) await new Promise(setImmediate);
  const firstStarted = () => descendantsOf([first.pid ?? 0]);
  while ((await firstStarted()).length === 0) await new Promise(setImmediate);
  const second = start(2, files);
  expect(await second.exit).toEqual([0, null]);
  // The shell may be gone before the rest of its group, which holds the lock as well.
  const started = await firstStarted();
  first.kill();
  await first.exit;
  expect(await waitUntilGone(started, 20_000)).toEqual([]);
  const third = start(3, files);
  expect(await third.exit).toEqual([0, null]);
  const ageMs = uptime() * 1_000 - ((await startsOf())[0]?.atMs ?? 0);
  expect(ageMs).toBeGreaterThanOrEqual(0);
  expect(ageMs).toBeLessThan(60_000);
  expect(await startsOf()).toMatchObject([
    { task: 'TASK', attempt: 1, pid: first.pid, lockWasFree: true },
    { task: 'TASK', attempt: 2, pid: second.pid, lockWasFree: false },
    { task: 'TASK', attempt: 3, pid: third.pid, lockWasFree: true },
  ]);
});

test('the victim both runs a batch and owns a waiting one, of those the richest owner', () => {
  const running = new Map([
    [1, 1],
    [2, 1],
    [3, 0],
    [4, 1],
    [5, 1],
  ]);
  const owned = new Map([
    [1, 9],
    [2, 1],
    [3, 5],
    [4, 3],
    [5, 0],
  ]);
  expect(chooseVictim([2, 3, 4, 5], running, owned)).toBe(4);
  expect(chooseVictim([3, 5], running, owned)).toBeUndefined();
});

test('batches are about 400, of 1 to 30 files', () => {
  expect([1, 400, 5_000, 9_377, 1_000_000].map(filesPerTaskOf)).toEqual([1, 1, 13, 24, 30]);
});
