/** The worker program of each system: `worker.ts WHERE`. It does nothing, and gives 100 bytes. Ends with its input. */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { connect } from '../../src/client/index.ts';
import { NATS_ID_BYTES } from './clients.ts';
import type { BullMq, Nats } from './outside.ts';
import { NAME, RESULT, type Where } from './system.ts';

async function work(where: Where): Promise<void> {
  switch (where.system) {
    case 'covey': {
      const covey = await connect({ socket: where.socket, clientName: 'bench worker' });
      await covey.work(NAME, () => RESULT, { concurrency: where.concurrency });
      return;
    }
    case 'bullmq': {
      const bullmq = createRequire(join(where.packages, 'package.json'))('bullmq') as BullMq;
      const { concurrency, socket } = where;
      const options = { connection: { path: socket }, concurrency };
      await new bullmq.Worker(NAME, async () => RESULT, options).waitUntilReady();
      return;
    }
    case 'nats':
      return natsWorker(where);
  }
}

/** A result is stored before its task is taken off the queue: neither is lost, and a repeated one is heard twice. */
async function natsWorker(where: Extract<Where, { system: 'nats' }>): Promise<void> {
  const nats = createRequire(join(where.packages, 'package.json'))('nats') as Nats;
  const connection = await nats.connect({ servers: `127.0.0.1:${where.port}` });
  const stream = connection.jetstream();
  const consumer = await stream.consumers.get('TASKS', 'workers');
  const encoder = new TextEncoder();
  const decoder = new TextDecoder();
  await consumer.consume({
    max_messages: where.fetch,
    callback: (message) => {
      const id = decoder.decode(message.data.subarray(0, NATS_ID_BYTES));
      const stored = stream.publish('results', encoder.encode(id.padEnd(100, 'r')));
      // One that was not stored is not acknowledged: it is delivered again.
      void stored.then(
        () => message.ack(),
        (thrown: unknown) => process.stderr.write(`${String(thrown)}\n`),
      );
    },
  });
}

process.stdin.on('end', () => process.exit(0)).resume();
await work(JSON.parse(process.argv[2] ?? '') as Where);
process.stdout.write('{"event":"ready"}\n');
