/**
 * The control socket of one incarnation of a simulated daemon: the server and the methods that ship, on the Listener
 * port in memory. A frozen daemon reads nothing, and the connections of a killed one end.
 */
import type { Random } from '../base/random.ts';
import type { Logger } from '../base/telemetry.ts';
import { createBackend } from '../control/methods.ts';
import { ControlServer } from '../control/server.ts';
import type { Peer } from '../peer/peer.ts';
import type { Clock } from '../ports/clock.ts';
import type { ByteStream, ByteStreamHandlers, Listener } from '../ports/listener.ts';
import type { Trace } from './clock.ts';
import type { Freezer } from './freezer.ts';
import { SimListener } from './listener.ts';

export interface SimControlDeps {
  readonly peer: Peer;
  /** The world's: bytes are on their way whatever becomes of the daemon. */
  readonly clock: Clock;
  readonly random: Random;
  readonly freezer: Freezer;
  readonly log: Logger;
  readonly path: string;
  readonly trace: Trace;
  /** Leaves the mesh and ends the daemon; answers the ids that lie only here. */
  readonly leave: (timeoutMs: number | undefined) => Promise<string[]>;
}

export class SimControl {
  readonly #listener: SimListener;
  readonly #server: ControlServer;
  /** The clients' ends. */
  readonly #open = new Set<ByteStream>();

  constructor({ peer, clock, random, freezer, log, path, trace, leave }: SimControlDeps) {
    this.#listener = new SimListener({ clock, random, path, trace });
    this.#server = new ControlServer({
      listener: frozenWith(freezer, this.#listener),
      backend: createBackend(peer, { version: 'sim', pid: 1, socket: path, leave }),
      clock: peer.ports.clock,
      log,
      version: 'sim',
    });
  }

  async open(): Promise<void> {
    await this.#server.open();
  }

  /** As the daemon does when it begins to stop. */
  stopTaking(): void {
    this.#server.stopTaking();
  }

  /** A local program connects; undefined: nobody listens. */
  connect(handlers: ByteStreamHandlers): ByteStream | undefined {
    const stream = this.#listener.connect({
      data: (bytes) => handlers.data(bytes),
      drained: () => handlers.drained(),
      finished: () => handlers.finished(),
      ended: () => {
        if (stream !== undefined) this.#open.delete(stream);
        handlers.ended();
      },
    });
    if (stream !== undefined) this.#open.add(stream);
    return stream;
  }

  /** The daemon is gone, and with it its ends. */
  die(): void {
    void this.#listener.close();
    for (const stream of [...this.#open]) stream.destroy();
  }
}

const frozenWith = (freezer: Freezer, listener: Listener): Listener => ({
  open: (accept) =>
    listener.open((stream) => {
      const to = accept(stream);
      return {
        data: (bytes) => freezer.pass(() => to.data(bytes)),
        drained: () => freezer.pass(() => to.drained()),
        finished: () => freezer.pass(() => to.finished()),
        ended: () => freezer.pass(() => to.ended()),
      };
    }),
  close: () => listener.close(),
});
