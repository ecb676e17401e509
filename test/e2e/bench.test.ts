/** `npm run bench`, as short as it gets: that it runs, what it prints, and that nothing stays. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { COVEY_NODE } from '../../src/testnet/paths.ts';
import { processesWithArguments, waitUntilGone } from '../../src/testnet/processes.ts';
import { processEndsWithUs } from '../support/end-with-us.ts';
import { atEnd } from './setting.ts';

const TIMEOUT_MS = 120_000;
const BENCH = fileURLToPath(new URL('../../bench/run.ts', import.meta.url));
const SHORT = ['--seconds', '1', '--only', 'covey', '--in-flight', '4', '--bulk', '20'];

async function bench(
  ...args: readonly string[]
): Promise<{ readonly temporary: string; readonly child: ChildProcess }> {
  const temporary = await mkdtemp(join(tmpdir(), 'cvb-'));
  atEnd(() => rm(temporary, { recursive: true, force: true }));
  const child = spawn(COVEY_NODE, [BENCH, ...args], {
    env: { ...process.env, TMPDIR: temporary },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  await processEndsWithUs(child.pid);
  return { temporary, child };
}

test(
  'tasks go through three daemons, and the bench says how many in one line of JSON',
  async () => {
    const { temporary, child } = await bench('throughput', ...SHORT, '--runs', '1', '--json');
    if (!child.stdout || !child.stderr) throw new Error('no output');
    const [out, errors] = await Promise.all([text(child.stdout), text(child.stderr)]);
    expect({ lines: out.trimEnd().split('\n').length, errors }).toMatchObject({ lines: 1 });
    const { bench: name, covey, ratio_bullmq, targets } = JSON.parse(out);
    expect({ name, ratio_bullmq }).toEqual({ name: 'throughput', ratio_bullmq: null });
    expect(Object.keys(covey.phases)).toEqual(['in_flight_4', 'bulk_20']);
    expect(covey.phases.in_flight_4).toMatchObject({ failed: 0, left: 0 });
    expect(covey.best_done_per_s).toBeGreaterThan(0);
    expect(Object.keys(covey.phases.bulk_20.cpu_us)).toContain('coveyd-3');
    expect(targets).toContainEqual(expect.objectContaining({ met: 'not measured' }));
    expect(await readdir(temporary)).toEqual([]);
  },
  TIMEOUT_MS,
);

test(
  'an interrupt ends its daemons and removes its files',
  async () => {
    const { temporary, child } = await bench('throughput', ...SHORT);
    let daemons = await daemonsBelow(temporary);
    while (daemons.length === 0 && child.exitCode === null) daemons = await daemonsBelow(temporary);
    const exited = once(child, 'exit');
    child.kill('SIGINT');
    expect((await exited)[0]).toBe(130);
    expect(await waitUntilGone(daemons, 10_000)).toEqual([]);
    expect(await readdir(temporary)).toEqual([]);
  },
  TIMEOUT_MS,
);

test.each([
  [['nothing'], "there is no bench 'nothing'"],
  [['throughput', '--seconds', '0'], '--seconds is a whole number from 1 to 600'],
])('%j is a mistake, and it is said which', async (args, why) => {
  const { child } = await bench(...args);
  if (!child.stderr) throw new Error('no output');
  const exited = once(child, 'exit');
  expect(await text(child.stderr)).toContain(why);
  expect((await exited)[0]).toBe(2);
});

/** By the data directory of the first daemon, which lies in a directory that this run made. */
async function daemonsBelow(temporary: string) {
  for (const name of await readdir(temporary)) {
    const data = join(temporary, name, 'run', 'c1', 'peer1');
    const found = await processesWithArguments(['--data-dir', data]);
    if (found.length > 0) return found;
  }
  return [];
}
