/**
 * What yamux writes, in fewer packets; the protocol is the same. libp2p's yamux says after every frame how much of its
 * window is free again: a packet back for each heartbeat. And it hands on its header and the data as two buffers, which
 * its TLS writes as two records. Here small window updates are saved up, and a frame is one buffer.
 */
import type { yamux } from '@libp2p/yamux';

type MakeMuxer = ReturnType<typeof yamux>;
type Connection = Parameters<ReturnType<MakeMuxer>['createStreamMuxer']>[0];

/** A record of TLS holds so much: of a longer frame the header costs little, and joining it is a copy. */
const JOINED_BYTES_MAX = 16 * 1_024;
/** A quarter of the smallest window: what is left to the sender is three times a chunk of ours. */
export const SAVED_BYTES_MAX = 64 * 1_024;
/** Streams of one connection with something saved up: more than may be open. */
const SAVED_STREAMS_MAX = 128;

// As in the specification of yamux: version, type, two bytes of flags, four of the stream, four of the length.
const HEADER_BYTES = 12;
const WINDOW_UPDATE = 1;
const FIN = 4;
const RST = 8;

/** The window updates of one connection. */
class Savings {
  readonly #byStream = new Map<number, number>();
  readonly #send: (frame: Uint8Array) => boolean;

  constructor(send: (frame: Uint8Array) => boolean) {
    this.#send = send;
  }

  /** Takes a frame that is a header alone. */
  send(frame: Uint8Array): boolean {
    const view = new DataView(frame.buffer, frame.byteOffset, HEADER_BYTES);
    if (view.getUint8(1) !== WINDOW_UPDATE) return this.#send(frame);
    const flags = view.getUint16(2);
    const stream = view.getUint32(4);
    // Its end goes out as it is. What was saved up is not missed: the stream carries little more, if anything.
    if ((flags & (FIN | RST)) !== 0) this.#byStream.delete(stream);
    if (flags !== 0) return this.#send(frame);
    const bytes = (this.#byStream.get(stream) ?? 0) + view.getUint32(8);
    this.#byStream.delete(stream);
    if (bytes >= SAVED_BYTES_MAX) return this.#send(windowUpdate(stream, bytes));
    this.#byStream.set(stream, bytes);
    this.#shed();
    return true;
  }

  /** Streams that the other end has reset stay on the list: the oldest go. One of them that lives loses nothing. */
  #shed(): void {
    for (const [stream, bytes] of this.#byStream) {
      if (this.#byStream.size <= SAVED_STREAMS_MAX) return;
      this.#byStream.delete(stream);
      this.#send(windowUpdate(stream, bytes));
    }
  }
}

function windowUpdate(stream: number, bytes: number): Uint8Array {
  const frame = new Uint8Array(HEADER_BYTES);
  const view = new DataView(frame.buffer);
  view.setUint8(1, WINDOW_UPDATE);
  view.setUint32(4, stream);
  view.setUint32(8, bytes);
  return frame;
}

/** Yamux gives one frame a call: a header alone as bytes, a header with data as a list of both. */
function economical(connection: Connection): Connection {
  const send = connection.send.bind(connection);
  const savings = new Savings(send);
  connection.send = (data) => {
    if (data.byteLength > JOINED_BYTES_MAX) return send(data);
    const frame = data instanceof Uint8Array ? data : data.subarray();
    return frame.length === HEADER_BYTES ? savings.send(frame) : send(frame);
  };
  return connection;
}

export const inFewPackets =
  (make: MakeMuxer): MakeMuxer =>
  (...components) => {
    const factory = make(...components);
    const { createStreamMuxer } = factory;
    factory.createStreamMuxer = (connection) =>
      createStreamMuxer.call(factory, economical(connection));
    return factory;
  };
