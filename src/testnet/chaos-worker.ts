/**
 * The worker program of a chaos run: `chaos-worker.ts SOCKET DIR HOST`. Its handler sleeps as its task asks, writes its
 * start and end down, and outlives its daemon; it ends only when it is killed.
 */
import { appendFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { type Covey, connect, type HandlerContext } from '../client/index.ts';
import { ABORTED_WITH, FAILS_WITH } from './chaos-evidence.ts';
import { type ProgramWish, runsFileOf, uptimeMs, WORKER_TYPE } from './chaos-work.ts';

/** Handlers at once in one program. */
const CONCURRENCY = 3;
const CONNECT_AGAIN_MS = 200;

async function handle(
  dir: string,
  host: string,
  { durationMs, fails }: ProgramWish,
  { id, attempt, runId, signal }: HandlerContext,
): Promise<string> {
  const run = `worker ${id} ${attempt} ${runId} ${host} ${process.pid}`;
  const write = (what: string, last: string | number) =>
    appendFile(runsFileOf(dir), `${what} ${run} ${uptimeMs()} ${last}\n`);
  await write('start', 'free');
  const isWanted = await delay(durationMs, true, { signal }).catch(() => false);
  const code = !isWanted ? ABORTED_WITH : attempt <= fails ? FAILS_WITH : 0;
  await write('end', code);
  if (code !== 0) throw new Error(`ends with ${code}`);
  return runId;
}

/** Its daemon may be dead at the moment. */
async function connectAtLast(socket: string): Promise<Covey> {
  for (;;) {
    try {
      return await connect({ socket, clientName: 'chaos worker' });
    } catch {
      await delay(CONNECT_AGAIN_MS);
    }
  }
}

async function work(socket: string, dir: string, host: string): Promise<void> {
  for (;;) {
    const covey = await connectAtLast(socket);
    try {
      const handler = (wish: ProgramWish, context: HandlerContext) =>
        handle(dir, host, wish, context);
      await covey.work<ProgramWish>(WORKER_TYPE, handler, { concurrency: CONCURRENCY });
      return;
    } catch {
      await covey.close();
      await delay(CONNECT_AGAIN_MS);
    }
  }
}

const [socket = '', dir = '', host = ''] = process.argv.slice(2);
await work(socket, dir, host);
