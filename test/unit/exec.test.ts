/** The exec executor on simulated processes: environment, input, output, limits, ends. */
import { describe, expect, it } from 'vitest';
import { LOG_TAIL_BYTES, OUTPUT_BYTES_MAX } from '../../src/api/limits.ts';
import { utf8 } from '../../src/base/hash.ts';
import { SeededRandom } from '../../src/base/random.ts';
import { startExec } from '../../src/executors/exec.ts';
import type { Execution, RunOutcome, RunRequest } from '../../src/executors/executor.ts';
import type { SpawnRequest } from '../../src/ports/processes.ts';
import { SimClock } from '../../src/sim/clock.ts';
import { type SimCommand, SimMachine } from '../../src/sim/processes.ts';
import { SimSpool } from '../../src/sim/spool.ts';
import type { TaskHeader } from '../../src/tasks/facts.ts';
import { headerOf } from '../support/task-records.ts';

function world(command: Partial<SimCommand>, header: Partial<TaskHeader> = {}) {
  const clock = new SimClock();
  const spawned: SpawnRequest[] = [];
  const machine = new SimMachine({
    clock,
    random: new SeededRandom('machine'),
    run: (request) => {
      spawned.push(request);
      return { durationMs: 100, exitCode: 0, ...command };
    },
  });
  const spool = new SimSpool();
  const request: RunRequest = {
    id: 'TASK',
    n: 2,
    runId: 'run-1',
    header: headerOf({ type: 'exec', argv: ['make', 'all'], cwd: '/src', ...header }),
    blob: { stdin: utf8('in'), env: { MODE: 'fast', COVEY_TASK_ID: 'forged' } },
  };
  const outcomes: RunOutcome[] = [];
  const deps = {
    processes: machine.openProcesses(),
    spool,
    clock,
    environment: { COVEY_PEER: 'a', COVEY_SOCKET: '/run/covey.sock' },
  };
  const start = (): Execution =>
    startExec(deps, request, {
      output: () => undefined,
      progress: () => undefined,
      ended: (outcome) => outcomes.push(outcome),
      lost: () => undefined,
    });
  const end = async (): Promise<RunOutcome> => {
    await clock.runUntil(() => outcomes.length > 0, 60_000);
    await clock.runFor(60_000);
    const [outcome] = outcomes;
    if (outcome === undefined || outcomes.length > 1) throw new Error('it must end exactly once');
    return outcome;
  };
  return { clock, machine, spool, spawned, start, end };
}

