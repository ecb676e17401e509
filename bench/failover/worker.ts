/**
 * The worker program of the failover bench: `worker.ts SOCKET TYPE,…`. Says every start as a line of JSON, and works on a
 * task until it is told to finish it. Ends with its input.
 */
import { createInterface } from 'node:readline';
import { connect, type HandlerContext } from '../../src/client/index.ts';
import type { Command } from './programs.ts';

const CONCURRENCY = 16;

const finish = new Map<string, () => void>();
const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);

async function handle(_: unknown, { id, attempt, signal }: HandlerContext): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<void>();
  finish.set(id, resolve);
  signal.addEventListener('abort', () => resolve());
  say({ event: 'start', id, attempt });
  await promise;
  finish.delete(id);
  return 'done';
}

const [socket = '', types = ''] = process.argv.slice(2);
const covey = await connect({ socket, clientName: 'bench worker' });
const handlers = Object.fromEntries(types.split(',').map((type) => [type, handle]));
await covey.work(handlers, { concurrency: CONCURRENCY });
say({ event: 'ready' });
for await (const line of createInterface({ input: process.stdin })) {
  finish.get((JSON.parse(line) as Command).finish)?.();
}
process.exit(0);
