/**
 * SIGSTOP for a simulated daemon: while it is frozen no timer of it fires, nobody calls its handlers and none of its
 * port calls settles; afterwards all that was due comes in order, at once. Its boot time goes on, as it does for a
 * stopped process and for a suspended host. What it asked for before goes on too: a sync ends on the disk, a
 * command runs on.
 */
import type { Clock, Timer } from '../ports/clock.ts';
import type { Network, NetworkHandlers } from '../ports/network.ts';
import type { ChildHandlers, Processes } from '../ports/processes.ts';
import type { Store } from '../ports/store.ts';

export class Freezer {
  /** The world's clock for this daemon. */
  readonly #clock: Clock;
  #state: 'running' | 'frozen' | 'dead' = 'running';
  #waiting: (() => void)[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get isFrozen(): boolean {
    return this.#state === 'frozen';
  }

  freeze(): void {
    if (this.#state === 'running') this.#state = 'frozen';
  }

  thaw(): void {
    if (this.#state !== 'frozen') return;
    this.#state = 'running';
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const call of waiting) this.#clock.after(0, () => this.pass(call));
  }

  /** The daemon is killed: what waits never comes. */
  kill(): void {
    this.#state = 'dead';
    this.#waiting = [];
  }

  /** Runs it now, or after the thaw, or never. */
  readonly pass = (call: () => void): void => {
    if (this.#state === 'frozen') this.#waiting.push(call);
    else if (this.#state === 'running') call();
  };

  #settle<T>(promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      promise.then(
        (value) => this.pass(() => resolve(value)),
        (thrown: unknown) => this.pass(() => reject(thrown)),
      );
    });
  }

  clock(): Clock {
    const clock = this.#clock;
    return {
      nowMs: () => clock.nowMs(),
      wallMs: () => clock.wallMs(),
      after: (delayMs, callback): Timer => {
        let canceled = false;
        const timer = clock.after(delayMs, () =>
          this.pass(() => {
            if (!canceled) callback();
          }),
        );
        return {
          cancel: () => {
            canceled = true;
            timer.cancel();
          },
        };
      },
    };
  }

  network(network: Network): Network {
    return {
      start: (handlers, listen) => this.#settle(network.start(this.#handlers(handlers), listen)),
      dial: (...args) => this.#settle(network.dial(...args)),
      announce: (addresses) => network.announce(addresses),
      resolve: (...args) => this.#settle(network.resolve(...args)),
      probe: (...args) => this.#settle(network.probe(...args)),
      admitCall: (...args) => this.#settle(network.admitCall(...args)),
      admit: (peerId) => network.admit(peerId),
      send: (...args) => network.send(...args),
      disconnect: (peerId) => this.#settle(network.disconnect(peerId)),
      publish: (bytes) => network.publish(bytes),
      links: () => network.links(),
      stop: () => this.#settle(network.stop()),
    };
  }

  #handlers(to: NetworkHandlers): NetworkHandlers {
    return {
      opened: (link) => this.pass(() => to.opened(link)),
      closed: (peerId, error) => this.pass(() => to.closed(peerId, error)),
      frame: (from, frameClass, bytes) => this.pass(() => to.frame(from, frameClass, bytes)),
      news: (bytes) => this.pass(() => to.news(bytes)),
      admitRequest: (from, bytes) =>
        new Promise((resolve, reject) => {
          this.pass(() => {
            to.admitRequest(from, bytes).then(resolve, reject);
          });
        }),
    };
  }

  store(store: Store): Store {
    return {
      get: (key) => store.get(key),
      range: (query) => store.range(query),
      usedBytes: () => store.usedBytes(),
      room: () => store.room(),
      append: (batch, purpose) => this.#settle(store.append(batch, purpose)),
      close: () => this.#settle(store.close()),
    };
  }

  processes(processes: Processes): Processes {
    return {
      spawn: (request, handlers) => processes.spawn(request, this.#childHandlers(handlers)),
      directoryExists: (path) => this.#settle(processes.directoryExists(path)),
      baseEnvironment: () => processes.baseEnvironment(),
      stop: () => this.#settle(processes.stop()),
    };
  }

  #childHandlers(to: ChildHandlers): ChildHandlers {
    return {
      started: (groupId) => this.pass(() => to.started(groupId)),
      output: (stream, bytes) => this.pass(() => to.output(stream, bytes)),
      exited: (exit) => this.pass(() => to.exited(exit)),
    };
  }
}
