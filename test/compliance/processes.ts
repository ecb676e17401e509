/** What Processes must do. The simulated twin knows the few commands below by their script. */
import { expect, test } from 'vitest';
import type {
  Child,
  ChildExit,
  ChildHandlers,
  OutputStream,
  Processes,
  SpawnRequest,
} from '../../src/ports/processes.ts';

export interface ProcessesTwin {
  readonly processes: Processes;
  settle(condition: () => boolean): Promise<void>;
  close(): Promise<void>;
}

/** The scripts of the suite, run by `/bin/sh -c`, and what they do. */
export const SCRIPTS = {
  speak: 'printf out; printf err >&2; exit 3',
  cat: 'cat',
  sleep: 'sleep 1000',
  stubborn: "trap '' TERM; echo ready; while :; do sleep 1; done",
  big: 'head -c 3000000 /dev/zero',
  background: 'sleep 1000 & echo started',
  deaf: 'exit 0',
  closes: 'printf out; exec >&-; printf err >&2; exit 4',
} as const;

export interface Observed {
  readonly events: string[];
  readonly stdout: Uint8Array[];
  readonly stderr: Uint8Array[];
  exit: ChildExit | undefined;
  groupId: number | undefined;
}

let runNumber = 0;

export const requestFor = (argv: readonly string[], stdin = ''): SpawnRequest => ({
  runId: `run-${++runNumber}`,
  argv,
  cwd: '/',
  env: { PATH: '/usr/bin:/bin' },
  stdin: new TextEncoder().encode(stdin),
});

export function observe(): { observed: Observed; handlers: ChildHandlers } {
  const observed: Observed = {
    events: [],
    stdout: [],
    stderr: [],
    exit: undefined,
    groupId: undefined,
  };
  const handlers: ChildHandlers = {
    started: (groupId) => {
      observed.groupId = groupId;
      observed.events.push('started');
    },
    output: (stream: OutputStream, bytes) => {
      observed[stream].push(bytes);
      observed.events.push('output');
    },
    exited: (exit) => {
      observed.exit = exit;
      observed.events.push('exited');
    },
  };
  return { observed, handlers };
}

export const textOf = (chunks: readonly Uint8Array[]): string => Buffer.concat(chunks).toString();

