/**
 * A process that outlives the test process and ends what that could not: daemons and supervisors of test networks live
 * in sessions of their own, where no signal to the test's process group reaches them. Reads what there is, a line of
 * JSON each, and acts when its stdin ends, which also SIGKILL of the test process does to it.
 */
import { createInterface } from 'node:readline';
import type { Remains } from './end-with-us.ts';

const remains: Remains[] = [];
for await (const line of createInterface({ input: process.stdin })) remains.push(JSON.parse(line));

// Not before they are needed: most reapers find nothing left, and every file of tests has one.
const { rm } = await import('node:fs/promises');
const { endNetwork } = await import('../../src/testnet/down.ts');
const { endProcesses } = await import('../../src/testnet/processes.ts');
const { readState } = await import('../../src/testnet/state.ts');

for (const { network } of remains) {
  const state = network === undefined ? undefined : await readState(network);
  if (state?.ok && state.value) await endNetwork(state.value, { ownerMs: 5_000, daemonMs: 0 });
}
const refs = remains.flatMap(({ process: ref }) => (ref === undefined ? [] : [ref]));
await endProcesses(refs, 0);
for (const { files } of remains) {
  if (files !== undefined) await rm(files, { recursive: true, force: true, maxRetries: 5 });
}
