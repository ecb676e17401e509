/**
 * Runs commands in a process that has no descriptor left, at its first start and at a later one, and again with
 * descriptors; prints each exit as JSON, a line each. Its limit of descriptors is set by who starts it; its argument
 * is the directory for pipes.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import { HostClock } from '../../../src/host/clock.ts';
import { HostProcesses } from '../../../src/host/processes.ts';
import type { ChildExit } from '../../../src/ports/processes.ts';

const directory = process.argv[2];
const processes = new HostProcesses(new HostClock(), directory === undefined ? {} : { directory });
// A connection to the terminal or pipe is made at the first line, which needs no descriptor afterwards.
process.stdout.write('ready\n');

/** Opens until none is left, also of those that the last start still closed or gave back behind its exit. */
async function openAll(handles: FileHandle[]): Promise<void> {
  for (let opened = -1; opened !== handles.length; ) {
    opened = handles.length;
    try {
      for (;;) handles.push(await open('/dev/null'));
    } catch {
      await setTimeout(50);
    }
  }
}

let runs = 0;
function run(): Promise<ChildExit> {
  runs += 1;
  return new Promise((resolve) => {
    processes.spawn(
      {
        runId: `run-${runs}`,
        argv: ['/bin/true'],
        cwd: '/',
        env: { PATH: '/usr/bin:/bin' },
        stdin: new Uint8Array(),
      },
      { started: () => undefined, output: () => undefined, exited: resolve },
    );
  });
}

for (let round = 0; round < 2; round++) {
  const handles: FileHandle[] = [];
  const exits: ChildExit[] = [];
  for (let i = 0; i < 2; i++) {
    await openAll(handles);
    exits.push(await run());
  }
  for (const handle of handles) await handle.close();
  exits.push(await run());
  for (const exit of exits) process.stdout.write(`${JSON.stringify(exit)}\n`);
}
await processes.stop();
