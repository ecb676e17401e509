/** `bin/covey` as a process of its own: pipes, signals and exit codes as a shell sees them. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { ControlHost } from '../support/control-host.ts';
import type { FakeBackendOptions } from '../support/fake-backend.ts';

const COVEY = fileURLToPath(new URL('../../bin/covey', import.meta.url));
const children: ChildProcessWithoutNullStreams[] = [];
const hosts: ControlHost[] = [];

afterEach(async () => {
  for (const child of children.splice(0)) if (child.exitCode === null) child.kill('SIGKILL');
  for (const host of hosts.splice(0)) await host.stop();
});

async function startHost(script: FakeBackendOptions['script']): Promise<ControlHost> {
  const host = await ControlHost.start({ script });
  hosts.push(host);
  return host;
}

function start(argv: readonly string[], socket: string): ChildProcessWithoutNullStreams {
  const child = spawn(COVEY, argv, {
    env: { ...process.env, COVEY_SOCKET: socket, NO_COLOR: '1' },
  });
  children.push(child);
  return child;
}

async function finish(child: ChildProcessWithoutNullStreams) {
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  const [exit, signal] = await once(child, 'close');
  return {
    exit,
    signal,
    stdout: Buffer.concat(stdout),
    stderr: Buffer.concat(stderr).toString(),
  };
}

const until = (condition: () => boolean) =>
  vi.waitUntil(condition, { interval: 10, timeout: 20_000 });

describe('bin/covey', () => {
  it('prints its version without a daemon', async () => {
    const result = await finish(start(['version'], '/nonexistent'));
    expect(result.stdout.toString()).toMatch(/^covey \d+\.\d+\.\d+\n$/);
    expect(result.exit).toBe(0);
  });

  it('says that no daemon runs, with exit 69', async () => {
    const result = await finish(start(['members'], '/nonexistent/covey.sock'));
    expect(result.exit).toBe(69);
    expect(result.stderr).toContain("Start one with 'coveyd'");
  });

  it("carries stdin, output and exit code of 'run'", async () => {
    const host = await startHost(({ exec }) => ({
      state: 'failed',
      reason: 'exit',
      exitCode: 9,
      stdout: `${exec?.cwd} ${JSON.stringify(exec?.stdin)}`,
      stderr: 'warned\n',
    }));
    const child = start(['run', 'cat', '-n'], host.socket);
    child.stdin.end('in\n');
    const result = await finish(child);
    expect(result).toMatchObject({ exit: 9, stderr: expect.stringContaining('warned\n') });
    expect(result.stdout.toString()).toBe(`${process.cwd()} "in\\n"`);
  });

  it('passes megabytes through xargs into a pipe, byte for byte', async () => {
    const output = 'ü\0x\r\n'.repeat(20_000);
    const host = await startHost(({ exec }) => ({
      state: 'completed',
      exitCode: 0,
      stdout: `${exec?.argv[1]}:${output}`,
      afterMs: Number(exec?.argv[1]) % 3,
    }));
    const child = start(['xargs', '-k', '-j', '7', 'x'], host.socket);
    const numbers = Array.from({ length: 40 }, (_, i) => i);
    child.stdin.end(numbers.map((i) => `${i}\n`).join(''));
    const result = await finish(child);
    expect(result.stderr).toBe('');
    expect(result.exit).toBe(0);
    expect(result.stdout.equals(Buffer.from(numbers.map((i) => `${i}:${output}`).join('')))).toBe(
      true,
    );
  }, 20_000);

  it('cancels on SIGINT and exits 255', async () => {
    const host = await startHost(() => undefined);
    const child = start(['xargs', '-j', '3', 'sleep'], host.socket);
    child.stdin.write('1\n2\n3\n4\n');
    await until(() => host.backend.tasks.size === 3);
    child.kill('SIGINT');
    const result = await finish(child);
    expect(result.exit).toBe(255);
    expect(result.stderr).toContain('3 canceled');
    expect([...host.backend.tasks.values()].every((task) => task.final)).toBe(true);
  }, 20_000);

  it('ends quietly when its reader leaves, and cancels what is out', async () => {
    const host = await startHost(({ exec }) =>
      Number(exec?.argv[1]) < 50 ? { state: 'completed', stdout: 'y\n'.repeat(50_000) } : undefined,
    );
    const child = start(['xargs', '-j', '60', 'x'], host.socket);
    child.stdin.end(Array.from({ length: 100 }, (_, i) => `${i}\n`).join(''));
    const stderr: Buffer[] = [];
    child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
    await once(child.stdout, 'data');
    child.stdout.destroy();
    const [exit] = await once(child, 'exit');
    expect(exit).toBe(141);
    expect(Buffer.concat(stderr).toString()).toBe('');
    expect([...host.backend.tasks.values()].every((task) => task.final)).toBe(true);
  }, 20_000);
});
