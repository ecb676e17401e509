/** Processes: the compliance suite on both twins, then what only real processes can show. */
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readlink, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, describe, expect, test } from 'vitest';
import { SeededRandom } from '../../src/base/random.ts';
import { HostClock } from '../../src/host/clock.ts';
import { HostProcesses } from '../../src/host/processes.ts';
import { openStore } from '../../src/host/store.ts';
import type { ChildExit, SpawnRequest } from '../../src/ports/processes.ts';
import { SimClock } from '../../src/sim/clock.ts';
import { type SimCommand, SimMachine } from '../../src/sim/processes.ts';
import {
  observe,
  type ProcessesTwin,
  processesCompliance,
  requestFor,
  SCRIPTS,
  textOf,
} from './processes.ts';
import { settleReal } from './settle.ts';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const bytes = (text: string) => new TextEncoder().encode(text);

function simulated(request: SpawnRequest): SimCommand {
  if (request.argv[0] !== '/bin/sh') return { durationMs: 0, exitCode: 127 };
  switch (request.argv[2]) {
    case SCRIPTS.speak:
      return { durationMs: 10, exitCode: 3, stdout: bytes('out'), stderr: bytes('err') };
    case SCRIPTS.closes:
      return { durationMs: 10, exitCode: 4, stdout: bytes('out'), stderr: bytes('err') };
    case SCRIPTS.cat:
      return { durationMs: 10, exitCode: 0, stdout: request.stdin };
    case SCRIPTS.stubborn:
      return {
        durationMs: 1e6,
        exitCode: 0,
        earlyStdout: bytes('ready\n'),
        ignoresTerm: true,
      };
    case SCRIPTS.big:
      return { durationMs: 10, exitCode: 0, stdout: new Uint8Array(3_000_000) };
    case SCRIPTS.background:
      return { durationMs: 10, exitCode: 0, stdout: bytes('started\n') };
    case SCRIPTS.sleep:
      return { durationMs: 1e6, exitCode: 0 };
    default:
      return { durationMs: 10, exitCode: 0 };
  }
}

describe('real processes', () => {
  const make = async (): Promise<ProcessesTwin & { processes: HostProcesses }> => {
    const processes = new HostProcesses(new HostClock());
    return { processes, settle: settleReal, close: () => processes.stop() };
  };
  processesCompliance(make);

  const runOne = async (request: SpawnRequest) => {
    const { processes } = await make();
    cleanups.push(() => processes.stop());
    const { observed, handlers } = observe();
    processes.spawn(request, handlers);
    await settleReal(() => observed.exit !== undefined);
    return observed;
  };

  test('a process without descriptors starts nothing, says that it is its own fault, and recovers', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'covey-exhausted-'));
    cleanups.push(() => rm(directory, { recursive: true, force: true }));
    const program = join(import.meta.dirname, 'programs/exhausted.ts');
    // More than the highest number that children are shielded from, whatever the test itself inherited.
    const script = 'ulimit -n 1100; exec "$0" "$@"';
    const argv = ['-c', script, process.execPath, program, directory];
    const { stdout } = await promisify(execFile)('/bin/sh', argv);
    const exits = stdout.trim().split('\n').slice(1);
    expect(exits).toHaveLength(6);
    for (const [i, line] of exits.entries()) {
      const exit = JSON.parse(line) as ChildExit;
      if (i % 3 === 2) expect(exit).toEqual({ code: 0 });
      else expect(exit).toEqual({ startError: expect.any(String), isHostFault: true });
    }
  });

  test('arguments pass unchanged, whatever is in them', async () => {
    const args = [
      '',
      ' ',
      'a b',
      "it's",
      '"',
      '$HOME',
      '`id`',
      'line\nline\n',
      '--',
      '-n',
      'ü€😀',
      '*',
    ];
    const script = 'for a in "$@"; do printf "%s\\0" "$a"; done';
    const observed = await runOne(requestFor(['/bin/sh', '-c', script, 'sh', ...args]));
    expect(textOf(observed.stdout).split('\0').slice(0, -1)).toEqual(args);
  });

  test('the environment is exactly what was passed', async () => {
    const environments: Record<string, string>[] = [
      {},
      { A: '1', PWD: '/somewhere', _: 'x', 'odd.name': 'a=b\nc', ENV: '/etc/passwd', IFS: 'x' },
      { PPID: '1', BASH_VERSION: '5', SHELLOPTS: 'x', 'a b': '' },
    ];
    for (const env of environments) {
      const program = 'process.stdout.write(JSON.stringify(process.env))';
      const observed = await runOne({ ...requestFor([process.execPath, '-e', program]), env });
      expect(JSON.parse(textOf(observed.stdout))).toEqual(env);
    }
  });

  test('no descriptor of the daemon is inherited', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'covey-processes-'));
    cleanups.push(() => rm(directory, { recursive: true, force: true }));
    const store = await openStore({ directory, clock: new HostClock() });
    expect(store.ok).toBe(true);
    cleanups.push(async () => store.ok && store.value.close());
    const { processes } = await make();
    cleanups.push(() => processes.stop());
    const sleeper = observe();
    processes.spawn(requestFor(['sleep', '1000']), sleeper.handlers);
    await settleReal(() => sleeper.observed.groupId !== undefined);
    const { observed, handlers } = observe();
    const script = 'for f in /proc/self/fd/*; do readlink $f; done | grep -v ^/proc';
    processes.spawn(requestFor(['/bin/sh', '-c', script]), handlers);
    await settleReal(() => observed.exit !== undefined);
    const targets = textOf(observed.stdout).trim().split('\n');
    // stdin is /dev/null, which also stands where something would have leaked; then stdout (the
    // pipe to grep) and stderr.
    const others = targets.filter((target) => target !== '/dev/null');
    expect(others).toEqual([
      expect.stringMatching(/^pipe:/),
      expect.stringMatching(/\/covey-pipes-\w+\/out-\d+ \(deleted\)$/),
    ]);
    // Nor by the guardian, which outlives the daemon: its two pipes, and /dev/null.
    const held = `/proc/${processes.guardianPid}/fd`;
    const names = await readdir(held);
    const files = await Promise.all(names.map((name) => readlink(join(held, name))));
    expect(files.filter((file) => file !== '/dev/null')).toEqual([
      expect.stringMatching(/^socket:/),
      expect.stringMatching(/^socket:/),
    ]);
  });

  test('commands that cannot run: not executable, too many arguments, none, NUL', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'covey-processes-'));
    cleanups.push(() => rm(directory, { recursive: true, force: true }));
    const file = join(directory, 'plain');
    await writeFile(file, 'x', { mode: 0o644 });
    expect((await runOne(requestFor([file]))).exit).toMatchObject({ code: 126 });
    const huge = Array.from({ length: 100 }, () => 'x'.repeat(100_000));
    const tooLong = await runOne(requestFor(['echo', ...huge]));
    expect(tooLong.exit).toEqual({ code: 126, signal: undefined, startError: undefined });
    expect(textOf(tooLong.stderr)).toContain('Argument list too long');
    expect((await runOne(requestFor([]))).exit?.startError).toBeDefined();
    expect((await runOne(requestFor(['echo', 'a\0b']))).exit?.startError).toBeDefined();
  });

  test('a pipe in the command sees SIGPIPE as it should', async () => {
    const observed = await runOne(requestFor(['/bin/sh', '-c', 'yes | head -n 1']));
    expect(textOf(observed.stdout)).toBe('y\n');
    expect(observed.exit?.code).toBe(0);
  });

  test('what left the group and writes on is not waited for', async () => {
    const script = 'setsid sh -c "for i in $(seq 20); do echo late; sleep 0.5; done" & echo done';
    const startMs = performance.now();
    const observed = await runOne(requestFor(['/bin/sh', '-c', script]));
    expect(performance.now() - startMs).toBeLessThan(8_000);
    expect(textOf(observed.stdout)).toContain('done\n');
    expect(observed.exit?.code).toBe(0);
  });

  test('the base environment is a selection of our own', async () => {
    const { processes } = await make();
    const names = Object.keys(processes.baseEnvironment());
    expect(['PATH', 'HOME', 'USER', 'LANG', 'TZ']).toEqual(expect.arrayContaining(names));
    expect(processes.baseEnvironment().PATH).toBe(process.env.PATH);
    await processes.stop();
  });
});

