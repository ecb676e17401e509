/** Store: the compliance suite on both twins, then their faults. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { open } from 'lmdb';
import { afterEach, describe, expect, test } from 'vitest';
import { SeededRandom } from '../../src/base/random.ts';
import { MIB } from '../../src/base/units.ts';
import { HostClock } from '../../src/host/clock.ts';
import { lockDataDirectory } from '../../src/host/directory-lock.ts';
import { CommitError, type Engine, provesDurable } from '../../src/host/lmdb-engine.ts';
import { HostStore, openStore, type StoreOptions } from '../../src/host/store.ts';
import type { Space } from '../../src/ports/room.ts';
import type { AppendResult, Store } from '../../src/ports/store.ts';
import { SimClock } from '../../src/sim/clock.ts';
import { SimDisk } from '../../src/sim/disk.ts';
import { settleReal } from './settle.ts';
import { type StoreTwin, storeCompliance } from './store.ts';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function tempDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'covey-store-'));
  cleanups.push(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

type Wrap = NonNullable<StoreOptions['wrap']>;

async function openHost(directory: string, wrap: Wrap = (engine) => engine): Promise<Store> {
  const opened = await openStore({ directory, clock: new HostClock(), wrap });
  if (!opened.ok) throw new Error(opened.error.detail);
  return opened.value;
}

const value = Uint8Array.of(1);

describe('the real store', () => {
  const twinIn = async (directory: string): Promise<StoreTwin> => {
    let space: Space | undefined;
    const store = await openHost(directory, (engine) => {
      const measured = engine.space.bind(engine);
      return Object.assign(engine, { space: async () => space ?? measured() });
    });
    let open = true;
    const close = async () => {
      if (open) await store.close();
      open = false;
    };
    return {
      store,
      settle: settleReal,
      setSpace: (now) => {
        space = now;
      },
      close,
      reopen: async () => {
        await close();
        return twinIn(directory);
      },
    };
  };
  storeCompliance(async () => twinIn(join(await tempDirectory(), 'store')));

  test('its directory is private and taken by one process at a time', async () => {
    const directory = join(await tempDirectory(), 'data', 'store');
    const store = await openHost(directory);
    expect((await stat(directory)).mode & 0o777).toBe(0o700);
    expect((await stat(join(directory, 'data.mdb'))).mode & 0o077).toBe(0);
    const second = await openStore({ directory, clock: new HostClock() });
    expect(second).toMatchObject({ ok: false, error: { code: 'in_use' } });
    expect(second.ok || second.error.detail).toContain(String(process.pid));
    const writer = startWriter(directory);
    await settleReal(() => writer.output.includes('\n'));
    expect(writer.output).toMatch(/^in_use /);
    await store.close();
    await (await openHost(directory)).close();
  });

  test('a killed process leaves every acknowledged write, whole batches, and no lock', async () => {
    const directory = join(await tempDirectory(), 'store');
    for (let round = 0; round < 2; round++) {
      const writer = startWriter(directory);
      await settleReal(() => writer.output.split('\n').length > 50);
      writer.child.kill('SIGKILL');
      await writer.closed;
      const acknowledged = writer.output.trimEnd().split('\n').map(Number);
      const store = await openHost(directory);
      const count = (prefix: string) =>
        store.range({ from: `${prefix}/`, to: `${prefix}0`, limit: 1e6 }).length;
      expect(count('a')).toBe(count('b'));
      expect(count('a')).toBeGreaterThan(acknowledged.at(-1) ?? Number.NaN);
      await store.close();
    }
  });

  test('of many that start together one gets the directory', async () => {
    const directory = join(await tempDirectory(), 'store');
    const locks = await Promise.all(Array.from({ length: 8 }, () => lockDataDirectory(directory)));
    const held = locks.filter((lock) => lock.ok);
    expect(held).toHaveLength(1);
    for (const lock of held) lock.value.release();
  });

  test('a directory that cannot be used is refused with a sentence', async () => {
    const opened = await openStore({ directory: '/dev/null/store', clock: new HostClock() });
    expect(opened).toMatchObject({ ok: false, error: { code: 'failed' } });
    expect(opened.ok || opened.error.detail).toContain('/dev/null/store');
  });

  test('a commit that the system refuses (file size limit) fails the store', async () => {
    const directory = join(await tempDirectory(), 'store');
    const writer = startWriter(directory, 'ulimit -f 400;');
    await writer.closed;
    expect(writer.output.trimEnd().split('\n').at(-1)).toMatch(/^failed /);
    const store = await openHost(directory);
    expect(store.range({ from: 'a/', to: 'a0', limit: 10 })).toHaveLength(10);
    await store.close();
  });
});

function startWriter(directory: string, shell = '') {
  const program = join(import.meta.dirname, 'programs/store-writer.ts');
  const command = `${shell} exec "$0" "$@"`;
  const child: ChildProcess = spawn(
    '/bin/sh',
    ['-c', command, process.execPath, program, directory],
    {
      stdio: ['ignore', 'pipe', 'ignore'],
    },
  );
  const closed = new Promise<void>((resolve) => child.on('close', () => resolve()));
  const writer = { child, closed, output: '' };
  child.stdout?.on('data', (chunk: Buffer) => {
    writer.output += chunk.toString();
  });
  cleanups.push(async () => {
    child.kill('SIGKILL');
    await closed;
  });
  return writer;
}

describe('LMDB as lmdb-js sets it up by itself', () => {
  test.each([true, false])('overlappingSync: %s is recognised', async (overlappingSync) => {
    const path = join(await tempDirectory(), 'store');
    const db = open<Uint8Array, string>({ path, overlappingSync, separateFlushed: true });
    cleanups.push(() => db.close());
    if (overlappingSync) expect(() => provesDurable(db)).toThrow('before it is durable');
    else await provesDurable(db);
  });
});

describe('the real store on a failing disk', () => {
  /** An engine that does what it is told. */
  class FakeEngine implements Engine {
    readonly committed: number[] = [];
    outcome: 'ok' | 'hang' | Error = 'ok';
    room = true;

    commit(ops: readonly unknown[]): Promise<void> {
      if (this.outcome === 'hang') return new Promise(() => undefined);
      if (this.outcome !== 'ok') return Promise.reject(this.outcome);
      this.committed.push(ops.length);
      return Promise.resolve();
    }
    get = () => undefined;
    range = () => [];
    usedBytes = () => 0;
    space = () => Promise.resolve({ freeBytes: 1e12, totalBytes: 1e12, reusableBytes: 0 });
    hasRoom = () => Promise.resolve(this.room);
    close = () => Promise.resolve();
  }

  test('a full disk answers full, to those who wait behind too, and recovers', async () => {
    const engine = new FakeEngine();
    const store = new HostStore(engine, new HostClock());
    for (const error of [
      new CommitError('No space left on device', 28),
      new CommitError('I/O', 5),
    ]) {
      engine.room = error.code !== 5;
      engine.outcome = error;
      const first = store.append([{ put: 'a', value }]);
      await new Promise((resolve) => setImmediate(resolve));
      const behind = store.append([{ put: 'b', value }]);
      engine.outcome = error;
      expect(await first).toMatchObject({ ok: false, code: 'full' });
      expect(await behind).toMatchObject({ ok: false, code: 'full' });
      engine.outcome = 'ok';
      expect(await store.append([{ put: 'c', value }])).toEqual({ ok: true });
    }
  });

  test('any other failure is final', async () => {
    const engine = new FakeEngine();
    const store = new HostStore(engine, new HostClock());
    engine.outcome = new CommitError('Input/output error', 5);
    expect(await store.append([{ put: 'a', value }])).toMatchObject({ code: 'failed' });
    engine.outcome = 'ok';
    expect(await store.append([{ put: 'a', value }])).toMatchObject({ code: 'failed' });
    expect(engine.committed).toEqual([]);
    await store.close();
  });

  test('is not asked for its room before each commit while there is plenty, and is when there is not', async () => {
    const engine = new FakeEngine();
    let looks = 0;
    let freeBytes = 1e12;
    engine.space = async () => {
      looks += 1;
      return { freeBytes, totalBytes: 1e12, reusableBytes: 0 };
    };
    const clock = new SimClock();
    const store = new HostStore(engine, clock);
    const write = () => store.append([{ put: 'a', value }]);
    for (let i = 0; i < 5; i++) expect(await write()).toEqual({ ok: true });
    expect(looks).toBe(1);
    await clock.runFor(300);
    // What others may have filled since the next look is taken off.
    freeBytes = 1_024 * MIB;
    for (let i = 0; i < 5; i++) expect(await write()).toEqual({ ok: true });
    expect(looks).toBe(6);
    freeBytes = 0;
    expect(await write()).toMatchObject({ ok: false, code: 'full' });
    await store.close();
  });

  test('refuses nothing for what it took off, and looks anew after a failure', async () => {
    const engine = new FakeEngine();
    let looks = 0;
    engine.space = async () => {
      looks += 1;
      return { freeBytes: 1_100 * MIB, totalBytes: 1e12, reusableBytes: 0 };
    };
    const store = new HostStore(engine, new SimClock());
    expect(await store.append([{ put: 'a', value }])).toEqual({ ok: true });
    // 80 MiB, as a commit of so many operations may need; 1,100 MiB are free.
    const many = Array.from({ length: 10_000 }, (_, i) => ({ del: `a${i}` }));
    expect(await store.append(many)).toEqual({ ok: true });
    expect(looks).toBe(2);
    engine.outcome = new CommitError('No space left on device', 28);
    expect(await store.append([{ put: 'a', value }])).toMatchObject({ code: 'full' });
    engine.outcome = 'ok';
    expect(await store.append([{ put: 'a', value }])).toEqual({ ok: true });
    expect(looks).toBe(3);
    await store.close();
  });

  test('a disk that does not answer has failed when its time is up', async () => {
    const engine = new FakeEngine();
    const store = new HostStore(engine, new HostClock(), 30);
    engine.outcome = 'hang';
    expect(await store.append([{ put: 'a', value }])).toMatchObject({ code: 'failed' });
    await store.close();
  });
});