describe('the exec executor', () => {
  it('runs a command with its environment and input, and keeps all of its output', async () => {
    const { start, end, spawned, spool } = world({ stdout: utf8('out'), stderr: utf8('err') });
    start();
    expect(await end()).toEqual({
      out: 'completed',
      exit: 0,
      stdout: utf8('out'),
      stderr: utf8('err'),
    });
    expect(spawned).toMatchObject([{ argv: ['make', 'all'], cwd: '/src', stdin: utf8('in') }]);
    expect(spawned[0]?.env).toMatchObject({
      MODE: 'fast',
      COVEY_PEER: 'a',
      COVEY_SOCKET: '/run/covey.sock',
      COVEY_TASK_ID: 'TASK',
      COVEY_ATTEMPT: '2',
      COVEY_RUN_ID: 'run-1',
      COVEY_QUEUE: 'default',
    });
    expect(spawned[0]?.env).not.toHaveProperty('COVEY_DEADLINE');
    expect(await spool.read('run-1', 'stdout', 0, 100)).toMatchObject({
      value: { bytes: utf8('out') },
    });
  });

  it('uses a shell only when asked, and tells the deadline', async () => {
    const { start, end, spawned } = world(
      {},
      { shell: true, argv: ['a | b'], run_timeout_ms: 5_000 },
    );
    start();
    await end();
    expect(spawned[0]?.argv).toEqual(['/bin/sh', '-c', 'a | b']);
    expect(spawned[0]?.env.COVEY_DEADLINE).toBe('2026-01-01T00:00:05.000Z');
  });

  it('fails a command by its exit code, with what it wrote', async () => {
    const { start, end } = world({ exitCode: 3, stderr: utf8('no') });
    start();
    expect(await end()).toMatchObject({
      out: 'failed',
      exit: 3,
      err: 'exit code 3',
      stderr: utf8('no'),
    });
  });

  it('fails what could not be started', async () => {
    const { start, end } = world({ startError: 'a name that cannot be' });
    start();
    expect(await end()).toMatchObject({
      out: 'failed',
      code: 'start_failed',
      err: 'a name that cannot be',
    });
  });

  it('refuses what this host had no process for: the command did not fail', async () => {
    const { start, end } = world({ startError: 'spawn EAGAIN', isHostFault: true });
    start();
    expect(await end()).toEqual({ out: 'refused', code: 'cannot_start', err: 'spawn EAGAIN' });
  });

  it('ends a command without end of output: never a short output with success', async () => {
    const { start, end, machine } = world({
      earlyStdout: new Uint8Array(OUTPUT_BYTES_MAX),
      stdout: new Uint8Array(1),
      durationMs: 50,
      ignoresTerm: true,
    });
    start();
    const outcome = await end();
    expect(outcome).toMatchObject({ out: 'failed', code: 'OUTPUT_TOO_LARGE', retryable: false });
    expect(outcome).not.toHaveProperty('stdout');
    expect(machine.running()).toEqual([]);
  });

  it('takes output up to the limit, of both streams together', async () => {
    const half = new Uint8Array(OUTPUT_BYTES_MAX / 2);
    const { start, end } = world({ stdout: half, stderr: half });
    start();
    expect(await end()).toMatchObject({ out: 'completed', exit: 0 });
  });

  it('keeps the last of each stream when only the tail is wanted, and says that it cut', async () => {
    const long = new Uint8Array(2 * OUTPUT_BYTES_MAX).map((_, i) => i % 251);
    const { start, end } = world(
      { earlyStdout: long, stdout: utf8('end'), stderr: utf8('e') },
      { output: 'tail' },
    );
    start();
    const outcome = await end();
    expect(outcome).toMatchObject({ out: 'completed', trunc: true, stderr: utf8('e') });
    const all = Uint8Array.from([...long.slice(-LOG_TAIL_BYTES), ...utf8('end')]);
    expect(outcome.stdout).toEqual(all.slice(-LOG_TAIL_BYTES));
  });

  it.each([
    ['cancel', 'canceled'],
    ['stale', 'canceled'],
    ['timeout', 'timeout'],
    ['shutdown', 'interrupted'],
  ] as const)('calls an end after %s %s', async (reason, out) => {
    const { clock, start, end } = world({ durationMs: 10_000 });
    const execution = start();
    await clock.runFor(50);
    execution.stop(reason, 5_000);
    expect(await end()).toMatchObject({ out, sig: 'SIGTERM' });
  });

  it('kills what ignores the request, after the shortest grace it was given', async () => {
    const { clock, start, end, machine } = world({ durationMs: 100_000, ignoresTerm: true });
    const execution = start();
    await clock.runFor(50);
    execution.stop('shutdown', 5_000);
    execution.stop('cancel', 1_000);
    execution.stop('cancel', 9_000);
    await clock.runFor(990);
    expect(machine.running()).toHaveLength(1);
    await clock.runFor(20);
    expect(machine.running()).toEqual([]);
    expect(await end()).toMatchObject({ out: 'interrupted', sig: 'SIGKILL' });
  });

  it('kills at once without grace, without asking first', async () => {
    const { clock, start, end } = world({ durationMs: 100_000 });
    const execution = start();
    await clock.runFor(50);
    execution.stop('stale', 0);
    expect(await end()).toMatchObject({ out: 'canceled', sig: 'SIGKILL' });
  });
});
