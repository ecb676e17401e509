/** What every Listener must do. */
import { expect, test } from 'vitest';
import {
  type ByteStream,
  type ByteStreamHandlers,
  type Listener,
  WRITE_BUFFER_BYTES_MAX,
} from '../../src/ports/listener.ts';

/** The local program's end of a stream. */
export interface ClientEnd {
  readonly stream: ByteStream;
  readonly seen: SeenStream;
}

export interface ListenerTwin {
  readonly listener: Listener;
  /** Undefined: nobody listens. */
  connect(): Promise<ClientEnd | undefined>;
  settle(condition: () => boolean): Promise<void>;
  close(): Promise<void>;
}

export interface SeenStream {
  readonly chunks: Uint8Array[];
  bytes: number;
  drained: number;
  finished: number;
  ended: number;
}

export function seeing(): { seen: SeenStream; handlers: ByteStreamHandlers } {
  const seen: SeenStream = { chunks: [], bytes: 0, drained: 0, finished: 0, ended: 0 };
  const handlers: ByteStreamHandlers = {
    data: (bytes) => {
      seen.chunks.push(bytes);
      seen.bytes += bytes.length;
    },
    drained: () => {
      seen.drained++;
    },
    finished: () => {
      seen.finished++;
    },
    ended: () => {
      seen.ended++;
    },
  };
  return { seen, handlers };
}

const bytes = (text: string) => new TextEncoder().encode(text);
const textOf = (seen: SeenStream) => Buffer.concat(seen.chunks).toString();

export function listenerCompliance(make: () => Promise<ListenerTwin>): void {
  interface Pair {
    readonly twin: ListenerTwin;
    readonly client: ClientEnd;
    readonly server: ClientEnd;
  }
  const using = (run: (pair: Pair) => Promise<void>) => async () => {
    const twin = await make();
    try {
      const accepted: ClientEnd[] = [];
      const opened = await twin.listener.open((stream) => {
        const { seen, handlers } = seeing();
        accepted.push({ stream, seen });
        return handlers;
      });
      expect(opened.ok).toBe(true);
      const client = await twin.connect();
      await twin.settle(() => accepted.length === 1);
      const server = accepted[0];
      if (!client || !server) throw new Error('there is no stream');
      await run({ twin, client, server });
    } finally {
      await twin.close();
    }
  };

  test(
    'bytes arrive in order and unchanged, both ways, and each end hears the end once',
    using(async ({ twin, client, server }) => {
      const question = Array.from({ length: 2_000 }, (_, i) => `line ${i}\n`).join('');
      for (const line of question.split(/(?<=\n)/)) client.stream.write(bytes(line));
      await twin.settle(() => server.seen.bytes === question.length);
      expect(textOf(server.seen)).toBe(question);
      server.stream.write(bytes('answer'));
      server.stream.end();
      await twin.settle(() => client.seen.ended + server.seen.ended === 2);
      expect(textOf(client.seen)).toBe('answer');
      expect([client.seen.ended, server.seen.ended]).toEqual([1, 1]);
      expect(server.stream.write(bytes('late'))).toBe(false);
      server.stream.destroy();
    }),
  );

  test(
    'a reader that stops holds the writer back, and lets it go on',
    using(async ({ twin, client, server }) => {
      client.stream.pause();
      const chunk = new Uint8Array(1_024 * 1_024).map((_, i) => i);
      let written = 0;
      while (server.stream.write(chunk)) {
        written++;
        expect(written).toBeLessThan(64);
      }
      expect(server.stream.bufferedBytes()).toBeGreaterThan(WRITE_BUFFER_BYTES_MAX);
      expect(server.seen.drained).toBe(0);
      client.stream.resume();
      await twin.settle(() => server.seen.drained === 1);
      // The chunk that was answered by false was taken all the same.
      await twin.settle(() => client.seen.bytes === (written + 1) * chunk.length);
      expect(server.stream.bufferedBytes()).toBe(0);
      expect(Buffer.concat(client.seen.chunks).subarray(-chunk.length).equals(chunk)).toBe(true);
    }),
  );

  test(
    'a paused stream gives no data until it is resumed',
    using(async ({ twin, client, server }) => {
      server.stream.pause();
      client.stream.write(bytes('x'));
      server.stream.write(bytes('y'));
      await twin.settle(() => client.seen.bytes === 1);
      expect(server.seen.bytes).toBe(0);
      server.stream.resume();
      await twin.settle(() => server.seen.bytes === 1);
    }),
  );

  test(
    'destroy ends both ends at once, whatever waits',
    using(async ({ twin, client, server }) => {
      client.stream.pause();
      server.stream.write(new Uint8Array(4 * 1_024 * 1_024));
      server.stream.destroy();
      client.stream.resume();
      await twin.settle(() => client.seen.ended + server.seen.ended === 2);
      expect(client.seen.bytes).toBeLessThan(4 * 1_024 * 1_024);
    }),
  );

  test(
    'a client that goes away without a word is an end like any other',
    using(async ({ twin, client, server }) => {
      server.stream.write(bytes('into the void'));
      client.stream.destroy();
      await twin.settle(() => server.seen.ended === 1);
      server.stream.write(bytes('x'));
      server.stream.end();
    }),
  );

  test(
    'a client that has said all it had to still hears its answer',
    using(async ({ twin, client, server }) => {
      client.stream.write(bytes('question'));
      client.stream.end();
      await twin.settle(() => server.seen.finished === 1);
      expect([textOf(server.seen), server.seen.ended, client.seen.ended]).toEqual([
        'question',
        0,
        0,
      ]);
      server.stream.write(bytes('late answer'));
      server.stream.end();
      await twin.settle(() => client.seen.ended + server.seen.ended === 2);
      expect([textOf(client.seen), server.seen.finished]).toEqual(['late answer', 1]);
    }),
  );

  test(
    'a client that has said all and then goes away is noticed without a write',
    using(async ({ twin, client, server }) => {
      client.stream.end();
      await twin.settle(() => server.seen.finished === 1);
      expect(server.seen.ended).toBe(0);
      client.stream.destroy();
      await twin.settle(() => server.seen.ended === 1);
    }),
  );

  test(
    'a closed listener takes nobody and keeps the streams it has',
    using(async ({ twin, client, server }) => {
      await twin.listener.close();
      expect(await twin.connect()).toBeUndefined();
      client.stream.write(bytes('still here'));
      await twin.settle(() => server.seen.bytes === 10);
      client.stream.end();
      await twin.settle(() => server.seen.finished === 1);
      server.stream.end();
      await twin.settle(() => server.seen.ended === 1 && client.seen.ended === 1);
    }),
  );
}
