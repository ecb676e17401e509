/** The examples of the documents, run as programs against a server. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Covey, connect } from '../../src/client/index.ts';
import { settleReal } from '../compliance/settle.ts';
import { ControlHost } from '../support/control-host.ts';

let host: ControlHost;
let covey: Covey;
const children: ChildProcess[] = [];

beforeEach(async () => {
  host = await ControlHost.start();
  covey = await connect({ socket: host.socket });
});

afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }
  await covey.close();
  await host.stop();
});

function start(command: string, args: readonly string[]) {
  const env = { PATH: process.env.PATH ?? '', COVEY_SOCKET: host.socket };
  const child = spawn(command, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  children.push(child);
  const output: string[] = [];
  child.stdout.on('data', (chunk) => output.push(String(chunk)));
  child.stderr.on('data', (chunk) => output.push(String(chunk)));
  return { exited: once(child, 'exit'), output };
}

const exampleOf = (name: string): string =>
  new URL(`../../docs/examples/${name}`, import.meta.url).pathname;

test('thumbnails.ts, the example of the README, runs', async () => {
  const { exited, output } = start(process.execPath, [exampleOf('thumbnails.ts')]);
  expect([await exited, output.join('')]).toEqual([
    [0, null],
    'completed: {"made":"cat.png.small"}\n',
  ]);
});

test('thumbnails.ts has fifteen lines', async () => {
  const text = await readFile(exampleOf('thumbnails.ts'), 'utf8');
  expect(text.trimEnd().split('\n').length).toBeLessThanOrEqual(15);
});

test('worker.py counts words, reports a failure, and resumes with a new daemon', async () => {
  const { output } = start('python3', [exampleOf('worker.py')]);
  const payload = { text: 'to be or not to be' };
  const { id } = await covey.submit({ type: 'word_count', payload });
  const result = { to: 2, be: 2, or: 1, not: 1 };
  expect(await covey.waitFor(id)).toMatchObject({ result, progress: { words: 6 } });

  const bad = await covey.submit({ type: 'word_count', payload: {} });
  expect((await covey.waitFor(bad.id)).error).toEqual({ message: "KeyError: 'text'" });

  await host.crash();
  await host.restart();
  await settleReal(() => host.backend.workers.count === 1);
  expect(host.backend.workers.registered).toBe(1);
  const later = await covey.submit({ type: 'word_count', payload: { text: 'again' } });
  expect((await covey.waitFor(later.id)).result).toEqual({ again: 1 });
  expect(output.join('')).not.toContain('Traceback');
});

test('a handler of worker.py outlives its daemon', async () => {
  const program = `
import os, sys, time
sys.path.insert(0, ${JSON.stringify(dirname(exampleOf('worker.py')))})
import worker
def slow(payload, canceled, progress):
    while not os.path.exists(payload['file']):
        progress('started')
        time.sleep(0.005)
    return 'kept'
worker.HANDLERS['slow'] = slow
worker.TYPES.append({'type': 'slow', 'concurrency': 1})
worker.Worker(os.environ['COVEY_SOCKET']).run_forever()
`;
  start('python3', ['-B', '-c', program]);
  const file = `${host.directory}/go`;
  const { id } = await covey.submit({ type: 'slow', payload: { file } });
  await settleReal(() => host.backend.tasks.get(id)?.progress === 'started');
  await host.crash();
  await host.restart();
  await settleReal(() => host.backend.workers.count === 1);
  await writeFile(file, '');
  expect(await covey.waitFor(id)).toMatchObject({ result: 'kept', attempt: 1 });
});
