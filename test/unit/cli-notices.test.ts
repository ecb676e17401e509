/** What `covey run` and its kin say while nothing else happens, and when a command wrote more than is kept. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ok } from '../../src/base/result.ts';
import type { ControlBackend } from '../../src/control/backend.ts';
import { ControlHost } from '../support/control-host.ts';
import type { FakeOutcome } from '../support/fake-task.ts';
import { CliProcess, covey, until } from './cli-harness.ts';

/** Nothing is asserted of what comes sooner: it only has to be waited for. */
const NOTICE_MS = 100;
let host: ControlHost;
let outcome: FakeOutcome | undefined;

beforeEach(async () => {
  outcome = undefined;
  host = await ControlHost.start({ script: () => outcome });
});
afterEach(async () => {
  await host.stop();
});

const answer = (methods: Partial<ControlBackend>) => Object.assign(host.backend.methods, methods);
const start = (argv: readonly string[], terminal = false) =>
  new CliProcess(argv, { socket: host.socket, stdin: '', terminal, noticeMs: NOTICE_MS });
async function submitted() {
  await until(() => host.backend.tasks.size === 1);
  const [task] = host.backend.tasks.values();
  if (task === undefined) throw new Error('no task was submitted');
  return task;
}

describe('a command that wrote more than 1 MiB', () => {
  const tooLarge: FakeOutcome = {
    state: 'failed',
    reason: 'error',
    error: { message: 'the command wrote more than 1048576 bytes', code: 'OUTPUT_TOO_LARGE' },
  };
  let follow: ControlBackend['task.logs'];
  beforeEach(() => {
    outcome = tooLarge;
    follow = host.backend.methods['task.logs'];
    answer({
      'task.logs': async () =>
        ok({
          stdout: 'the end\n',
          stderr: 'oh\n',
          truncated: true,
          source: 'runner',
          state: 'failed',
        }),
    });
  });

  it("prints what is kept, and names '--output tail' and 'covey logs'", async () => {
    const result = await covey(['run', 'yes'], { socket: host.socket });
    const { id } = await submitted();
    expect(result).toMatchObject({ exit: 125, stdout: 'the end\n' });
    expect(result.stderr).toMatch(/^oh\n/);
    expect(result.stderr).toContain('more than 1048576 bytes');
    expect(result.stderr).toContain('--output tail');
    expect(result.stderr).toContain(`covey logs ${id}`);
    expect(result.stderr.trimEnd().split('\n')).toHaveLength(2);
  });

  it('is shown live on a terminal, not once more from the log; the sentence has a line of its own', async () => {
    outcome = { ...tooLarge, stdout: 'half a li' };
    answer({ 'task.logs': follow });
    const result = await start(['run', 'yes'], true).result;
    expect(result).toMatchObject({ exit: 125, stdout: 'half a li' });
    expect(result.stderr).toMatch(/^\ncovey run: task .*--output tail.*\n$/);
  });

  it('is told the same way by xargs', async () => {
    const result = await covey(['xargs', 'yes'], { socket: host.socket, stdin: 'a\n' });
    const { id } = await submitted();
    expect(result).toMatchObject({ exit: 1, stdout: 'the end\n' });
    expect(result.stderr).toContain('--output tail');
    expect(result.stderr).toContain(`covey logs ${id}`);
  });

  it('runs on with --output tail, which both verbs pass on and explain', async () => {
    outcome = { state: 'completed', exitCode: 0, stdout: 'tail\n' };
    for (const [verb, input] of [
      ['run', ''],
      ['xargs', 'a\n'],
    ] as const) {
      host.backend.tasks.clear();
      const line = [verb, '--output', 'tail', 'yes'];
      expect(await covey(line, { socket: host.socket, stdin: input })).toMatchObject({ exit: 0 });
      expect((await submitted()).params.output).toBe('tail');
      const help = await covey([verb, '--help']);
      expect(help.stdout).toContain('1 MiB');
      expect(help.stdout).toContain('--output');
    }
    expect((await covey(['run', '--help'])).stdout).toContain('live where it goes to a terminal');
  });
});

describe('covey run of a task that waits', () => {
  const wait = (task: Awaited<ReturnType<typeof submitted>>, reason: string) => {
    task.enter('waiting', reason);
  };

  it('says why after a while, once for each reason, and how to learn more', async () => {
    const process = start(['run', 'x']);
    const task = await submitted();
    wait(task, 'no_eligible_peer');
    const line = (reason: string) =>
      `covey run: ${task.id} waits: ${reason}; covey explain ${task.id}\n`;
    await process.printed('stderr', line('no_eligible_peer'));
    wait(task, 'owner_unreachable');
    await process.printed('stderr', line('owner_unreachable'));
    host.backend.finish(task.id, { state: 'completed', exitCode: 0 });
    const { stderr } = await process.result;
    expect(stderr).toBe(line('no_eligible_peer') + line('owner_unreachable'));
  });

  it('is silent about a full mesh, but not on a terminal or with -v', async () => {
    const asked = vi.fn(host.backend.methods['task.get']);
    answer({ 'task.get': asked });
    const quiet = start(['run', 'x']);
    const task = await submitted();
    wait(task, 'no_free_slot');
    await until(() => asked.mock.calls.length >= 1);
    host.backend.finish(task.id, { state: 'completed', exitCode: 0 });
    expect(await quiet.result).toMatchObject({ exit: 0, stderr: '' });
    for (const [line, terminal] of [
      [['run', 'x'], true],
      [['run', '-v', 'x'], false],
    ] as const) {
      host.backend.tasks.clear();
      const process = start(line, terminal);
      const next = await submitted();
      wait(next, 'no_free_slot');
      await process.printed('stderr', `${next.id} waits: no_free_slot`);
      host.backend.finish(next.id, { state: 'completed', exitCode: 0 });
      await process.result;
    }
  });
});

describe('a daemon that goes away', () => {
  it.each(['run', 'wait', 'logs', 'xargs'])(
    "is waited for by '%s', which says so once",
    async (verb) => {
      const followed = vi.fn(host.backend.methods['task.logs']);
      answer({ 'task.logs': followed });
      const lines: Record<string, readonly string[]> = { run: ['run', 'x'], xargs: ['xargs', 'x'] };
      let id = '';
      if (lines[verb] === undefined) {
        await covey(['run', '--detach', 'x'], { socket: host.socket, stdin: '' });
        id = (await submitted()).id;
      }
      const line = lines[verb] ?? [verb, ...(verb === 'logs' ? ['-f'] : []), id];
      const process = new CliProcess(line, {
        socket: host.socket,
        stdin: 'a\n',
        noticeMs: NOTICE_MS,
      });
      const task = await submitted();
      await until(() => host.backend.waits > 0 || followed.mock.calls.length > 0);
      await host.crash();
      const said = `covey: connection to ${host.socket} lost, waiting for it\n`;
      await process.printed('stderr', said);
      await host.restart();
      host.backend.finish(task.id, { state: 'completed', exitCode: 0 });
      const { stderr, exit } = await process.result;
      expect(exit).toBe(0);
      expect(stderr.split(said)).toHaveLength(2);
    },
  );

  it("is not waited for by 'logs -f' where there was none", async () => {
    const { exit, stderr } = await covey(['logs', '-f', host.backend.mintId()]);
    expect(exit).toBe(69);
    expect(stderr).toContain('No Covey daemon answers');
  });
});
