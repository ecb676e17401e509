/** Networks under a supervisor of their own that end with the test process, however that ends. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { COVEY_NODE } from '../../src/testnet/paths.ts';

const REAPER = fileURLToPath(new URL('./reaper.ts', import.meta.url));
let reaper: ChildProcessByStdio<Writable, null, null> | undefined;

/** Says it before the network is started: a test process may end at any moment. */
export function endWithUs(networkDir: string): void {
  if (reaper === undefined) {
    // A session of its own: what ends our process group must not end it.
    reaper = spawn(COVEY_NODE, [REAPER], {
      detached: true,
      stdio: ['pipe', 'ignore', 'inherit'],
    });
    reaper.unref();
  }
  reaper.stdin.write(`${networkDir}\n`);
}
