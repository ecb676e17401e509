/** Connects to one address of one peer, and says exactly what became of it. */
import type { PeerId } from '../ports/identity.ts';
import type { Address, DialResult } from '../ports/network.ts';
import { type HostPort, parseAddress, toMultiaddr } from './libp2p-address.ts';
import { dialFailure } from './libp2p-dial.ts';
import type { NodeParts } from './libp2p-node.ts';

export const STOPPED: DialResult = {
  ok: false,
  code: 'stopped',
  detail: 'the network is stopped',
};

/**
 * Straight through the transport. libp2p's own dial queue would join this dial with any other to the same peer
 * or address, add addresses it remembers, and hide which of them refused.
 */
export class Dialer {
  readonly #transports: NodeParts['transports'];
  readonly #dials = new Set<AbortController>();

  constructor(parts: NodeParts) {
    this.#transports = parts.transports;
  }

  async dial(peerId: PeerId | undefined, address: Address, timeoutMs: number): Promise<DialResult> {
    const hostPort = parseAddress(address);
    if (!hostPort) return { ok: false, code: 'unreachable', detail: `'${address}' is no address` };
    const controller = new AbortController();
    this.#dials.add(controller);
    let timer: NodeJS.Timeout | undefined;
    // Raced, not only aborted: a step of the handshake that does not look at the signal must not hold the caller.
    const late = new Promise<DialResult>((resolve) => {
      const detail = `no connection within ${timeoutMs} ms`;
      timer = setTimeout(() => {
        resolve({ ok: false, code: 'timeout', detail });
        controller.abort();
      }, timeoutMs);
      controller.signal.addEventListener('abort', () => resolve(STOPPED));
    });
    try {
      return await Promise.race([this.#connect(peerId, hostPort, controller.signal), late]);
    } finally {
      clearTimeout(timer);
      this.#dials.delete(controller);
    }
  }

  async #connect(
    peerId: PeerId | undefined,
    address: HostPort,
    signal: AbortSignal,
  ): Promise<DialResult> {
    try {
      const connection = await this.#transports.dial(toMultiaddr(address, peerId), { signal });
      if (signal.aborted) connection.abort(new Error('too late'));
      return connection.status === 'open'
        ? { ok: true, peerId: connection.remotePeer.toString(), isNew: true }
        : { ok: false, code: 'unreachable', detail: 'the connection was closed at once' };
    } catch (error) {
      return dialFailure(error);
    }
  }

  /** Every dial under way ends with `stopped`. */
  stop(): void {
    for (const controller of this.#dials) controller.abort();
  }
}
