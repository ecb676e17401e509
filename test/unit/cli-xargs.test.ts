/** `covey xargs` against a control server on a real Unix socket, with a scripted daemon behind it. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { coveyError } from '../../src/base/errors.ts';
import { describe as describeProgress, RateMeter } from '../../src/cli/progress.ts';
import { defaultJobs } from '../../src/cli/xargs/slots.ts';
import { ControlHost } from '../support/control-host.ts';
import type { FakeBackendOptions } from '../support/fake-backend.ts';
import type { FakeTask } from '../support/fake-task.ts';
import { CliProcess, covey, until } from './cli-harness.ts';

const hosts: ControlHost[] = [];
afterEach(async () => {
  for (const host of hosts.splice(0)) await host.stop();
});

async function startHost(script: FakeBackendOptions['script']): Promise<ControlHost> {
  const host = await ControlHost.start({ script });
  hosts.push(host);
  return host;
}

const numbers = (n: number): string[] => Array.from({ length: n }, (_, i) => `item ${i}`);
const lines = (items: readonly string[]): string => items.map((item) => `${item}\n`).join('');
const active = (host: ControlHost): FakeTask[] =>
  [...host.backend.tasks.values()].filter((task) => !task.final);

describe('covey xargs', () => {
  it('runs the command once for each line and prints what each printed', async () => {
    const host = await startHost(({ exec }) => ({
      state: 'completed',
      exitCode: 0,
      stdout: `<${exec?.argv.join('|')}>\n`,
    }));
    const result = await covey(['xargs', 'gzip', '-9', '-c', '{}'], {
      socket: host.socket,
      stdin: 'a b\n"c\n\nlast',
    });
    expect(result.exit).toBe(0);
    expect(result.stdout.split('\n').sort()).toEqual(
      ['', '<gzip|-9|-c|a b>', '<gzip|-9|-c|"c>', '<gzip|-9|-c|>', '<gzip|-9|-c|last>'].sort(),
    );
    expect(result.stderr).toBe('');
  });

  it('does nothing without input', async () => {
    const host = await startHost(undefined);
    expect(await covey(['xargs', 'x'], { socket: host.socket, stdin: '' })).toMatchObject({
      exit: 0,
      stdout: '',
    });
  });

  it('handles thousands of lines, each exactly once', async () => {
    const host = await startHost(undefined);
    const items = numbers(3_000);
    const result = await covey(['xargs', '-j', '200', 'echo'], {
      socket: host.socket,
      stdin: lines(items),
    });
    expect(result.exit).toBe(0);
    const expected = items.map((item) => `echo ${item}`);
    expect(result.stdout.trimEnd().split('\n').sort()).toEqual(expected.sort());
    expect(host.backend.tasks.size).toBe(3_000);
  });

  it('keeps the order of the input with -k, also of results that came out of order', async () => {
    const host = await startHost(({ exec }) => {
      const i = Number(exec?.argv.at(-1));
      return { state: 'completed', exitCode: 0, stdout: `${i}\n`, afterMs: (i * 7) % 20 };
    });
    const items = Array.from({ length: 60 }, (_, i) => String(i));
    const result = await covey(['xargs', '-k', '-j', '8', 'x'], {
      socket: host.socket,
      stdin: lines(items),
    });
    expect(result.stdout).toBe(lines(items));
  });

  it('holds outputs with -k in bounded memory, and fetches again what it dropped', async () => {
    const output = 'x'.repeat(1_000_000);
    const host = await startHost(({ exec }) =>
      exec?.argv.at(-1) === 'item 0' ? undefined : { state: 'completed', stdout: output },
    );
    const fetched = vi.spyOn(host.backend.methods, 'task.get');
    const waits = vi.spyOn(host.backend.methods, 'task.wait');
    const process = new CliProcess(['xargs', '-k', '-j', '80', 'x'], {
      socket: host.socket,
      stdin: lines(numbers(80)),
    });
    // Only the first is still asked about: all other results have arrived.
    await until(() => host.backend.tasks.size === 80 && waits.mock.lastCall?.[0].ids.length === 1);
    const [first] = active(host);
    host.backend.finish(first?.id ?? '', { state: 'completed', stdout: 'first' });
    const result = await process.result;
    expect(result.stderr).toBe('');
    expect(result.exit).toBe(0);
    expect(result.stdout.startsWith('firstxxx')).toBe(true);
    expect(result.stdoutBytes.length).toBe(5 + 79 * 1_000_000);
    expect(fetched.mock.calls.length).toBeGreaterThan(0);
    expect(fetched.mock.calls.length).toBeLessThan(79);
  }, 20_000);

  it('never has more than -j tasks out', async () => {
    let out = 0;
    let most = 0;
    const host = await startHost(() => {
      out++;
      most = Math.max(most, out);
      return undefined;
    });
    const process = new CliProcess(['xargs', '-j', '3', 'x'], {
      socket: host.socket,
      stdin: lines(numbers(20)),
    });
    for (let done = 0; done < 20; done++) {
      await until(
        () => active(host).length > 0 && host.backend.tasks.size >= Math.min(20, done + 3),
      );
      const [first] = active(host);
      if (first === undefined) throw new Error('nothing is active');
      out--;
      host.backend.finish(first.id, { state: 'completed', exitCode: 0 });
    }
    expect((await process.result).exit).toBe(0);
    expect(most).toBe(3);
  });

  it('puts twice as many out as the mesh has slots, by default', async () => {
    const host = await startHost(() => undefined);
    const process = new CliProcess(['xargs', 'x'], {
      socket: host.socket,
      stdin: lines(numbers(50)),
    });
    await until(() => host.backend.tasks.size === 8);
    for (const task of active(host)) host.backend.finish(task.id, { state: 'completed' });
    await until(() => host.backend.tasks.size === 16);
    process.interrupt();
    expect((await process.result).exit).toBe(255);
    expect(defaultJobs([])).toBe(2);
  });

  it('collects -n items a task', async () => {
    const host = await startHost(undefined);
    const result = await covey(['xargs', '-k', '-n', '2', 'x', '--in={}'], {
      socket: host.socket,
      stdin: 'a\nb\nc\n',
    });
    expect(result.stdout).toBe('x --in=a --in=b\nx --in=c\n');
  });

  it('gives blocks of stdin to the tasks with --pipe', async () => {
    const host = await startHost(({ exec }) => ({
      state: 'completed',
      exitCode: 0,
      stdout: String(exec?.stdin),
    }));
    const text = lines(numbers(500));
    const result = await covey(['xargs', '-k', '--pipe', '--block', '100B', 'cat'], {
      socket: host.socket,
      stdin: text,
    });
    expect(result.stdout).toBe(text);
    expect(host.backend.tasks.size).toBeGreaterThan(40);
  });

  it('counts and names failed tasks, and prints what they printed', async () => {
    const host = await startHost(({ exec }) =>
      exec?.argv.at(-1) === 'bad'
        ? { state: 'failed', reason: 'exit', exitCode: 7, stdout: 'half\n', stderr: 'oh\n' }
        : { state: 'completed', exitCode: 0 },
    );
    const result = await covey(['xargs', 'x'], { socket: host.socket, stdin: 'good\nbad\nbad\n' });
    expect(result.exit).toBe(2);
    expect(result.stdout).toBe('half\nhalf\n');
    expect(result.stderr).toMatch(/failed: 'bad' \(task [0-9A-Z]{39}\): exit 7/);
    expect(result.stderr).toContain('2 of 3 tasks failed');
  });

  it('exits 101 above a hundred failures', async () => {
    const host = await startHost(() => ({ state: 'failed', reason: 'exit', exitCode: 1 }));
    const result = await covey(['xargs', 'x'], {
      socket: host.socket,
      stdin: lines(numbers(130)),
    });
    expect(result.exit).toBe(101);
  });

  it('names items that cannot be sent, without stopping', async () => {
    const host = await startHost(undefined);
    const result = await covey(['xargs', 'echo'], {
      socket: host.socket,
      stdin: Buffer.from([0x61, LF, 0xff, LF, 0x62, LF]),
    });
    expect(result.exit).toBe(1);
    expect(result.stdout.split('\n').sort()).toEqual(['', 'echo a', 'echo b']);
    expect(result.stderr).toContain('not UTF-8');
  });

  it('writes JSON, one object a task', async () => {
    const host = await startHost(undefined);
    const result = await covey(['xargs', '-k', '--json', 'echo'], {
      socket: host.socket,
      stdin: 'a\nb\n',
    });
    const parsed: unknown[] = result.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(parsed).toMatchObject([
      { index: 0, items: ['a'], task: { state: 'completed', stdout: 'echo a\n' } },
      { index: 1, items: ['b'], task: { state: 'completed' } },
    ]);
  });

  it('submits nothing twice when the daemon dies and returns, and loses nothing', async () => {
    const host = await startHost(({ exec }) => ({
      state: 'completed',
      exitCode: 0,
      stdout: `${exec?.argv.at(-1)}\n`,
      afterMs: 15,
    }));
    const items = numbers(120);
    const process = new CliProcess(['xargs', '-j', '10', 'x'], {
      socket: host.socket,
      stdin: lines(items),
    });
    for (const after of [30, 70]) {
      await until(() => host.backend.tasks.size >= after);
      await host.crash();
      await host.restart();
    }
    const result = await process.result;
    expect(result.stderr).toBe('');
    expect(result.exit).toBe(0);
    expect(result.stdout.trimEnd().split('\n').sort()).toEqual([...items].sort());
    expect(host.backend.tasks.size).toBe(120);
  });

  it('sends a task again under the same id when its outcome is unknown', async () => {
    const host = await startHost(undefined);
    const failure = { stored_on: 1, required: 2, unreachable: [] };
    for (let i = 0; i < 3; i++) {
      host.backend.submitFailures.push(coveyError('NOT_ENOUGH_COPIES', failure));
    }
    const result = await covey(['xargs', 'x'], { socket: host.socket, stdin: lines(numbers(5)) });
    expect(result.exit).toBe(0);
    expect(host.backend.tasks.size).toBe(5);
    expect(host.backend.submitted.length).toBe(8);
  });

  it('fails a task that is refused for good, and goes on', async () => {
    const host = await startHost(undefined);
    host.backend.submitFailures.push(coveyError('STORE_REFUSED', { why: 'a test' }));
    const result = await covey(['xargs', 'x'], { socket: host.socket, stdin: lines(numbers(5)) });
    expect(result.exit).toBe(1);
    expect(result.stderr).toContain('The store was refused');
  });

  it('cancels what is out on Ctrl-C and exits 255', async () => {
    const host = await startHost(() => undefined);
    const process = new CliProcess(['xargs', '-j', '5', 'x'], { socket: host.socket });
    process.stdin.write(lines(numbers(9)));
    await until(() => host.backend.tasks.size === 5);
    process.interrupt();
    const result = await process.result;
    expect(result.exit).toBe(255);
    expect(result.stderr).toContain('5 canceled');
    expect(active(host)).toEqual([]);
    expect(host.backend.tasks.size).toBe(5);
  });

  it('ends at once on a second Ctrl-C', async () => {
    const host = await startHost(() => undefined);
    const process = new CliProcess(['xargs', '-j', '5', 'x'], { socket: host.socket });
    process.stdin.write(lines(numbers(9)));
    await until(() => host.backend.tasks.size === 5);
    await host.crash();
    process.interrupt();
    await process.printed('stderr', 'canceling');
    process.interrupt();
    const result = await process.result;
    expect(result.exit).toBe(255);
    expect(result.stderr).toContain('5 may still run');
  });

  it('cancels quietly when its reader has left', async () => {
    const host = await startHost(({ exec }) =>
      exec?.argv.at(-1) === 'item 0' ? { state: 'completed', stdout: 'x' } : undefined,
    );
    const process = new CliProcess(['xargs', '-j', '4', 'x'], {
      socket: host.socket,
      stdin: lines(numbers(9)),
    });
    process.stdout.error = Object.assign(new Error('write EPIPE'), { code: 'EPIPE' });
    expect(await process.result).toMatchObject({ exit: 141, stderr: '' });
    expect(active(host)).toEqual([]);
  });

  it('submits no more while nobody reads its output', async () => {
    const output = 'x'.repeat(1_000_000);
    const host = await startHost(() => ({ state: 'completed', exitCode: 0, stdout: output }));
    const process = new CliProcess(['xargs', '-j', '2', 'x'], {
      socket: host.socket,
      stdin: lines(numbers(100)),
    });
    const reader = Promise.withResolvers<void>();
    process.stdout.hold = reader.promise;
    let before = -1;
    // Settled: no new task between two looks.
    await vi.waitUntil(
      () => {
        const still = host.backend.tasks.size === before;
        before = host.backend.tasks.size;
        return still && before > 2;
      },
      { interval: 200, timeout: 20_000 },
    );
    expect(before).toBeLessThan(60);
    process.stdout.hold = undefined;
    reader.resolve();
    const result = await process.result;
    expect(result.exit).toBe(0);
    expect(result.stdoutBytes.length).toBe(100 * 1_000_000);
  }, 60_000);

  it('refuses flags that do not go together, with exit 255', async () => {
    for (const flags of [
      ['--pipe', '-n', '2'],
      ['--block', '1KiB'],
      ['--pipe', '--block', '2MiB'],
      ['-j', '0'],
      ['-I', ''],
      ['--env', 'NOT_SET_ANYWHERE'],
    ]) {
      const result = await covey(['xargs', ...flags, 'x'], { stdin: 'a\n' });
      expect(result.exit, flags.join(' ')).toBe(255);
      expect(result.stderr).not.toBe('');
    }
    const none = await covey(['xargs', 'x'], { stdin: 'a\n' });
    expect(none).toMatchObject({ exit: 255 });
    expect(none.stderr).toContain('coveyd');
  });
});

const LF = 0x0a;

describe('progress', () => {
  it('shows a bar with rate and ETA on a terminal', async () => {
    const host = await startHost(() => ({ state: 'completed', afterMs: 300 }));
    const options = { socket: host.socket, stdin: lines(numbers(24)), terminal: true };
    const result = await covey(['xargs', '-j', '8', 'x'], options);
    expect(result.stderr).toMatch(/█.*\d+\/24/u);
    expect(result.stderr).toMatch(/\/s .*ETA/);
    const without = await covey(['xargs', '-j', '8', '--no-progress', 'x'], options);
    expect(without.stderr).toBe('');
  });

  it('says a line where one was asked for and stderr is no terminal', async () => {
    const host = await startHost(undefined);
    const options = { socket: host.socket, stdin: lines(numbers(5)) };
    const result = await covey(['xargs', '--progress', 'x'], options);
    expect(result.stderr).toMatch(/covey xargs: 5\/5/);
  });

  it('measures the rate of the last seconds', () => {
    const meter = new RateMeter();
    expect(meter.perSecond).toBeUndefined();
    for (let second = 0; second <= 30; second++)
      meter.add(second * 1_000, Math.min(second, 10) * 5);
    expect(meter.perSecond).toBe(0);
    const snapshot = { done: 5, total: 15, read: 15, failed: 1, outstanding: 2 };
    expect(describeProgress(snapshot, 2)).toBe('5/15  2 out  1 failed  2.0/s  ETA 5.0s');
    expect(describeProgress({ ...snapshot, total: undefined }, undefined)).toContain('5/15+');
  });
});
