/** What other peers open to us: a stream of frames for each class, and admission requests. */
import type { PeerId } from '../ports/identity.ts';
import {
  FRAME_BYTES_MAX,
  FRAME_CLASSES,
  type FrameClass,
  type NetworkHandlers,
} from '../ports/network.ts';
import {
  ADMIT_PROTOCOL,
  ADMIT_REQUESTS_MAX,
  ADMIT_STREAMS_MAX,
  serveAdmit,
} from './libp2p-admit.ts';
import { FrameDecoder } from './libp2p-framing.ts';
import type { HandlerQueue } from './libp2p-handlers.ts';
import { type Log, protocolOf } from './libp2p-link.ts';
import type { Connection, Libp2pNode, Stream } from './libp2p-node.ts';

/** Streams of one class that a peer may have open to us at once: one in use, and those it has given up. */
const INBOUND_STREAMS_MAX = 8;

/**
 * Set aside for frames of one peer that have come in part, over all its streams: the longest frame in each class, and a
 * third more. Each stream alone keeps to the limit of a frame, but a peer may have 96 of them.
 */
export const PARTIAL_BYTES_MAX = 4 * FRAME_BYTES_MAX;

/**
 * Of one stream handled in one turn of the event loop. A piece of what came may hold thousands of small ones: whoever
 * sends them has to wait for everybody else's turn.
 */
const FRAMES_A_TURN = 256;

const EMPTY = new Uint8Array(0);
const TOO_MANY = 'stream: too many requests';
const TOO_MUCH_IN_PART = 'frame: too much in part of one peer';

export interface InboundOptions {
  readonly handlers: HandlerQueue<NetworkHandlers>;
  isMember(peerId: PeerId): boolean;
  readonly log: Log;
}

export class Inbound {
  readonly #options: InboundOptions;
  #admitRequests = 0;
  readonly #partial = new Map<PeerId, number>();

  constructor(options: InboundOptions) {
    this.#options = options;
  }

  async register(node: Libp2pNode): Promise<void> {
    for (const frameClass of FRAME_CLASSES) {
      await node.handle(
        protocolOf(frameClass),
        (stream, connection) => this.#onFrames(frameClass, stream, connection),
        { maxInboundStreams: INBOUND_STREAMS_MAX, maxOutboundStreams: INBOUND_STREAMS_MAX },
      );
    }
    await node.handle(ADMIT_PROTOCOL, (stream, connection) => this.#onAdmit(stream, connection), {
      maxInboundStreams: ADMIT_STREAMS_MAX,
      maxOutboundStreams: ADMIT_STREAMS_MAX,
    });
  }

  #onFrames(frameClass: FrameClass, stream: Stream, connection: Connection): void {
    const { handlers, isMember, log } = this.#options;
    const peerId = connection.remotePeer.toString();
    if (!isMember(peerId)) {
      handlers.call((to) => to.refused?.('stream: of a stranger'));
      stream.abort(new Error('refused to a stranger'));
      return;
    }
    const decoder = new FrameDecoder(FRAME_BYTES_MAX);
    const partial = this.#partialCount(peerId);
    stream.addEventListener('close', () => partial(undefined));
    // While some of it waits the stream rests: frames stay in order, and no more come meanwhile.
    const take = (chunk: Uint8Array): void => {
      const decoded = decoder.push(chunk, FRAMES_A_TURN);
      const error = partial(decoder.heldBytes)
        ? TOO_MUCH_IN_PART
        : decoded.ok
          ? ''
          : 'frame: too long';
      const left = decoded.ok && error === '' ? chunk.subarray(decoded.taken) : EMPTY;
      if (left.length > 0 && stream.readStatus === 'readable') stream.pause();
      handlers.call((to) => {
        // One by one: the handler of a frame may end the membership of its sender.
        for (const frame of decoded.frames)
          if (isMember(peerId)) to.frame(peerId, frameClass, frame);
        if (left.length > 0) setImmediate(() => take(left));
        else if (stream.readStatus === 'paused') stream.resume();
      });
      if (error === '') return;
      handlers.call((to) => to.refused?.(error));
      const why = decoded.ok ? error : decoded.error;
      log('a peer broke the protocol', { peer: peerId, error: why });
      connection.abort(new Error(why));
    };
    stream.addEventListener('message', ({ data }) => take(data.subarray()));
    const onEnd = () => {
      // The sender takes this as the sign that everything was read; see OutboundChannel.finish.
      stream.close().catch((error: unknown) => {
        log('a stream did not close', { peer: peerId, error: String(error) });
      });
    };
    stream.addEventListener('end', onEnd);
    if (stream.readableEnded) onEnd();
  }

  /**
   * Counts what one stream holds; true: all of this peer hold too much. Undefined: the stream has ended, and what is read
   * of it after that is not counted, for nobody would take it back.
   */
  #partialCount(peerId: PeerId): (heldBytes: number | undefined) => boolean {
    let counted = 0;
    let hasEnded = false;
    return (heldBytes) => {
      hasEnded ||= heldBytes === undefined;
      const now = hasEnded ? 0 : (heldBytes ?? 0);
      const all = (this.#partial.get(peerId) ?? 0) + now - counted;
      counted = now;
      if (all > 0) this.#partial.set(peerId, all);
      else this.#partial.delete(peerId);
      return !hasEnded && all > PARTIAL_BYTES_MAX;
    };
  }

  #onAdmit(stream: Stream, connection: Connection): void {
    const { handlers, log } = this.#options;
    const peerId = connection.remotePeer.toString();
    let asks = 0;
    const answer = (request: Uint8Array): Promise<Uint8Array | undefined> => {
      // Counted when it is there: who sends nothing must not keep those out who have something to say.
      if (this.#admitRequests >= ADMIT_REQUESTS_MAX) return Promise.reject(new Error(TOO_MANY));
      this.#admitRequests++;
      asks++;
      return new Promise((resolve, reject) => {
        handlers.call((to) => {
          to.admitRequest(peerId, request).then(resolve, reject);
        });
      });
    };
    serveAdmit(stream, answer).then(
      () => {
        this.#admitRequests -= asks;
      },
      (error: unknown) => {
        this.#admitRequests -= asks;
        const isMany = error instanceof Error && error.message === TOO_MANY;
        handlers.call((to) => to.refused?.(isMany ? TOO_MANY : 'stream: no answer in time'));
        log('an admission request was not answered', { peer: peerId, error: String(error) });
      },
    );
  }
}
