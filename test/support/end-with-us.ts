/** Networks, processes and directories that end with the test process, also when a signal ends that at once. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { Socket } from 'node:net';
import type { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { COVEY_NODE } from '../../src/testnet/paths.ts';
import { type ProcessRef, refOf } from '../../src/testnet/processes.ts';

export interface Remains {
  /** The directory of a test network; told before the network is started. */
  readonly network?: string;
  /** With all that it started. */
  readonly process?: ProcessRef;
  /** A directory, removed last. */
  readonly files?: string;
}

const REAPER = fileURLToPath(new URL('./reaper.ts', import.meta.url));
let reaper: ChildProcessByStdio<Writable, null, null> | undefined;

export function endWithUs(remains: Remains): void {
  if (reaper === undefined) {
    // A session of its own: what ends our process group must not end it.
    reaper = spawn(COVEY_NODE, [REAPER], {
      detached: true,
      stdio: ['pipe', 'ignore', 'inherit'],
    });
    reaper.unref();
    // It is a socket, which would keep this process alive.
    if (reaper.stdin instanceof Socket) reaper.stdin.unref();
  }
  reaper.stdin.write(`${JSON.stringify(remains)}\n`);
}

export async function processEndsWithUs(pid: number | undefined): Promise<void> {
  const ref = pid === undefined ? undefined : await refOf(pid);
  if (ref !== undefined) endWithUs({ process: ref });
}
