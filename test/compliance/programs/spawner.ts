/**
 * Starts trees of sleeping processes, prints each `group` and `guardian`, and waits to be killed.
 * Its argument is the directory for pipes.
 */
import { HostClock } from '../../../src/host/clock.ts';
import { HostProcesses } from '../../../src/host/processes.ts';

const directory = process.argv[2];
const processes = new HostProcesses(new HostClock(), directory === undefined ? {} : { directory });
const print = (line: string) => process.stdout.write(`${line}\n`);
const scripts = [
  'sleep 1000',
  'sleep 1000 & sleep 1000 & wait',
  "trap '' TERM INT HUP; sleep 1000; sleep 1000",
  '(sleep 1000 | sleep 1000) & while :; do sleep 1; done',
];
for (const [i, script] of scripts.entries()) {
  processes.spawn(
    {
      runId: `tree-${i}`,
      argv: ['/bin/sh', '-c', script],
      cwd: '/',
      env: { PATH: '/usr/bin:/bin' },
      stdin: new Uint8Array(),
    },
    {
      started: (groupId) => print(`group ${groupId}`),
      output: () => undefined,
      exited: () => print(`exited ${i}`),
    },
  );
}
let guardianPid: number | undefined;
setInterval(() => {
  if (processes.guardianPid === guardianPid) return;
  guardianPid = processes.guardianPid;
  print(`guardian ${guardianPid}`);
}, 5);
process.stdin.resume();
