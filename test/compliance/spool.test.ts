/** Spool: the compliance suite on both twins, then files. */
import { mkdir, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { type HostSpool, openSpool } from '../../src/host/spool.ts';
import { SimSpool } from '../../src/sim/spool.ts';
import { spoolCompliance, TEST_LIMITS } from './spool.ts';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function makeDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'covey-spool-'));
  cleanups.push(() => rm(directory, { recursive: true, force: true }));
  return join(directory, 'spool');
}

async function openHost(directory: string): Promise<HostSpool> {
  const opened = await openSpool(directory, { limits: TEST_LIMITS });
  if (!opened.ok) throw new Error(opened.error);
  return opened.value;
}

describe('the real spool', () => {
  spoolCompliance(async () => {
    const directory = await makeDirectory();
    const spool = await openHost(directory);
    // Root may read everything: a directory in a file's place fails for everybody (EISDIR).
    const breakRun = async (runId: string): Promise<void> => {
      await rm(join(directory, `${runId}.stdout`));
      await mkdir(join(directory, `${runId}.stdout`));
    };
    return { spool, breakRun, close: () => spool.close() };
  });

  test('its files are private, outlive the daemon, and are deleted with their run', async () => {
    const directory = await makeDirectory();
    const first = await openHost(directory);
    first.append('run-1', 'stdout', new Uint8Array(2_000));
    await first.close();
    first.append('run-2', 'stderr', new Uint8Array(10));
    await first.close();
    expect((await stat(directory)).mode & 0o777).toBe(0o700);
    for (const name of await readdir(directory)) {
      expect((await stat(join(directory, name))).mode & 0o777).toBe(0o600);
    }
    const second = await openHost(directory);
    expect(await second.list()).toEqual(['run-1', 'run-2']);
    expect(await second.read('run-1', 'stdout', 990, 100)).toEqual({
      ok: true,
      value: { bytes: new Uint8Array(10), endBytes: 1_000, truncated: true },
    });
    await second.remove('run-1');
    await second.remove('run-2');
    expect(await readdir(directory)).toEqual([]);
  });

  test('a disk with little room costs log lines; what is there is kept, and told to be cut', async () => {
    const limits = TEST_LIMITS;
    let room = true;
    const opened = await openSpool(await makeDirectory(), { limits, hasRoom: () => room });
    if (!opened.ok) throw new Error(opened.error);
    const spool = opened.value;
    spool.append('r', 'stdout', Uint8Array.of(1));
    room = false;
    spool.append('r', 'stdout', Uint8Array.of(2));
    room = true;
    // A gap in the middle would look like output that never was.
    spool.append('r', 'stdout', Uint8Array.of(3));
    const kept = { bytes: Uint8Array.of(1), endBytes: 1, truncated: true };
    expect(await spool.read('r', 'stdout', 0, 10)).toEqual({ ok: true, value: kept });
    await spool.close();
  });

  test('a directory that vanished costs log lines, nothing else', async () => {
    const directory = await makeDirectory();
    const spool = await openHost(directory);
    await rm(directory, { recursive: true });
    spool.append('r', 'stdout', new Uint8Array(10));
    expect(await spool.read('r', 'stdout', 0, 10)).toMatchObject({
      value: { endBytes: 0, truncated: true },
    });
    await spool.close();
    expect(await openSpool('/dev/null/spool')).toMatchObject({ ok: false });
  });
});

describe('the simulated spool', () => {
  spoolCompliance(async () => {
    const spool = new SimSpool(undefined, TEST_LIMITS);
    const breakRun = async (runId: string): Promise<void> => spool.breakRun(runId);
    return { spool, breakRun, close: () => Promise.resolve() };
  });
});
