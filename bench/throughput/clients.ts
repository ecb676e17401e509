/** The submitting side of each system. Packages from outside are loaded from where they were fetched. */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { CoveyClientError, connect } from '../../src/client/index.ts';
import type { BullMq, Nats } from './outside.ts';
import { type Client, Ends, NAME, PAYLOAD, RESULT, type Submitted, type Where } from './system.ts';

type Of<S extends Where['system']> = Extract<Where, { system: S }>;

export function clientOf(where: Where): Promise<Client> {
  switch (where.system) {
    case 'covey':
      return coveyClient(where);
    case 'bullmq':
      return bullmqClient(where);
    case 'nats':
      return natsClient(where);
  }
}

async function coveyClient({ socket }: Of<'covey'>): Promise<Client> {
  const covey = await connect({ socket, clientName: 'bench' });
  const task = { type: NAME, payload: PAYLOAD };
  const untilDone = async (id: string): Promise<void> => {
    const { state, result } = await covey.waitFor(id);
    if (state !== 'completed' || result !== RESULT) throw new Error(`a task is ${state}`);
  };
  return {
    submit: async () => ({ done: untilDone((await covey.submit(task)).id) }),
    submitBulk: async (count) => {
      const receipts = await covey.submitBulk(Array.from({ length: count }, () => task));
      return receipts.map((receipt): Submitted => {
        if (receipt instanceof CoveyClientError) throw receipt;
        return { done: untilDone(receipt.id) };
      });
    },
  };
}

/** The submitter hears of results by the events of the queue, as `job.waitUntilFinished` does. */
async function bullmqClient({ packages, socket }: Of<'bullmq'>): Promise<Client> {
  const bullmq = createRequire(join(packages, 'package.json'))('bullmq') as BullMq;
  const connection = { path: socket };
  // At its default of 10,000 events are trimmed away before a busy client has read them.
  const streams = { events: { maxLen: 200_000 } };
  const queue = new bullmq.Queue(NAME, { connection, streams });
  const events = new bullmq.QueueEvents(NAME, { connection: { ...connection } });
  const ends = new Ends();
  events.on('completed', ({ jobId, returnvalue }) => {
    if (returnvalue === RESULT) ends.heard(jobId);
  });
  await Promise.all([queue.waitUntilReady(), events.waitUntilReady()]);
  let last = 0;
  const next = (): { readonly id: string; readonly end: Submitted } => {
    last += 1;
    const id = `t${process.pid}-${last}`;
    return { id, end: ends.expect(id) };
  };
  return {
    submit: async () => {
      const { id, end } = next();
      await queue.add(NAME, PAYLOAD, { jobId: id });
      return end;
    },
    submitBulk: async (count) => {
      const jobs = Array.from({ length: count }, next);
      await queue.addBulk(
        jobs.map(({ id }) => ({ name: NAME, data: PAYLOAD, opts: { jobId: id } })),
      );
      return jobs.map(({ end }) => end);
    },
  };
}

/** The first bytes of a payload are the task's id, those of a result the same: 100 bytes each in all. */
export const NATS_ID_BYTES = 12;

/** The submitter reads the stream of results: what it hears of is stored. */
async function natsClient({ packages, port }: Of<'nats'>): Promise<Client> {
  const nats = createRequire(join(packages, 'package.json'))('nats') as Nats;
  const connection = await nats.connect({ servers: `127.0.0.1:${port}` });
  const stream = connection.jetstream();
  const ends = new Ends();
  const results = await stream.consumers.get('RESULTS');
  const decoder = new TextDecoder();
  await results.consume({
    max_messages: 1_000,
    callback: ({ data }) => ends.heard(decoder.decode(data.subarray(0, NATS_ID_BYTES))),
  });
  const encoder = new TextEncoder();
  let last = 0;
  const submit = async (): Promise<Submitted> => {
    last += 1;
    const id = `t${String(last).padStart(NATS_ID_BYTES - 1, '0')}`;
    const end = ends.expect(id);
    await stream.publish('tasks', encoder.encode(id.padEnd(100, 'p')));
    return end;
  };
  return {
    submit,
    submitBulk: (count) => Promise.all(Array.from({ length: count }, submit)),
  };
}
