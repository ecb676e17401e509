/** The programs of docs/examples as their readers run them: against real daemons, with real commands. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { COVEY, COVEY_NODE } from '../../src/testnet/paths.ts';
import { Mesh, TEST_MS } from './mesh.ts';

const execFileAsync = promisify(execFile);
const exampleOf = (name: string): string =>
  fileURLToPath(new URL(`../../docs/examples/${name}`, import.meta.url));

let mesh: Mesh;
const children: ChildProcess[] = [];

beforeAll(async () => {
  mesh = await Mesh.up(3);
}, TEST_MS);
afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }
});
afterAll(async () => {
  await mesh.end();
}, TEST_MS);

/** `covey`, talking to that peer. */
async function covey(index: number, ...args: string[]): Promise<string> {
  const [verb = '', ...rest] = args;
  const all = [verb, '--socket', mesh.network.socket(index), ...rest];
  return (await execFileAsync(COVEY, all, { timeout: TEST_MS })).stdout;
}

const environmentOf = (index: number) => ({
  PATH: process.env.PATH ?? '',
  COVEY_SOCKET: mesh.network.socket(index),
});

async function taskOf(index: number, id: string): Promise<Record<string, unknown>> {
  return JSON.parse(await covey(index, 'get', '--json', id)) as Record<string, unknown>;
}

test(
  'worker.py serves the mesh from one peer: submitted at another, the result is read at the third',
  async () => {
    await execFileAsync('python3', ['--version']).catch((thrown: Error) => {
      throw new Error(`this test needs python3 on the PATH, 3.8 or later: ${thrown.message}`);
    });
    const worker = spawn('python3', [exampleOf('worker.py')], {
      env: environmentOf(1),
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    children.push(worker);
    const said: string[] = [];
    worker.stderr.on('data', (chunk) => said.push(String(chunk)));
    const payload = JSON.stringify({ text: 'to be or not to be' });
    const id = (await covey(2, 'submit', '-q', 'word_count', '--payload', payload)).trim();
    await covey(3, 'wait', id);
    expect(await taskOf(3, id)).toMatchObject({
      state: 'completed',
      result: { to: 2, be: 2, or: 1, not: 1 },
      attempts: [{ attempt: 1, runner_name: 'test1', outcome: 'completed' }],
    });
    const bad = (await covey(2, 'submit', '-q', 'word_count', '--payload', '{}')).trim();
    await covey(2, 'wait', bad).catch((failed: { code: number }) => expect(failed.code).toBe(1));
    expect(await taskOf(3, bad)).toMatchObject({
      state: 'failed',
      error: { message: "KeyError: 'text'" },
    });

    // Its daemon is killed and comes back; the same program goes on.
    await mesh.network.kill(1);
    await mesh.network.restart(1);
    const later = (await covey(3, 'submit', '-q', 'word_count', '--payload', payload)).trim();
    await covey(2, 'wait', later);
    expect(await taskOf(2, later)).toMatchObject({ state: 'completed', result: { be: 2 } });
    expect(worker.exitCode).toBeNull();
    expect(said.join('')).not.toContain('Traceback');
  },
  TEST_MS,
);

test(
  'thumbnails.ts, the fifteen lines of the README, prints what the README says',
  async () => {
    const { stdout } = await execFileAsync(COVEY_NODE, [exampleOf('thumbnails.ts')], {
      env: environmentOf(2),
      timeout: TEST_MS,
    });
    expect(stdout).toBe('completed: {"made":"cat.png.small"}\n');
    // And the mesh knows of it.
    const listed = await covey(1, 'tasks', '--json', '--type', 'thumbnail');
    // One object a line, and there is one.
    expect(JSON.parse(listed)).toMatchObject({ type: 'thumbnail', state: 'completed', attempt: 1 });
  },
  TEST_MS,
);
