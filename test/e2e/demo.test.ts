/** `npm start` on a small directory: its report, and what an interrupt leaves behind. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { entryOf } from '../../src/testnet/paths.ts';
import { descendantsOf, waitUntilGone } from '../../src/testnet/processes.ts';
import { GONE_MS } from './mesh.ts';
import { atEnd } from './setting.ts';

const TIMEOUT_MS = 180_000;
/** A batch is one file here, and shall last long enough to be killed in the middle. */
const FILES = 120;
const NUMBERS_A_FILE = 50_000;
/** Where somebody interrupts, half of the files are still enough for a kill in the middle. */
const HALF = 'half';
let data: string;

beforeAll(async () => {
  data = await mkdtemp(join(tmpdir(), 'cvd-data-'));
  // Digits of roots: gzip -9 works on them for a tenth of a second.
  const text = Array.from({ length: NUMBERS_A_FILE }, (_, i) => Math.sqrt(i * 7)).join(' ');
  await mkdir(join(data, HALF));
  for (let i = 0; i < FILES; i++) {
    await writeFile(join(data, i % 2 === 0 ? HALF : '', `file ${i}`), `${i} ${text}`);
  }
}, TIMEOUT_MS);

afterAll(() => rm(data, { recursive: true, force: true }));

/** An empty directory as the demo's temporary one. */
async function prepare(): Promise<string> {
  const temporary = await mkdtemp(join(tmpdir(), 'cvd-'));
  atEnd(() => rm(temporary, { recursive: true, force: true }));
  return temporary;
}

function demo(temporary: string, dir = data): ChildProcess {
  const child = spawn(process.execPath, [entryOf('demo-main'), dir, '--json'], {
    env: { ...process.env, TMPDIR: temporary, INIT_CWD: '/' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  atEnd(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGTERM');
    await once(child, 'exit');
  });
  return child;
}

test(
  'nothing is lost, doubled or different while a daemon is killed',
  async () => {
    const temporary = await prepare();
    const child = demo(temporary);
    const { stdout, stderr } = child;
    if (!stdout || !stderr) throw new Error('no output');
    const [out, errors, [code]] = await Promise.all([
      text(stdout),
      text(stderr),
      once(child, 'exit'),
    ]);
    expect({ code, errors: code === 0 ? '' : errors }).toEqual({ code: 0, errors: '' });
    const report = JSON.parse(out);
    expect(report).toMatchObject({ files: FILES, lost: 0, duplicates: 0, double_runs: 0 });
    expect(report.completed).toBe(report.tasks);
    expect(report.retaken).toBeGreaterThan(0);
    expect(report.attempts).toBeGreaterThan(report.tasks);
    expect(report.takeover_ms_max).toBeLessThan(15_000);
    expect(await readdir(temporary)).toEqual([]);
  },
  TIMEOUT_MS,
);

test.each([
  ['while plain xargs runs', (line: string, done: () => void) => line === '' && done()],
  [
    'while the mesh starts',
    (line: string, done: () => void) => /now the mesh/.test(line) && done(),
  ],
  ['while a daemon is dead', (line: string, done: () => void) => /SIGKILL to/.test(line) && done()],
])(
  'Ctrl-C %s leaves no process and no file',
  async (_when, matches) => {
    const temporary = await prepare();
    const child = demo(temporary, join(data, HALF));
    const pid = child.pid;
    if (pid === undefined) throw new Error('the demo did not start');
    const seen = new Promise<void>((resolve) => {
      child.stderr?.setEncoding('utf8').on('data', (chunk: string) => matches(chunk, resolve));
      void waitForChild(pid).then(() => matches('', resolve));
    });
    const exit = once(child, 'exit');
    await seen;
    await waitForChild(pid);
    const started = await descendantsOf([pid]);
    expect(started.length).toBeGreaterThan(0);
    child.kill('SIGINT');
    expect(await exit).toEqual([130, null]);
    expect(await readdir(temporary)).toEqual([]);
    // A guardian ends by itself as soon as it sees the end of its daemon.
    expect(await waitUntilGone(started, GONE_MS)).toEqual([]);
  },
  TIMEOUT_MS,
);

async function waitForChild(pid: number): Promise<void> {
  while ((await descendantsOf([pid])).length === 0) await new Promise(setImmediate);
}
