/**
 * A process that outlives the test process and ends what that could not: supervisors of test networks live in sessions
 * of their own, where no signal to the test's process group reaches them. Reads directories of networks, a line each,
 * and acts when its stdin ends, which also SIGKILL of the test process does to it.
 */
import { createInterface } from 'node:readline';
import { endHub } from '../../src/testnet/supervise.ts';

const dirs: string[] = [];
for await (const dir of createInterface({ input: process.stdin })) dirs.push(dir);
// Mostly there is none any more: the test has ended it.
for (const dir of dirs) await endHub(dir);
