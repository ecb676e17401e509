/** `/covey/admit/1`: one frame, one answer, closed. The only thing a stranger may do. */
import { decode, encode } from 'it-length-prefixed';
import { pipe } from 'it-pipe';
import { ADMIT_FRAME_BYTES_MAX } from '../ports/network.ts';
import type { Connection, Stream } from './libp2p-node.ts';

export const ADMIT_PROTOCOL = '/covey/admit/1';

// Limits of this room.
/** The whole exchange, as the other end sees it; a stranger that dawdles is cut off. */
const SERVE_TIMEOUT_MS = 5_000;
/**
 * Requests that may wait for their answers; who is over gets a reset. Streams on which no request has come yet are not
 * among them: a connection has two of those at most, so strangers have 512, with 64 KiB each.
 */
export const ADMIT_REQUESTS_MAX = 64;
/** Streams of one connection at a time: one is all that the protocol needs. */
export const ADMIT_STREAMS_MAX = 2;

const errorOf = (value: unknown): Error =>
  value instanceof Error ? value : new Error(String(value));

/** The first frame; undefined when the stream ended before it was whole. Throws when it is too long or reset. */
function readFrame(stream: Stream): Promise<Uint8Array | undefined> {
  return pipe(
    stream,
    (source) => decode(source, { maxDataLength: ADMIT_FRAME_BYTES_MAX }),
    async (frames) => {
      for await (const frame of frames) return new Uint8Array(frame.subarray());
      return undefined;
    },
  );
}

/** Runs the exchange; whatever fails or takes too long resets the stream. */
async function within<T>(
  stream: Stream,
  timeoutMs: number,
  exchange: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const error = new Error('the exchange took too long');
      controller.abort(error);
      reject(error);
    }, timeoutMs);
    // An answer that never comes must not keep a stopped daemon alive.
    timer.unref();
  });
  try {
    return await Promise.race([exchange(controller.signal), late]);
  } catch (error) {
    stream.abort(errorOf(error));
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** Answers one request; throws what went wrong, for the log. */
export function serveAdmit(
  stream: Stream,
  answer: (request: Uint8Array) => Promise<Uint8Array | undefined>,
): Promise<void> {
  return within(stream, SERVE_TIMEOUT_MS, async (signal) => {
    const request = await readFrame(stream);
    if (!request) throw new Error('no request');
    const reply = await answer(request);
    signal.throwIfAborted();
    if (!reply) throw new Error('refused');
    stream.send(encode.single(reply));
    await stream.close({ signal });
  });
}

/** Sends one request over the connection and reads its answer; throws when there is none. */
export async function callAdmit(
  connection: Connection,
  request: Uint8Array,
  timeoutMs: number,
): Promise<Uint8Array> {
  const deadlineMs = performance.now() + timeoutMs;
  const stream = await connection.newStream(ADMIT_PROTOCOL, {
    signal: AbortSignal.timeout(timeoutMs),
  });
  return within(stream, Math.max(0, deadlineMs - performance.now()), async (signal) => {
    stream.send(encode.single(request));
    const reply = await readFrame(stream);
    if (!reply) throw new Error('no answer');
    await stream.close({ signal });
    return reply;
  });
}
