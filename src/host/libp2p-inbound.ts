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

export interface InboundOptions {
  readonly handlers: HandlerQueue<NetworkHandlers>;
  isMember(peerId: PeerId): boolean;
  readonly log: Log;
}

export class Inbound {
  readonly #options: InboundOptions;
  #admitRequests = 0;

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
    stream.addEventListener('message', ({ data }) => {
      const decoded = decoder.push(data.subarray());
      if (decoded.frames.length > 0) {
        handlers.call((to) => {
          // One by one: the handler of a frame may end the membership of its sender.
          for (const frame of decoded.frames) {
            if (isMember(peerId)) to.frame(peerId, frameClass, frame);
          }
        });
      }
      if (decoded.ok) return;
      handlers.call((to) => to.refused?.('frame: too long'));
      log('a peer broke the protocol', { peer: peerId, error: decoded.error });
      connection.abort(new Error(decoded.error));
    });
    const onEnd = () => {
      // The sender takes this as the sign that everything was read; see OutboundChannel.finish.
      stream.close().catch((error: unknown) => {
        log('a stream did not close', { peer: peerId, error: String(error) });
      });
    };
    stream.addEventListener('end', onEnd);
    if (stream.readableEnded) onEnd();
  }

  #onAdmit(stream: Stream, connection: Connection): void {
    const { handlers, log } = this.#options;
    if (this.#admitRequests >= ADMIT_REQUESTS_MAX) {
      handlers.call((to) => to.refused?.('stream: too many requests'));
      stream.abort(new Error('too many requests'));
      return;
    }
    this.#admitRequests++;
    const peerId = connection.remotePeer.toString();
    const answer = (request: Uint8Array): Promise<Uint8Array | undefined> =>
      new Promise((resolve, reject) => {
        handlers.call((to) => {
          to.admitRequest(peerId, request).then(resolve, reject);
        });
      });
    serveAdmit(stream, answer).then(
      () => {
        this.#admitRequests--;
      },
      (error: unknown) => {
        this.#admitRequests--;
        handlers.call((to) => to.refused?.('stream: no answer in time'));
        log('an admission request was not answered', { peer: peerId, error: String(error) });
      },
    );
  }
}
