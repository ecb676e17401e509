/**
 * Runs commands in a process that has no descriptor left, at its first start and at a later one, and again with
 * descriptors; prints each exit as JSON, a line each. Its limit of descriptors is set by who starts it; its argument
 * is the directory for pipes.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { HostClock } from '../../../src/host/clock.ts';
import { HostProcesses } from '../../../src/host/processes.ts';
import type { ChildExit } from '../../../src/ports/processes.ts';

const directory = process.argv[2];
const processes = new HostProcesses(new HostClock(), directory === undefined ? {} : { directory });
// A connection to the terminal or pipe is made at the first line, which needs no descriptor afterwards.
process.stdout.write('ready\n');

async function openAll(): Promise<FileHandle[]> {
  const handles: FileHandle[] = [];
  try {
    for (;;) handles.push(await open('/dev/null'));
  } catch {
    return handles;
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
  const handles = await openAll();
  const exits = [await run(), await run()];
  for (const handle of handles) await handle.close();
  exits.push(await run());
  for (const exit of exits) process.stdout.write(`${JSON.stringify(exit)}\n`);
}
await processes.stop();
