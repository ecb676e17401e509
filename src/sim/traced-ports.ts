/**
 * The ports that have no traces of their own: the clock and the identity of one incarnation. Every call and every
 * timer that fires is told to the trace.
 */
import type { Clock, Timer } from '../ports/clock.ts';
import type { Identity, PeerId } from '../ports/identity.ts';
import type { Trace } from './clock.ts';

export class TracedClock implements Clock {
  readonly #clock: Clock;
  readonly #trace: Trace;
  #timers = 0;

  constructor(clock: Clock, trace: Trace) {
    this.#clock = clock;
    this.#trace = trace;
  }

  nowMs(): number {
    const now = this.#clock.nowMs();
    this.#trace('clock.now', now);
    return now;
  }

  wallMs(): number {
    const now = this.#clock.wallMs();
    this.#trace('clock.wall', now);
    return now;
  }

  after(delayMs: number, callback: () => void): Timer {
    this.#timers += 1;
    const number = this.#timers;
    this.#trace('clock.after', number, delayMs);
    const timer = this.#clock.after(delayMs, () => {
      this.#trace('clock.fire', number, this.#clock.nowMs());
      callback();
    });
    return {
      cancel: () => {
        this.#trace('clock.cancel', number);
        timer.cancel();
      },
    };
  }
}

export function tracedIdentity(identity: Identity, trace: Trace): Identity {
  return {
    peerId: identity.peerId,
    sign(bytes: Uint8Array): Uint8Array {
      const signature = identity.sign(bytes);
      trace('identity.sign', bytes, signature);
      return signature;
    },
    verify(peerId: PeerId, bytes: Uint8Array, signature: Uint8Array): boolean {
      const isGenuine = identity.verify(peerId, bytes, signature);
      trace('identity.verify', peerId, bytes, signature, isGenuine);
      return isGenuine;
    },
  };
}
