/** The standard streams of real commands: real pipes, byte-exact, nothing left open or on disk. */
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { afterEach, describe, expect, test } from 'vitest';
import { HostClock } from '../../src/host/clock.ts';
import type { StdioOptions } from '../../src/host/command-stdio.ts';
import { Fifos } from '../../src/host/fifos.ts';
import { closePair } from '../../src/host/pair-pool.ts';
import { HostProcesses } from '../../src/host/processes.ts';
import { observe, requestFor, textOf } from './processes.ts';
import { SETTLE_MS_MAX, settleReal } from './settle.ts';

const MIB = 1_048_576;
const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function temporary(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'covey-pipes-test-'));
  cleanups.push(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

function open(options: StdioOptions): HostProcesses {
  const processes = new HostProcesses(new HostClock(), options);
  cleanups.push(() => processes.stop());
  return processes;
}

async function run(processes: HostProcesses, script: string, stdin: string | Uint8Array = '') {
  const { observed, handlers } = observe();
  const request = requestFor(['/bin/sh', '-c', script]);
  const bytes = typeof stdin === 'string' ? new TextEncoder().encode(stdin) : stdin;
  processes.spawn({ ...request, stdin: bytes }, handlers);
  await settleReal(() => observed.exit !== undefined);
  const { exit } = observed;
  return { code: exit?.code, exit, out: textOf(observed.stdout), err: textOf(observed.stderr) };
}

const descriptors = async () => (await readdir('/proc/self/fd')).length;

describe('the streams of a real command', () => {
  test('it can open them by name, as scripts do', async () => {
    const processes = open({ directory: await temporary() });
    const script = 'echo e > /dev/stderr; echo o > /dev/stdout; cat /dev/stdin';
    expect(await run(processes, script, 'in\n')).toMatchObject({
      code: 0,
      out: 'o\nin\n',
      err: 'e\n',
    });
    const more = 'echo x | tee /dev/stderr; echo y > /proc/self/fd/1; cat /dev/stdin | wc -c';
    expect(await run(processes, more)).toMatchObject({ code: 0, out: 'x\ny\n0\n', err: 'x\n' });
  });

  test('1 MiB passes byte-exact from stdin to both streams', async () => {
    const processes = open({ directory: await temporary() });
    const input = new Uint8Array(MIB).map((_, i) => (i * 2_654_435_761) >>> 13);
    const { observed, handlers } = observe();
    const request = requestFor(['/bin/sh', '-c', 'cat; cat /dev/stdin >&2']);
    processes.spawn({ ...request, stdin: input }, handlers);
    await settleReal(() => observed.exit !== undefined);
    const digest = (chunks: readonly Uint8Array[]) =>
      createHash('sha256').update(Buffer.concat(chunks)).digest('hex');
    expect(digest(observed.stdout)).toBe(digest([input]));
    expect(digest(observed.stderr)).toBe(digest([input]));
  });

  test('both streams at once, unread for a while, come complete', async () => {
    const processes = open({ directory: await temporary() });
    const { observed, handlers } = observe();
    const script = `head -c ${MIB} /dev/zero & head -c ${MIB} /dev/zero >&2; wait`;
    const child = processes.spawn(requestFor(['/bin/sh', '-c', script]), handlers);
    child.pauseOutput();
    await settleReal(() => observed.groupId !== undefined);
    expect((await run(processes, 'sleep 0.2; echo later')).out).toBe('later\n');
    expect(observed.events).toEqual(['started']);
    child.resumeOutput();
    await settleReal(() => observed.exit !== undefined);
    for (const chunks of [observed.stdout, observed.stderr]) {
      expect(chunks.reduce((sum, chunk) => sum + chunk.length, 0)).toBe(MIB);
    }
  });

  test('its input starts at its beginning and cannot be written to', async () => {
    const processes = open({ directory: await temporary() });
    const script = 'read -r line; echo "$line"; head -n 1 /dev/stdin; (echo x >&0) 2>&- || echo ro';
    expect((await run(processes, script, 'a\nb\n')).out).toBe('a\na\nro\n');
  });

  test('closing the streams does not end it, and what is not read does no harm', async () => {
    const processes = open({ directory: await temporary() });
    const directory = await temporary();
    const script = `exec >&- 2>&- <&-; sleep 0.3; : > ${directory}/done; exit 5`;
    expect((await run(processes, script, 'x'.repeat(MIB))).code).toBe(5);
    expect(await readdir(directory)).toEqual(['done']);
  });

  test('what it left in the background is killed, and what that wrote before is read', async () => {
    const processes = open({ directory: await temporary() });
    const script =
      '(echo early; exec sleep 1000) & while [ ! -e /proc/$!/fd ]; do :; done; sleep 0.2';
    const startMs = performance.now();
    expect(await run(processes, script)).toMatchObject({ code: 0, out: 'early\n' });
    expect(performance.now() - startMs).toBeLessThan(10_000);
  });
});

describe('what they leave', () => {
  test('no descriptor, after 200 commands of every kind', async () => {
    const directory = await temporary();
    // What Node opens for its first child, it keeps.
    const first = open({ directory });
    await run(first, 'exit 0');
    await first.stop();
    const before = await descriptors();
    const processes = new HostProcesses(new HostClock(), { directory });
    const kinds = [
      () => run(processes, 'exit 0'),
      () => run(processes, 'cat; echo e >&2', 'x'.repeat(1_000)),
      () => run(processes, 'sleep 1000 &'),
      async () => {
        const { observed, handlers } = observe();
        processes.spawn({ ...requestFor(['true']), cwd: '/no/such' }, handlers);
        processes.spawn(requestFor(['true', 'a\0b']), observe().handlers);
        processes.spawn(requestFor(['true']), observe().handlers).signal('SIGKILL');
        await settleReal(() => observed.exit !== undefined);
      },
    ];
    for (let i = 0; i < 25; i++) {
      await Promise.all([...kinds, ...kinds].map((kind) => kind()));
    }
    await processes.stop();
    await expect.poll(descriptors, { timeout: SETTLE_MS_MAX }).toBe(before);
    expect(await readdir(directory)).toEqual([]);
  });

  test('nothing that others could read, while they run', async () => {
    const directory = await temporary();
    const processes = open({ directory });
    expect((await run(processes, 'cat', 'secret')).out).toBe('secret');
    const [name = ''] = await readdir(directory);
    expect((await stat(join(directory, name))).mode & 0o777).toBe(0o700);
    const names = await readdir(join(directory, name));
    expect(names.filter((entry) => entry.startsWith('in-'))).toEqual([]);
  });
});

describe('without mkfifo', () => {
  test('a private directory that somebody removed is made anew', async () => {
    const directory = await temporary();
    const fifos = new Fifos(directory);
    cleanups.push(() => fifos.close());
    const takeOne = async () => {
      const pair = await fifos.take();
      if (pair.ok) closePair(pair.value);
      return pair.ok;
    };
    for (let i = 0; i < 17; i++) expect(await takeOne()).toBe(true);
    const [first = ''] = await readdir(directory);
    // Not while mkfifo works in it.
    const made = async () => (await readdir(join(directory, first))).length;
    await expect.poll(made, { timeout: SETTLE_MS_MAX }).toBe(96);
    await rm(join(directory, first), { recursive: true });
    let taken = 0;
    while (await takeOne()) taken += 1;
    expect(taken).toBeLessThan(100);
    expect(await takeOne()).toBe(true);
    expect(await readdir(directory)).not.toContain(first);
  });

  test('commands run on socket pairs, and the reason is told once', async () => {
    const reasons: string[] = [];
    const directory = join(await temporary(), 'file', 'below');
    const parent = join(directory, '..');
    await writeFile(parent, '');
    const processes = open({ directory, onFallback: (reason) => reasons.push(reason) });
    for (let i = 0; i < 2; i++) {
      expect(await run(processes, 'cat; echo e >&2; exit 6', 'in')).toMatchObject({
        code: 6,
        out: 'in',
        err: 'e\n',
      });
    }
    expect(reasons).toEqual([expect.stringMatching(/socket pairs.*ENOTDIR/)]);
  });

  test('also when the program is missing', async () => {
    const path = process.env.PATH;
    cleanups.push(async () => {
      process.env.PATH = path;
    });
    process.env.PATH = '/no/such/bin';
    const reasons: string[] = [];
    const directory = await temporary();
    const processes = open({ directory, onFallback: (reason) => reasons.push(reason) });
    expect(await run(processes, 'echo o')).toMatchObject({ code: 0, out: 'o\n' });
    expect(reasons).toEqual([expect.stringMatching(/mkfifo: ENOENT/)]);
  });
});
