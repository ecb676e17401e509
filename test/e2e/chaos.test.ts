/** `npm run chaos`, short: what it counts, and what an interrupt leaves behind. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, expect, test } from 'vitest';
import { entryOf } from '../../src/testnet/paths.ts';
import { descendantsOf, waitUntilGone } from '../../src/testnet/processes.ts';

const TIMEOUT_MS = 120_000;
const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
}, TIMEOUT_MS);

/** An empty directory as the temporary one of the run. */
async function prepare(): Promise<string> {
  const temporary = await mkdtemp(join(tmpdir(), 'cvc-'));
  cleanups.push(() => rm(temporary, { recursive: true, force: true }));
  return temporary;
}

function chaos(temporary: string, ...args: string[]): ChildProcess {
  const child = spawn(process.execPath, [entryOf('chaos-main'), '--peers', '3', ...args], {
    env: { ...process.env, TMPDIR: temporary },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  cleanups.push(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGTERM');
    await once(child, 'exit');
  });
  return child;
}

async function mountsBelow(dir: string): Promise<string[]> {
  return (await readFile('/proc/self/mounts', 'utf8')).split('\n').filter((l) => l.includes(dir));
}

test(
  'a few seconds of kills, pauses and a full disk lose nothing, and say which faults could not be had',
  async () => {
    const temporary = await prepare();
    const faults = 'kill,pause,disk,worker';
    // A seed under which each of them strikes early, and soon ends.
    const child = chaos(
      temporary,
      '--minutes',
      '0.12',
      '--faults',
      faults,
      '--seed',
      'e2e1333',
      '--json',
    );
    const { stdout, stderr } = child;
    if (!stdout || !stderr) throw new Error('no output');
    const [out, story, [code]] = await Promise.all([
      text(stdout),
      text(stderr),
      once(child, 'exit'),
    ]);
    expect({ code, story: code === 0 ? '' : story }).toEqual({ code: 0, story: '' });
    const report = JSON.parse(out);
    expect(report).toMatchObject({ outcome: 'held', lost: 0, unexplained: 0, violations: {} });
    expect(report).toMatchObject({ seed: 'e2e1333', pending: 0, kept: null });
    expect(report.acknowledged).toBe(report.tasks);
    expect(report.starts).toBeGreaterThan(10);
    for (const kind of faults.split(','))
      expect(report.faults[kind] ?? report.not_run[kind]).toBeDefined();
    expect(story).toContain('chaos {"minutes":0.12,"peers":3,"seed":"e2e1333"');
    expect(await readdir(temporary)).toEqual([]);
    expect(await mountsBelow(temporary)).toEqual([]);
  },
  TIMEOUT_MS,
);

test(
  'Ctrl-C in the middle leaves no process, mount or file',
  async () => {
    const temporary = await prepare();
    const child = chaos(temporary, '--faults', 'pause,disk');
    const { pid, stderr } = child;
    if (pid === undefined || !stderr) throw new Error('the run did not start');
    const exit = once(child, 'exit');
    await new Promise<void>((resolve) => {
      stderr.setEncoding('utf8').on('data', (chunk: string) => {
        if (chunk.includes('see each other alive')) resolve();
      });
    });
    const started = await descendantsOf([pid]);
    expect(started.length).toBeGreaterThan(3);
    child.kill('SIGINT');
    expect(await exit).toEqual([130, null]);
    expect(await readdir(temporary)).toEqual([]);
    expect(await mountsBelow(temporary)).toEqual([]);
    expect(await waitUntilGone(started, 1_000)).toEqual([]);
  },
  TIMEOUT_MS,
);

test('a fault that does not exist is a mistake of usage', async () => {
  const child = chaos(await prepare(), '--faults', 'kill,flood');
  const { stderr } = child;
  if (!stderr) throw new Error('no output');
  const [errors, [code]] = await Promise.all([text(stderr), once(child, 'exit')]);
  expect(code).toBe(64);
  expect(errors).toContain("no fault 'flood'");
});