export function processesCompliance(make: () => Promise<ProcessesTwin>): void {
  const using = (run: (twin: ProcessesTwin) => Promise<void>) => async () => {
    const twin = await make();
    try {
      await run(twin);
    } finally {
      await twin.close();
    }
  };
  const start = (twin: ProcessesTwin, script: string, stdin = '') => {
    const { observed, handlers } = observe();
    const request = requestFor(['/bin/sh', '-c', script], stdin);
    const child: Child = twin.processes.spawn(request, handlers);
    return { child, observed };
  };
  const exitWith = (code: number) => ({ code, signal: undefined, startError: undefined });

  test(
    'a command starts, speaks and exits, in this order',
    using(async (twin) => {
      const { observed } = start(twin, SCRIPTS.speak);
      expect(observed.events).toEqual([]);
      await twin.settle(() => observed.exit !== undefined);
      expect(observed.exit).toEqual(exitWith(3));
      expect(observed.events).toEqual(['started', 'output', 'output', 'exited']);
      expect([textOf(observed.stdout), textOf(observed.stderr)]).toEqual(['out', 'err']);
      expect(observed.groupId).toBeGreaterThan(1);
    }),
  );

  test(
    'stdin reaches the command; one that does not read it does no harm',
    using(async (twin) => {
      const text = 'line\n'.repeat(100_000);
      const reader = start(twin, SCRIPTS.cat, text);
      const deaf = start(twin, SCRIPTS.deaf, text);
      await twin.settle(
        () => reader.observed.exit !== undefined && deaf.observed.exit !== undefined,
      );
      expect(textOf(reader.observed.stdout)).toBe(text);
      expect([reader.observed.exit, deaf.observed.exit]).toEqual([exitWith(0), exitWith(0)]);
    }),
  );

  test(
    'signals end it: TERM, and KILL what ignores TERM; later signals are harmless',
    using(async (twin) => {
      const sleeper = start(twin, SCRIPTS.sleep);
      const stubborn = start(twin, SCRIPTS.stubborn);
      await twin.settle(
        () => sleeper.observed.groupId !== undefined && stubborn.observed.stdout.length > 0,
      );
      sleeper.child.signal('SIGTERM');
      stubborn.child.signal('SIGTERM');
      await twin.settle(() => sleeper.observed.exit !== undefined);
      expect(sleeper.observed.exit).toMatchObject({ code: undefined, signal: 'SIGTERM' });
      expect(stubborn.observed.exit).toBeUndefined();
      stubborn.child.signal('SIGKILL');
      await twin.settle(() => stubborn.observed.exit !== undefined);
      expect(stubborn.observed.exit).toMatchObject({ code: undefined, signal: 'SIGKILL' });
      stubborn.child.signal('SIGKILL');
    }),
  );

  test(
    'a signal before the start ends it too, and nothing runs',
    using(async (twin) => {
      const { child, observed } = start(twin, SCRIPTS.speak);
      child.signal('SIGTERM');
      await twin.settle(() => observed.exit !== undefined);
      expect(observed.exit?.signal).toBe('SIGTERM');
      expect(observed.events).toEqual(['exited']);
    }),
  );

  test(
    'a command that is not there exits 127, without a start error',
    using(async (twin) => {
      const { observed, handlers } = observe();
      twin.processes.spawn(requestFor(['covey-no-such-command', 'x']), handlers);
      await twin.settle(() => observed.exit !== undefined);
      expect(observed.exit).toEqual(exitWith(127));
    }),
  );

  test(
    'a directory that is not there is a start error',
    using(async (twin) => {
      const { observed, handlers } = observe();
      const request = { ...requestFor(['/bin/sh', '-c', SCRIPTS.speak]), cwd: '/no/such/cwd' };
      twin.processes.spawn(request, handlers);
      await twin.settle(() => observed.exit !== undefined);
      expect(observed.exit?.startError).toContain('/no/such/cwd');
      expect(observed.events).toEqual(['exited']);
      expect(await twin.processes.directoryExists('/no/such/cwd')).toBe(false);
      expect(await twin.processes.directoryExists('/')).toBe(true);
    }),
  );

  test(
    'output that is held back is delivered, whole, before the exit',
    using(async (twin) => {
      const { child, observed } = start(twin, SCRIPTS.big);
      child.pauseOutput();
      const other = start(twin, SCRIPTS.speak);
      await twin.settle(() => other.observed.exit !== undefined);
      expect(observed.events.filter((event) => event !== 'started')).toEqual([]);
      child.resumeOutput();
      await twin.settle(() => observed.exit !== undefined);
      expect(observed.stdout.reduce((sum, chunk) => sum + chunk.length, 0)).toBe(3_000_000);
      expect(observed.events.at(-1)).toBe('exited');
    }),
  );

  test(
    'a command that closes its output early speaks on on the other stream, and exits',
    using(async (twin) => {
      const { observed } = start(twin, SCRIPTS.closes);
      await twin.settle(() => observed.exit !== undefined);
      expect(observed.exit).toEqual(exitWith(4));
      expect([textOf(observed.stdout), textOf(observed.stderr)]).toEqual(['out', 'err']);
    }),
  );

  test(
    'output that is held back again and again is delivered whole, and none while it is held',
    using(async (twin) => {
      const { observed, handlers } = observe();
      let held = false;
      let whileHeld = 0;
      const output: typeof handlers.output = (stream, bytes) => {
        if (held) whileHeld += 1;
        handlers.output(stream, bytes);
        held = true;
        child.pauseOutput();
        void Promise.resolve().then(() => {
          held = false;
          child.resumeOutput();
        });
      };
      const request = requestFor(['/bin/sh', '-c', SCRIPTS.big]);
      const child = twin.processes.spawn(request, { ...handlers, output });
      await twin.settle(() => observed.exit !== undefined);
      expect(whileHeld).toBe(0);
      expect(observed.stdout.reduce((sum, chunk) => sum + chunk.length, 0)).toBe(3_000_000);
      expect(observed.events.at(-1)).toBe('exited');
    }),
  );

  test(
    'what stays in the background is not waited for',
    using(async (twin) => {
      const { observed } = start(twin, SCRIPTS.background);
      await twin.settle(() => observed.exit !== undefined);
      expect([observed.exit, textOf(observed.stdout)]).toEqual([exitWith(0), 'started\n']);
    }),
  );

  test('stop ends everything that runs, and refuses what comes', async () => {
    const twin = await make();
    try {
      const running = [1, 2, 3].map(() => start(twin, SCRIPTS.stubborn));
      await twin.settle(() => running.every(({ observed }) => observed.groupId !== undefined));
      let stopped = false;
      void twin.processes.stop().then(() => {
        stopped = true;
      });
      await twin.settle(() => stopped);
      for (const { observed } of running) expect(observed.exit?.signal).toBe('SIGKILL');
      const late = start(twin, SCRIPTS.speak);
      await twin.settle(() => late.observed.exit !== undefined);
      expect(late.observed.exit?.startError).toBeDefined();
    } finally {
      await twin.close();
    }
  });
}
