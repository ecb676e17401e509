/** `covey xargs --joblog, --resume, --resume-failed, --retries, --halt` against a scripted daemon. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ControlHost } from '../support/control-host.ts';
import type { FakeBackendOptions } from '../support/fake-backend.ts';
import { CliProcess, covey } from './cli-harness.ts';

const hosts: ControlHost[] = [];
let dir = '';
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'covey-xargs-'));
});
afterEach(async () => {
  for (const host of hosts.splice(0)) await host.stop();
  await rm(dir, { recursive: true, force: true });
});

async function startHost(script: FakeBackendOptions['script']): Promise<ControlHost> {
  const host = await ControlHost.start({ script });
  hosts.push(host);
  return host;
}

const ITEMS = 'a\nb\nc\nd\n';
/** What fails says so by its name. */
const failing =
  (...names: readonly string[]): FakeBackendOptions['script'] =>
  ({ exec }) => {
    const name = exec?.argv.at(-1) ?? '';
    return names.includes(name)
      ? { state: 'failed', reason: 'exit', exitCode: 7 }
      : { state: 'completed', exitCode: 0, stdout: `${name}\n` };
  };

describe('--joblog', () => {
  const logged = async (path: string): Promise<string[]> =>
    (await readFile(path, 'utf8'))
      .trimEnd()
      .split('\n')
      .slice(1)
      .map((line) => line.split('\t'))
      .map((fields) => `${fields[0]} ${fields[6]} ${fields[8]}`)
      .sort();

  it('names what is over; --resume leaves that out, --resume-failed runs again what failed', async () => {
    const log = join(dir, 'log');
    const first = await startHost(failing('b', 'd'));
    const run = (host: ControlHost, ...flags: string[]) =>
      covey(['xargs', '-k', '--joblog', log, ...flags, 'echo'], {
        socket: host.socket,
        stdin: ITEMS,
      });
    expect(await run(first)).toMatchObject({ exit: 2, stdout: 'a\nc\n' });
    expect(await logged(log)).toEqual(['1 0 echo a', '2 7 echo b', '3 0 echo c', '4 7 echo d']);

    const second = await startHost(failing('d'));
    expect(await run(second, '--resume')).toMatchObject({ exit: 0, stdout: '', stderr: '' });
    expect(second.backend.tasks.size).toBe(0);
    expect(await run(second, '--resume-failed')).toMatchObject({ exit: 1, stdout: 'b\n' });
    expect(await logged(log)).toContain('2 0 echo b');

    const third = await startHost(failing());
    expect(await run(third, '--resume-failed')).toMatchObject({ exit: 0, stdout: 'd\n' });
    // A new one takes the place of the old one.
    expect(await run(third)).toMatchObject({ exit: 0, stdout: 'a\nb\nc\nd\n' });
    expect(await logged(log)).toHaveLength(4);
  });

  it('that cannot be written ends the run before it begins', async () => {
    const host = await startHost(failing());
    const result = await covey(['xargs', '--joblog', join(dir, 'none', 'log'), 'echo'], {
      socket: host.socket,
      stdin: ITEMS,
    });
    expect(result).toMatchObject({ exit: 255, stdout: '' });
    expect(result.stderr).toContain('--joblog');
    expect(host.backend.tasks.size).toBe(0);
  });
});

describe('--retries', () => {
  it('says how often a failing task is tried', async () => {
    const asked: unknown[] = [];
    const host = await startHost((request) => {
      asked.push(request.attempts);
      return { state: 'completed', exitCode: 0 };
    });
    const run = (n: string) =>
      covey(['xargs', '--retries', n, 'echo'], { socket: host.socket, stdin: 'a\n' });
    await run('3');
    await run('0');
    expect(asked).toEqual([3, 100]);
  });
});

describe('--halt', () => {
  it('now: cancels what is out, and ends with the exit code of the failure', async () => {
    const log = join(dir, 'log');
    const host = await startHost(({ exec }) =>
      exec?.argv.at(-1) === 'b' ? { state: 'failed', reason: 'exit', exitCode: 7 } : undefined,
    );
    const result = await covey(
      ['xargs', '-j', '3', '--joblog', log, '--halt', 'now,fail=1', 'echo'],
      { socket: host.socket, stdin: ITEMS },
    );
    expect(result.exit).toBe(7);
    expect(result.stderr).toContain('--halt now,fail=1: canceling 2 tasks');
    expect(result.stderr).toContain('halted: 0 completed, 1 failed, 2 canceled');
    const states = [...host.backend.tasks.values()].map((task) => task.state);
    expect(states.sort()).toEqual(['canceled', 'canceled', 'failed']);
    // What was canceled is not over: another run does it.
    expect((await readFile(log, 'utf8')).trimEnd().split('\n')).toHaveLength(2);
  });

  it('soon: submits no more, and waits for what runs', async () => {
    const host = await startHost(({ exec }) =>
      exec?.argv.at(-1) === 'a' ? { state: 'completed', exitCode: 0, stdout: 'a\n' } : undefined,
    );
    const process = new CliProcess(['xargs', '-j', '2', '--halt', 'soon,success=1', 'echo'], {
      socket: host.socket,
      stdin: ITEMS,
    });
    const open = () => [...host.backend.tasks.values()].filter((task) => !task.final);
    await process.printed('stderr', '--halt soon,success=1: waiting for what runs of 1 tasks');
    for (const task of open()) host.backend.finish(task.id, { state: 'completed', stdout: 'b\n' });
    const result = await process.result;
    expect(result.exit).toBe(0);
    expect(result.stderr).toContain('halted: ');
    expect(host.backend.tasks.size).toBeLessThan(4);
  });

  it('runs to the end where it is not reached', async () => {
    const host = await startHost(failing('b'));
    const result = await covey(['xargs', '--halt', 'soon,fail=2', 'echo'], {
      socket: host.socket,
      stdin: ITEMS,
    });
    expect(result.exit).toBe(1);
    expect(host.backend.tasks.size).toBe(4);
  });
});

describe('flags that do not go together', () => {
  it.each([
    [['--resume'], 'name it'],
    [['--resume-failed'], 'name it'],
    [['--retries', '2', '--attempts', '2'], 'give one of them'],
    [['--halt', 'later'], 'soon,fail=3'],
  ])('%j', async (flags, why) => {
    const host = await startHost(undefined);
    const result = await covey(['xargs', ...flags, 'x'], { socket: host.socket, stdin: '' });
    expect(result.exit).toBe(255);
    expect(result.stderr).toContain(why);
  });
});
