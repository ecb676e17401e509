/**
 * One TCP connection through a relay: bytes, backpressure, half-closes and resets pass in both directions
 * as they came. While its pair is cut nothing passes, in either direction, and nothing is closed: an end
 * that arrives during a cut is kept and passed on when the pair heals, as bytes on a cut wire would be.
 */
import { connect, type Socket } from 'node:net';

/** One direction of the connection. */
class Flow {
  readonly #from: Socket;
  readonly #to: Socket;
  #cut: boolean;
  #congested = false;
  #end: 'none' | 'arrived' | 'passed' = 'none';

  constructor(from: Socket, to: Socket, cut: boolean) {
    this.#from = from;
    this.#to = to;
    this.#cut = cut;
    from.on('data', (chunk) => {
      if (to.destroyed || to.writableEnded || to.write(chunk)) return;
      this.#congested = true;
      this.#update();
    });
    to.on('drain', () => {
      this.#congested = false;
      this.#update();
    });
    // Node may report the end of an empty stream even while it is paused.
    from.on('end', () => {
      this.#end = 'arrived';
      this.#update();
    });
    this.#update();
  }

  setCut(cut: boolean): void {
    this.#cut = cut;
    this.#update();
  }

  #update(): void {
    if (this.#cut || this.#congested) this.#from.pause();
    else this.#from.resume();
    if (this.#end !== 'arrived' || this.#cut) return;
    this.#end = 'passed';
    if (!this.#to.destroyed) this.#to.end();
  }
}

type Leg =
  /** Accepted while the pair was cut: the target was not dialled yet. */
  | { readonly kind: 'silent' }
  | { readonly kind: 'joined'; readonly upstream: Socket; readonly flows: readonly Flow[] };

export interface RelayConnectionOptions {
  readonly client: Socket;
  readonly target: { readonly host: string; readonly port: number };
  readonly cut: boolean;
  /** The target refused, ended or reset its side. */
  readonly onTargetEnded: () => void;
  /** Both sides are gone. */
  readonly onClosed: () => void;
}

export class RelayConnection {
  readonly #options: RelayConnectionOptions;
  #cut: boolean;
  #leg: Leg = { kind: 'silent' };
  /** The side that was reset, kept while the pair is cut. */
  #broken: Socket | undefined;
  readonly #open: Set<Socket>;

  constructor(options: RelayConnectionOptions) {
    this.#options = options;
    this.#cut = options.cut;
    const { client } = options;
    this.#open = new Set([client]);
    client.setNoDelay(true);
    client.on('error', () => this.#break(client));
    client.on('close', () => this.#closed(client));
    if (!this.#cut) this.#join();
  }

  setCut(cut: boolean): void {
    if (this.#cut === cut) return;
    this.#cut = cut;
    if (this.#leg.kind === 'joined') for (const flow of this.#leg.flows) flow.setCut(cut);
    if (cut) return;
    if (this.#broken) this.#break(this.#broken);
    else if (this.#leg.kind === 'silent' && !this.#options.client.destroyed) this.#join();
  }

  /** Ends both sides with a reset. */
  destroy(): void {
    for (const socket of this.#open) socket.resetAndDestroy();
  }

  #join(): void {
    const { client, target } = this.#options;
    // From the dialler's own address, so that the target's logs name the host that dialled.
    const upstream = connect({
      ...target,
      localAddress: client.remoteAddress,
      allowHalfOpen: true,
      noDelay: true,
    });
    this.#open.add(upstream);
    upstream.on('error', () => {
      this.#options.onTargetEnded();
      this.#break(upstream);
    });
    upstream.on('end', () => this.#options.onTargetEnded());
    upstream.on('close', () => this.#closed(upstream));
    const flows = [new Flow(client, upstream, this.#cut), new Flow(upstream, client, this.#cut)];
    this.#leg = { kind: 'joined', upstream, flows };
  }

  /** One side was reset: so is the other, but not through a cut. */
  #break(side: Socket): void {
    this.#broken = side;
    if (this.#cut) return;
    for (const socket of this.#open) if (socket !== side) socket.resetAndDestroy();
  }

  #closed(side: Socket): void {
    this.#open.delete(side);
    if (this.#open.size === 0) this.#options.onClosed();
  }
}
