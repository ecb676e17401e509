/**
 * A userspace TCP relay in front of one daemon. Others dial the relay's address; their source address tells
 * which pair a connection belongs to, so the bytes of a pair can be stopped alone.
 *
 * The relay must not hide that its daemon is dead: as soon as a connection of the daemon ends, it dials the
 * daemon itself, and while that is refused its own listener is closed, so a redial sees ECONNREFUSED as it
 * would without the relay. One limit of this: a closed listener refuses every host, a cut pair included.
 */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { RelayConnection } from './relay-connection.ts';

/** A relay serves a handful of peers; more is a redial loop, and must not eat the supervisor's descriptors. */
const CONNECTIONS_MAX = 1_024;
/** Between two dials of a daemon that refuses: how late the relay may notice its return. */
const REDIAL_MS = 20;
/** A frozen daemon with a full backlog answers nothing; that is no refusal. */
const PROBE_TIMEOUT_MS = 2_000;

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

export interface RelayOptions {
  /** Where others dial. */
  readonly listen: Endpoint;
  /** Where the daemon listens. */
  readonly target: Endpoint;
  /** Whether the pair of the daemon and this source address is cut now. */
  readonly isCut: (sourceHost: string) => boolean;
}

type Probe = 'accepted' | 'refused' | 'unknown';

function probe(target: Endpoint, localAddress: string): Promise<Probe> {
  return new Promise((resolve) => {
    const socket = connect({ ...target, localAddress, timeout: PROBE_TIMEOUT_MS });
    const settle = (result: Probe) => {
      resolve(result);
      socket.destroy();
    };
    socket.on('connect', () => settle('accepted'));
    socket.on('timeout', () => settle('unknown'));
    socket.on('error', (error: NodeJS.ErrnoException) =>
      settle(error.code === 'ECONNREFUSED' ? 'refused' : 'unknown'),
    );
  });
}

export class Relay {
  readonly #options: RelayOptions;
  readonly #connections = new Map<RelayConnection, string>();
  #server: Server | undefined;
  #checking = false;
  #checkAgain = false;
  #closed = false;
  #wakeRedial: (() => void) | undefined;
  #waiters: { readonly listening: boolean; readonly resolve: () => void }[] = [];

  constructor(options: RelayOptions) {
    this.#options = options;
  }

  get listening(): boolean {
    return this.#server !== undefined;
  }

  /** Dials the daemon now, and opens or closes the listener accordingly. The way to start a relay, too. */
  check(): void {
    if (this.#closed) return;
    if (this.#checking) {
      this.#checkAgain = true;
      this.#wakeRedial?.();
      return;
    }
    this.#checking = true;
    // Every way out of #checkUntilAccepted is handled inside it; what it throws is a mistake of ours.
    void this.#checkUntilAccepted().finally(() => {
      this.#checking = false;
    });
  }

  /** Resolves when the listener is open (or closed). */
  whenListening(listening: boolean): Promise<void> {
    if (this.listening === listening) return Promise.resolve();
    return new Promise((resolve) => this.#waiters.push({ listening, resolve }));
  }

  /** Asks `isCut` again for every connection. */
  applyCuts(): void {
    for (const [connection, source] of this.#connections) {
      connection.setCut(this.#options.isCut(source));
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#wakeRedial?.();
    for (const connection of this.#connections.keys()) connection.destroy();
    await this.#unlisten();
  }

  async #checkUntilAccepted(): Promise<void> {
    do {
      this.#checkAgain = false;
      const result = await probe(this.#options.target, this.#options.listen.host);
      if (this.#closed) return;
      if (result === 'refused') {
        await this.#unlisten();
        await this.#pause();
        this.#checkAgain = true;
      } else if (!(await this.#listen())) {
        await this.#pause();
        this.#checkAgain = true;
      }
    } while (this.#checkAgain && !this.#closed);
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, REDIAL_MS);
      this.#wakeRedial = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** False when the address is taken at the moment. */
  #listen(): Promise<boolean> {
    if (this.#server) return Promise.resolve(true);
    const server = createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket));
    return new Promise((resolve) => {
      server.on('error', () => resolve(false));
      server.listen(this.#options.listen, () => {
        if (this.#closed) {
          server.close();
          resolve(true);
          return;
        }
        this.#server = server;
        this.#tell();
        resolve(true);
      });
    });
  }

  /** Stops listening at once; open connections stay. */
  #unlisten(): Promise<void> {
    this.#server?.close();
    this.#server = undefined;
    this.#tell();
    return Promise.resolve();
  }

  #tell(): void {
    const due = this.#waiters.filter((waiter) => waiter.listening === this.listening);
    this.#waiters = this.#waiters.filter((waiter) => waiter.listening !== this.listening);
    for (const waiter of due) waiter.resolve();
  }

  #accept(client: Socket): void {
    const source = client.remoteAddress;
    if (source === undefined || this.#connections.size >= CONNECTIONS_MAX || this.#closed) {
      client.on('error', () => client.destroy());
      client.resetAndDestroy();
      return;
    }
    const connection: RelayConnection = new RelayConnection({
      client,
      target: this.#options.target,
      cut: this.#options.isCut(source),
      onTargetEnded: () => this.check(),
      onClosed: () => this.#connections.delete(connection),
    });
    this.#connections.set(connection, source);
  }
}