describe('the simulated store', () => {
  const makeDisk = (seed = 'disk') => {
    const clock = new SimClock();
    const trace: string[] = [];
    const disk = new SimDisk({
      clock,
      random: new SeededRandom(seed),
      trace: (event) => trace.push(event),
    });
    return { clock, disk, trace };
  };
  const twinOf = (clock: SimClock, disk: SimDisk): StoreTwin => ({
    store: disk.openStore(),
    setSpace: (now) => {
      disk.space = now;
    },
    settle: async (condition) => {
      if (!(await clock.runUntil(condition, 10_000))) throw new Error('it did not come to hold');
    },
    reopen: async () => {
      await clock.runFor(1);
      disk.crash();
      return twinOf(clock, disk);
    },
    close: async () => disk.crash(),
  });
  storeCompliance(async () => {
    const { clock, disk } = makeDisk();
    return twinOf(clock, disk);
  });

  test('a crash in the middle of a sync keeps or loses the group, by the seed', async () => {
    const outcomes = new Set<boolean>();
    for (let seed = 0; seed < 30; seed++) {
      const { clock, disk } = makeDisk(`crash/${seed}`);
      let settled = false;
      void disk
        .openStore()
        .append([{ put: 'k', value }])
        .then(() => {
          settled = true;
        });
      await clock.runFor(0.1);
      disk.crash();
      await clock.runFor(100);
      expect(settled).toBe(false);
      outcomes.add(disk.openStore().get('k') !== undefined);
    }
    expect(outcomes.size).toBe(2);
  });

  test('full, failing and stalled disks', async () => {
    const { clock, disk, trace } = makeDisk();
    const store = disk.openStore();
    const results: AppendResult[] = [];
    const append = async (ms: number) => {
      void store.append([{ put: 'k', value }]).then((result) => results.push(result));
      await clock.runFor(ms);
    };
    disk.full = true;
    await append(10);
    disk.full = false;
    disk.stallMs = 1_000;
    await append(900);
    expect(results).toMatchObject([{ code: 'full' }]);
    await clock.runFor(200);
    disk.stallMs = 0;
    disk.failNextSync = true;
    await append(10);
    await append(10);
    expect(results).toMatchObject([
      { code: 'full' },
      { ok: true },
      { code: 'failed' },
      { code: 'failed' },
    ]);
    expect(trace.filter((event) => event === 'store.append')).toHaveLength(4);
  });

  test('a disk can be put back to an old state, or wiped', async () => {
    const { clock, disk } = makeDisk();
    void disk.openStore().append([{ put: 'k', value }]);
    await clock.runFor(10);
    disk.crash();
    const image = disk.snapshot();
    disk.wipe();
    expect(disk.openStore().get('k')).toBeUndefined();
    disk.crash();
    disk.restore(image);
    expect(disk.openStore().get('k')).toEqual(value);
    expect(() => disk.openStore()).toThrow('in use');
  });
});
