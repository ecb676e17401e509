/** A link: the open connections to one PeerId, and what is kept for as long as there is one. */
import { FRAME_CLASSES, type FrameClass, type LinkInfo } from '../ports/network.ts';
import { OutboundChannel } from './libp2p-channel.ts';
import type { Connection } from './libp2p-node.ts';

export type Log = (message: string, fields: Readonly<Record<string, unknown>>) => void;

export const protocolOf = (frameClass: FrameClass): string => `/covey/${frameClass}/1`;

// Limits of this room.
/** A stranger's link ends when nobody has admitted it by then. */
export const STRANGER_MS_MAX = 10_000;
/** What was sent is given this long to be read before the connections are cut. */
const GOODBYE_MS_MAX = 1_000;
/** Closing a connection that was finished: two packets. */
const CLOSE_MS_MAX = 250;

export class Link {
  readonly info: LinkInfo;
  readonly connections = new Set<Connection>();
  readonly #channels = new Map<FrameClass, OutboundChannel>();
  readonly #log: Log;
  #strangerTimer: NodeJS.Timeout | undefined;
  #disconnecting: Promise<void> | undefined;
  /** When gossip may be offered to the peer again, and the pause after that. */
  gossipRetryMs = 0;
  gossipPauseMs = 0;

  constructor(info: LinkInfo, log: Log) {
    this.info = info;
    this.#log = log;
  }

  /** The oldest open connection. */
  connection(): Connection | undefined {
    for (const connection of this.connections) if (connection.status === 'open') return connection;
    return undefined;
  }

  channel(frameClass: FrameClass): OutboundChannel {
    let channel = this.#channels.get(frameClass);
    if (!channel) {
      channel = new OutboundChannel({
        protocol: protocolOf(frameClass),
        pickConnection: () => this.connection(),
        log: (message, fields) => this.#log(message, { ...fields, peer: this.info.peerId }),
      });
      this.#channels.set(frameClass, channel);
    }
    return channel;
  }

  flush(): void {
    for (const frameClass of FRAME_CLASSES) this.#channels.get(frameClass)?.flush();
  }

  get disconnecting(): boolean {
    return this.#disconnecting !== undefined;
  }

  /** Cuts the link off unless `admitted` is called in time. */
  expectAdmission(timeoutMs: number, late: () => void): void {
    this.#strangerTimer ??= setTimeout(() => {
      late();
      this.#log('a stranger was not admitted in time', { peer: this.info.peerId });
      this.abort(new Error('not admitted in time'));
    }, timeoutMs);
  }

  admitted(): void {
    clearTimeout(this.#strangerTimer);
    this.#strangerTimer = undefined;
  }

  abort(error: Error): void {
    for (const connection of [...this.connections]) connection.abort(error);
  }

  /** The last connection ended. */
  destroy(): void {
    this.admitted();
    for (const channel of this.#channels.values()) channel.destroy();
  }

  disconnect(): Promise<void> {
    this.#disconnecting ??= this.#sayGoodbye();
    return this.#disconnecting;
  }

  async #sayGoodbye(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const deadline = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, GOODBYE_MS_MAX);
    });
    const finished = Promise.all([...this.#channels.values()].map((channel) => channel.finish()));
    await Promise.race([finished, deadline]);
    clearTimeout(timer);
    await Promise.all([...this.connections].map((connection) => this.#close(connection)));
  }

  async #close(connection: Connection): Promise<void> {
    try {
      await connection.close({ signal: AbortSignal.timeout(CLOSE_MS_MAX) });
    } catch (error) {
      connection.abort(error instanceof Error ? error : new Error(String(error)));
    }
  }
}
