/** The guardian, with real kills: whatever dies, no group is left. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { afterEach, describe, expect, test } from 'vitest';
import { HostClock } from '../../src/host/clock.ts';
import { HostProcesses } from '../../src/host/processes.ts';
import { observe, requestFor } from '../compliance/processes.ts';
import { settleReal } from '../compliance/settle.ts';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** True while a process (positive) or a process of a group (negative) runs; zombies are dead. */
function isAlive(id: number): boolean {
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const fields = statFields(entry);
    const [state, , group] = fields;
    if (state === undefined || state === 'Z' || state === 'X') continue;
    if (id < 0 ? Number(group) === -id : Number(entry) === id) return true;
  }
  return false;
}

/** What follows the name in /proc/PID/stat: state, parent, group, …; empty when it has gone. */
function statFields(pid: string): string[] {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch {
    return [];
  }
}

interface Daemon {
  readonly child: ChildProcess;
  /** For its pipes. */
  readonly directory: string;
  readonly lines: string[];
  readonly groups: () => number[];
  readonly guardian: () => number;
}

async function startDaemon(): Promise<Daemon> {
  const program = join(import.meta.dirname, '../compliance/programs/spawner.ts');
  const directory = await mkdtemp(join(tmpdir(), 'covey-guardian-'));
  cleanups.push(() => rm(directory, { recursive: true, force: true }));
  const child = spawn(process.execPath, [program, directory], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines: string[] = [];
  child.stdout.on('data', (chunk: Buffer) => lines.push(...chunk.toString().trim().split('\n')));
  const numbersOf = (word: string) =>
    lines.filter((line) => line.startsWith(word)).map((line) => Number(line.split(' ')[1]));
  const daemon: Daemon = {
    child,
    directory,
    lines,
    groups: () => numbersOf('group'),
    guardian: () => numbersOf('guardian').at(-1) || 0,
  };
  cleanups.push(async () => {
    child.kill('SIGKILL');
    for (const group of daemon.groups()) if (isAlive(-group)) process.kill(-group, 'SIGKILL');
  });
  await settleReal(() => daemon.groups().length === 4 && daemon.guardian() > 0);
  return daemon;
}

describe('the guardian', () => {
  test('a daemon killed by SIGKILL takes all its groups along within a second', async () => {
    const daemon = await startDaemon();
    expect(daemon.groups().every((group) => isAlive(-group))).toBe(true);
    daemon.child.kill('SIGKILL');
    const killedMs = performance.now();
    await settleReal(() => !daemon.groups().some((group) => isAlive(-group)));
    expect(performance.now() - killedMs).toBeLessThan(1_000);
    await settleReal(() => !isAlive(daemon.guardian()));
  });

  test('what a killed daemon left of its pipes is gone when the next has run a command', async () => {
    const daemon = await startDaemon();
    daemon.child.kill('SIGKILL');
    await settleReal(() => !daemon.groups().some((group) => isAlive(-group)));
    const left = await readdir(daemon.directory);
    expect(left).toHaveLength(1);
    const processes = new HostProcesses(new HostClock(), { directory: daemon.directory });
    cleanups.push(() => processes.stop());
    const { observed, handlers } = observe();
    processes.spawn(requestFor(['true']), handlers);
    await settleReal(() => observed.exit !== undefined);
    expect(observed.exit?.code).toBe(0);
    const own = await readdir(daemon.directory);
    expect(own).toHaveLength(1);
    expect(own).not.toEqual(left);
    await processes.stop();
    expect(await readdir(daemon.directory)).toEqual([]);
  });

  test('it ignores INT, TERM and HUP, and does its work afterwards', async () => {
    const daemon = await startDaemon();
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.kill(daemon.guardian(), signal);
    }
    // A signal that ends it would do so before it has read another line.
    expect(daemon.groups().every((group) => isAlive(-group))).toBe(true);
    daemon.child.kill('SIGKILL');
    await settleReal(() => !daemon.groups().some((group) => isAlive(-group)));
  });

  test('a killed guardian is replaced by itself, and covers the old groups', async () => {
    const daemon = await startDaemon();
    const first = daemon.guardian();
    process.kill(first, 'SIGKILL');
    await settleReal(() => !isAlive(first));
    await settleReal(() => daemon.guardian() > 0 && daemon.guardian() !== first);
    daemon.child.kill('SIGKILL');
    await settleReal(() => !daemon.groups().some((group) => isAlive(-group)));
  });

  test('a start right after the guardian died or was stopped works, behind a new one', async () => {
    const processes = new HostProcesses(new HostClock());
    cleanups.push(() => processes.stop());
    const start = async () => {
      const { observed, handlers } = observe();
      processes.spawn(requestFor(['sleep', '1000']), handlers);
      await settleReal(() => observed.groupId !== undefined || observed.exit !== undefined);
      expect(observed.exit).toBeUndefined();
      return observed;
    };
    const runs = [await start()];
    for (const signal of ['SIGKILL', 'SIGSTOP'] as const) {
      const before = processes.guardianPid ?? 0;
      process.kill(before, signal);
      runs.push(await start());
      expect(processes.guardianPid).not.toBe(before);
      await settleReal(() => !isAlive(before));
    }
    await processes.stop();
    for (const run of runs) {
      expect(run.exit?.signal).toBe('SIGKILL');
      expect(isAlive(-(run.groupId ?? 1))).toBe(false);
    }
    expect(processes.guardianPid).toBeUndefined();
  });
});
