/**
 * One compile cache for every program that the tests start: else each daemon, in a data directory of its own, compiles
 * the same sources again, which is half of what its start takes. Filled beside the first tests, since the daemons of
 * tests mostly end by SIGKILL, before Node writes what it compiled.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { COVEYD } from '../../src/testnet/paths.ts';
import { endWithUs, processEndsWithUs } from './end-with-us.ts';

export default async function setUp(): Promise<() => Promise<void>> {
  const dir = await mkdtemp(join(tmpdir(), 'covey-compiled-'));
  endWithUs({ files: dir });
  process.env.NODE_COMPILE_CACHE = join(dir, 'cache');
  const where = ['--data-dir', join(dir, 'data'), '--socket', join(dir, 'socket')];
  const args = [...where, '--bind', '127.76.0.1:0', '--allow-root'];
  const daemon = spawn(COVEYD, args, { stdio: ['ignore', 'pipe', 'ignore'] });
  const ended = once(daemon, 'close');
  ended.catch(() => undefined); // what is wrong with it the tests will tell
  // Its ready line is all that it prints.
  daemon.stdout.once('data', () => daemon.kill('SIGTERM')).resume();
  await processEndsWithUs(daemon.pid);
  return async () => {
    daemon.kill('SIGKILL');
    await ended.catch(() => undefined);
    await rm(dir, { recursive: true, force: true, maxRetries: 5 });
  };
}
