/**
 * How many commands a second Node can start here, with pipes and nothing else: `spawn-limit.ts COUNT AT_ONCE COMMAND …`.
 * A process of its own: a larger heap would fork more slowly.
 */
import { spawn } from 'node:child_process';

const [count = '', atOnce = '', command = '', ...args] = process.argv.slice(2);
let left = Number(count);

async function slot(): Promise<void> {
  while (left > 0) {
    left -= 1;
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.resume();
    child.stderr.resume();
    const { promise, resolve } = Promise.withResolvers<number | null>();
    child.on('close', resolve);
    child.on('error', () => resolve(null));
    if ((await promise) !== 0) process.exit(1);
  }
}

await Promise.all(Array.from({ length: Number(atOnce) }, slot));
