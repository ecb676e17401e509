/**
 * SIGSTOP for a simulated process: while it is frozen none of its timers and network handlers run;
 * afterwards all that was due runs, in order, at once. Its boot time goes on, as it does for a
 * stopped process.
 */
import type { Clock, Timer } from '../../src/ports/clock.ts';
import type { Network, NetworkHandlers } from '../../src/ports/network.ts';
import type { SimClock } from '../../src/sim/clock.ts';

export class FreezableClock implements Clock {
  readonly #clock: Clock;
  #state: 'running' | 'frozen' | 'dead' = 'running';
  #waiting: (() => void)[] = [];

  constructor(world: SimClock, tag: string) {
    this.#clock = world.forOwner(tag);
  }

  nowMs(): number {
    return this.#clock.nowMs();
  }

  wallMs(): number {
    return this.#clock.wallMs();
  }

  after(delayMs: number, callback: () => void): Timer {
    let cancelled = false;
    const timer = this.#clock.after(delayMs, () =>
      this.#run(() => {
        if (!cancelled) callback();
      }),
    );
    return {
      cancel: () => {
        cancelled = true;
        timer.cancel();
      },
    };
  }

  #run(call: () => void): void {
    if (this.#state === 'frozen') this.#waiting.push(call);
    else if (this.#state === 'running') call();
  }

  freeze(): void {
    this.#state = 'frozen';
  }

  thaw(): void {
    this.#state = 'running';
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const call of waiting) this.#clock.after(0, call);
  }

  kill(): void {
    this.#state = 'dead';
    this.#waiting = [];
  }

  /** The network whose handlers stand still with this clock. */
  guard(network: Network): Network {
    const run = (call: () => void) => this.#run(call);
    return {
      start: (handlers, listen) => network.start(guarded(handlers, run), listen),
      dial: (...args) => network.dial(...args),
      probe: (...args) => network.probe(...args),
      admitCall: (...args) => network.admitCall(...args),
      admit: (peerId) => network.admit(peerId),
      send: (...args) => network.send(...args),
      disconnect: (peerId) => network.disconnect(peerId),
      publish: (bytes) => network.publish(bytes),
      links: () => network.links(),
      stop: () => network.stop(),
    };
  }
}

const guarded = (to: NetworkHandlers, run: (call: () => void) => void): NetworkHandlers => ({
  opened: (link) => run(() => to.opened(link)),
  closed: (peerId, error) => run(() => to.closed(peerId, error)),
  frame: (from, frameClass, bytes) => run(() => to.frame(from, frameClass, bytes)),
  news: (bytes) => run(() => to.news(bytes)),
  admitRequest: (from, bytes) =>
    new Promise((resolve, reject) => {
      run(() => {
        to.admitRequest(from, bytes).then(resolve, reject);
      });
    }),
});