describe('a simulated machine', () => {
  const makeMachine = () => {
    const clock = new SimClock();
    const random = new SeededRandom('machine');
    const changes: string[] = [];
    const machine = new SimMachine({
      clock,
      random,
      run: simulated,
      onChange: (run) => changes.push(run.ending ?? 'begun'),
    });
    machine.missingDirectories.add('/no/such/cwd');
    return { clock, machine, changes };
  };
  processesCompliance(async () => {
    const { clock, machine } = makeMachine();
    const tick = () => {
      clock.after(1, tick);
    };
    tick();
    const settle = async (condition: () => boolean) => {
      if (!(await clock.runUntil(condition, 10_000))) throw new Error('it did not come to hold');
    };
    const processes = machine.openProcesses();
    // `directoryExists` is awaited without settle: let virtual time run beside it.
    const directoryExists = async (path: string) => {
      const answer = processes.directoryExists(path);
      await clock.runFor(5);
      return answer;
    };
    const twin = {
      spawn: processes.spawn.bind(processes),
      stop: processes.stop.bind(processes),
      baseEnvironment: processes.baseEnvironment.bind(processes),
      directoryExists,
    };
    return { processes: twin, settle, close: async () => machine.crashDaemon() };
  });

  test('its book knows what ran, also after the daemon that started it has crashed', async () => {
    const { clock, machine, changes } = makeMachine();
    const processes = machine.openProcesses();
    const { observed, handlers } = observe();
    processes.spawn(requestFor(['/bin/sh', '-c', SCRIPTS.sleep]), handlers);
    processes.spawn(requestFor(['/bin/sh', '-c', SCRIPTS.speak]), observe().handlers);
    await clock.runFor(50);
    expect(machine.running()).toHaveLength(1);
    machine.crashDaemon();
    processes.spawn(requestFor(['/bin/sh', '-c', SCRIPTS.speak]), handlers);
    expect(machine.running()).toHaveLength(1);
    await clock.runFor(1_000);
    expect(observed.events).toEqual(['started']);
    expect(machine.book.map((run) => [run.ending, run.exitCode])).toEqual([
      ['guardian', undefined],
      ['exited', 3],
    ]);
    expect(changes).toEqual(['begun', 'begun', 'exited', 'guardian']);
  });
});
