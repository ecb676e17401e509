/** The worker programs of a chaos run: one a peer, all of which are ended. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { WorkerPrograms } from '../../src/testnet/chaos-programs.ts';

test('two strikes at one program that both start it again leave none behind', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'covey-programs-'));
  try {
    const programs = new WorkerPrograms(dir);
    const start = (): Promise<void> => programs.start(1, join(dir, 'none.sock'), 'test1');
    await Promise.all([start(), start()]);
    await programs.kill(1);
    await Promise.all([start(), start(), start()]);
    await programs.end();
    // After its end nothing is started.
    await start();
    expect(await programs.end()).toBeUndefined();
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});
