/**
 * libp2p's `/tls/1.0.0` on Node's own TLS. The protocol is that of `@libp2p/tls`, which makes a key and a certificate for
 * every connection and reads the other's with a library of JavaScript: three quarters of what a handshake costs
 * (docs/decisions/0021). Who is at the other end is told by libp2p-certificate.ts.
 */
import { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { connect, createSecureContext, type SecureContext, TLSSocket } from 'node:tls';
import type { noise } from '@libp2p/noise';
import { AbstractMessageStream } from '@libp2p/utils';
import { makeCertificate, ownerOf } from './libp2p-certificate.ts';
import type { PrivateKey } from './libp2p-node.ts';

type Encrypter = ReturnType<ReturnType<typeof noise>>;
type Secure = Encrypter['secureInbound'];
type MessageStream = Parameters<Secure>[0];
type SecureOptions = Parameters<Secure>[1];
type Secured = Awaited<ReturnType<Secure>>;
type Muxer = NonNullable<Secured['streamMuxer']>;
type Bytes = Parameters<AbstractMessageStream['sendData']>[0];

export const TLS_PROTOCOL = '/tls/1.0.0';
/** What those say who agree on a muxer later. */
const NO_MUXER = 'libp2p';

interface TlsComponents {
  readonly privateKey: PrivateKey;
  readonly upgrader: { getStreamMuxers(): Map<string, Muxer> };
}

/** One certificate for all connections of this node. */
export const nodeTls =
  () =>
  (components: TlsComponents): Encrypter => {
    let context: Promise<SecureContext> | undefined;
    const secure = async (
      isServer: boolean,
      stream: MessageStream,
      options: SecureOptions,
    ): Promise<Secured> => {
      context ??= contextOf(components.privateKey).catch((error: unknown) => {
        // The next connection tries again: kept, one failure would keep this peer alone for as long as it runs.
        context = undefined;
        throw error;
      });
      const muxers = components.upgrader.getStreamMuxers();
      return handshake({ isServer, stream, options, muxers, secureContext: await context });
    };
    return {
      protocol: TLS_PROTOCOL,
      secureInbound: (stream, options) => secure(true, stream, options),
      secureOutbound: (stream, options) => secure(false, stream, options),
    };
  };

async function contextOf(privateKey: PrivateKey): Promise<SecureContext> {
  const versions = { minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3' } as const;
  return createSecureContext({ ...(await makeCertificate(privateKey)), ...versions });
}

interface Handshake {
  readonly isServer: boolean;
  readonly stream: MessageStream;
  readonly options: SecureOptions;
  readonly muxers: Map<string, Muxer>;
  readonly secureContext: SecureContext;
}

function socketOf({ isServer, options, muxers, secureContext }: Handshake, below: Duplex) {
  const isEarly = options?.skipStreamMuxerNegotiation !== true;
  const known = isEarly ? [...muxers.keys()] : [];
  // Certificates are signed by themselves: whose they are is looked at when the handshake is done.
  const common = { secureContext, rejectUnauthorized: false };
  if (!isServer) return connect({ socket: below, ALPNProtocols: [...known, NO_MUXER], ...common });
  return new TLSSocket(below, {
    ...common,
    isServer,
    requestCert: true,
    ALPNCallback: ({ protocols }) =>
      protocols.find((one) => known.includes(one)) ?? protocols.find((one) => one === NO_MUXER),
  });
}

function handshake(about: Handshake): Promise<Secured> {
  const { stream, options, muxers } = about;
  const below = socketBelow(stream) ?? duplexOf(stream);
  const socket = socketOf(about, below);
  return new Promise<Secured>((resolve, reject) => {
    const fail = (error: Error): void => {
      options?.signal?.removeEventListener('abort', late);
      socket.destroy();
      stream.abort(error);
      reject(error);
    };
    const late = (): void => fail(new Error('the handshake took too long'));
    options?.signal?.addEventListener('abort', late);
    // Both stay: a socket may fail at any time, and an error that nobody hears ends the process.
    below.on('error', fail);
    socket.on('error', fail);
    const ended = (): void => fail(new Error('the connection ended within its handshake'));
    socket.once('close', ended);
    const secured = async (): Promise<Secured> => {
      const remotePeer = await ownerOf(socket.getPeerX509Certificate(), options?.remotePeer);
      options?.signal?.removeEventListener('abort', late);
      socket.off('close', ended);
      const { alpnProtocol } = socket;
      const streamMuxer =
        typeof alpnProtocol === 'string' && alpnProtocol !== NO_MUXER
          ? muxers.get(alpnProtocol)
          : undefined;
      const connection = new SecuredStream(stream, socket);
      return { remotePeer, connection, ...(streamMuxer && { streamMuxer }) };
    };
    // Not at once: this is told from within OpenSSL's handshake, and whoever ends the connection there frees what it reads on.
    socket.once('secure', () => setImmediate(() => secured().then(resolve, fail)));
  });
}

/** What libp2p's TCP keeps of its socket, and any stream of what has come in. */
interface OnSocket {
  readonly socket?: unknown;
  readonly readBuffer: {
    readonly byteLength: number;
    subarray(): Uint8Array;
    consume(bytes: number): void;
  };
}

/**
 * The socket itself, if the connection is one of TCP: bytes then go between the kernel and TLS without passing through
 * the program as ciphertext (docs/decisions/0028). Its owner hears its end, and no data any more.
 */
function socketBelow(stream: MessageStream): Socket | undefined {
  const { socket, readBuffer } = stream as MessageStream & OnSocket;
  if (!(socket instanceof Socket) || socket.destroyed || stream.status !== 'open') return undefined;
  stream.pause();
  socket.removeAllListeners('data');
  if (readBuffer.byteLength > 0) {
    // It said hello before it was told that it may.
    socket.unshift(readBuffer.subarray());
    readBuffer.consume(readBuffer.byteLength);
  }
  return socket;
}

/** Any other connection as a Duplex of Node, which is what its TLS can be put upon. */
function duplexOf(stream: MessageStream): Duplex {
  const send = (chunk: Buffer, callback: (error?: Error | null) => void): void => {
    try {
      if (stream.send(chunk)) callback();
      else stream.onDrain().then(() => callback(), callback);
    } catch (thrown) {
      callback(thrown instanceof Error ? thrown : new Error(String(thrown)));
    }
  };
  // Nothing is taken before somebody reads.
  stream.pause();
  const duplex = new Duplex({
    write: (chunk: Buffer, _, callback) => send(chunk, callback),
    writev: (chunks, callback) =>
      send(Buffer.concat(chunks.map(({ chunk }) => chunk as Buffer)), callback),
    read: () => {
      if (stream.status === 'open') stream.resume();
    },
    final: (callback) => {
      stream.close().then(() => callback(), callback);
    },
  });
  stream.addEventListener('message', ({ data }) => {
    const bytes = data instanceof Uint8Array ? data : data.subarray();
    if (!duplex.push(bytes) && stream.status === 'open') stream.pause();
  });
  stream.addEventListener('close', ({ error }) => void duplex.destroy(error));
  return duplex;
}

/** What the muxer writes to. */
class SecuredStream extends AbstractMessageStream {
  readonly #socket: TLSSocket;
  readonly #below: MessageStream;
  #closed: Promise<void> | undefined;

  constructor(below: MessageStream, socket: TLSSocket) {
    const { log, inactivityTimeout, maxReadBufferLength, direction } = below;
    super({ log, inactivityTimeout, maxReadBufferLength, direction });
    this.#socket = socket;
    this.#below = below;
    if (socket.closed) this.#closed = Promise.resolve();
    socket.on('data', (bytes: Buffer) => this.onData(bytes));
    socket.on('close', () => {
      this.#closed ??= below.close().catch((error: Error) => below.abort(error));
    });
    socket.on('drain', () => this.safeDispatchEvent('drain'));
    below.addEventListener('close', ({ error, local }) => {
      socket.destroy();
      // Our own failure, a reset by the other end and an orderly end are told apart above as well.
      if (error === undefined) this.onTransportClosed();
      else if (local) this.abort(error);
      else this.onRemoteReset();
    });
  }

  override async close({ signal }: { readonly signal?: AbortSignal } = {}): Promise<void> {
    if (this.#closed === undefined) {
      const ended = new Promise<void>((resolve, reject) => {
        this.#socket.once('close', () => resolve());
        signal?.addEventListener('abort', () => reject(new Error('not closed in time')));
      });
      this.#socket.destroySoon();
      await ended;
    }
    await this.#closed;
  }

  override sendData(data: Bytes): { sentBytes: number; canSendMore: boolean } {
    let sentBytes = 0;
    let canSendMore = true;
    for (const bytes of data) {
      sentBytes += bytes.byteLength;
      canSendMore = this.#socket.write(bytes);
      if (!canSendMore) break;
    }
    return { sentBytes, canSendMore };
  }

  override sendPause(): void {
    this.#socket.pause();
  }

  override sendResume(): void {
    this.#socket.resume();
  }

  override sendReset(error: Error): void {
    this.#socket.destroy();
    // The end of the socket alone would end the connection below in an orderly way.
    this.#below.abort(error);
  }
}
