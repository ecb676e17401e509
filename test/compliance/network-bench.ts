/** What the Network tests work with: peers that note all they are told, in a world of either twin. */
import { expect } from 'vitest';
import type { Identity, PeerId } from '../../src/ports/identity.ts';
import type {
  Address,
  FrameClass,
  LinkInfo,
  Network,
  NetworkHandlers,
} from '../../src/ports/network.ts';

export interface NetworkWorld {
  /** A network that was not started, and whose it is; where time is real, with less patience for strangers. */
  create(name: string, strangerMs?: number): Promise<{ identity: Identity; network: Network }>;
  /** Lets time pass until the condition holds; throws after `limitMs`, by default some seconds. */
  settle(condition: () => boolean, limitMs?: number): Promise<void>;
  /** An address that answers nothing at all. */
  silentAddress(): Promise<Address>;
  dispose(): Promise<void>;
}

export interface Frame {
  readonly from: PeerId;
  readonly frameClass: FrameClass;
  readonly bytes: Uint8Array;
}

/** One peer under test, and all that its handlers were told. */
export class TestPeer implements NetworkHandlers {
  readonly network: Network;
  readonly peerId: PeerId;
  readonly openedLinks: LinkInfo[] = [];
  readonly closedPeers: PeerId[] = [];
  readonly frames: Frame[] = [];
  readonly newsHeard: Uint8Array[] = [];
  readonly requests: { from: PeerId; bytes: Uint8Array }[] = [];
  address = '';
  /** True while a call of the port runs: no handler may be called then. */
  calling = false;
  reentered = false;
  onFrame: (frame: Frame) => void = () => undefined;
  onAdmit: (from: PeerId, bytes: Uint8Array) => Promise<Uint8Array | undefined> = (_, bytes) =>
    Promise.resolve(bytes);

  constructor(identity: Identity, network: Network) {
    this.peerId = identity.peerId;
    this.network = network;
  }

  #called(): void {
    if (this.calling) this.reentered = true;
  }

  opened(link: LinkInfo): void {
    this.#called();
    this.openedLinks.push(link);
  }

  closed(peerId: PeerId): void {
    this.#called();
    this.closedPeers.push(peerId);
  }

  frame(from: PeerId, frameClass: FrameClass, bytes: Uint8Array): void {
    this.#called();
    const frame = { from, frameClass, bytes };
    this.frames.push(frame);
    this.onFrame(frame);
  }

  admitRequest(from: PeerId, bytes: Uint8Array): Promise<Uint8Array | undefined> {
    this.#called();
    this.requests.push({ from, bytes });
    return this.onAdmit(from, bytes);
  }

  news(bytes: Uint8Array): void {
    this.#called();
    this.newsHeard.push(bytes);
  }

  /** Calls the port and notes a handler that is called from inside. */
  call<T>(run: (network: Network) => T): T {
    this.calling = true;
    try {
      return run(this.network);
    } finally {
      this.calling = false;
    }
  }
}

/** Peers of one world, and waiting for what takes time in it. */
export class Bench {
  readonly #makeWorld: () => NetworkWorld;
  #world: NetworkWorld | undefined;

  constructor(makeWorld: () => NetworkWorld) {
    this.#makeWorld = makeWorld;
  }

  /** The world of the current test. */
  get world(): NetworkWorld {
    this.#world ??= this.#makeWorld();
    return this.#world;
  }

  async dispose(): Promise<void> {
    await this.#world?.dispose();
    this.#world = undefined;
  }

  /** Waits for a promise that needs time to pass. */
  async wait<T>(promise: Promise<T>, limitMs?: number): Promise<T> {
    let done = false;
    const mark = () => {
      done = true;
    };
    promise.then(mark, mark);
    await this.world.settle(() => done, limitMs);
    return promise;
  }

  async startPeer(name: string, strangerMs?: number): Promise<TestPeer> {
    const { identity, network } = await this.world.create(name, strangerMs);
    const peer = new TestPeer(identity, network);
    const result = await this.wait(network.start(peer, { host: '127.0.0.1', port: 0 }));
    if (!result.ok) throw new Error(result.detail);
    peer.address = `127.0.0.1:${result.port}`;
    return peer;
  }

  async connect(from: TestPeer, to: TestPeer): Promise<void> {
    const result = await this.wait(from.call((n) => n.dial(to.peerId, to.address, 5_000)));
    expect(result).toEqual({ ok: true, peerId: to.peerId, isNew: true });
    await this.world.settle(
      () =>
        from.network.links().some(({ peerId }) => peerId === to.peerId) &&
        to.network.links().some(({ peerId }) => peerId === from.peerId),
    );
  }

  /** Two members with a link. */
  async linked(): Promise<[TestPeer, TestPeer]> {
    const [a, b] = [await this.startPeer('a'), await this.startPeer('b')];
    a.network.admit(b.peerId);
    b.network.admit(a.peerId);
    await this.connect(a, b);
    return [a, b];
  }

  /** Long enough for a frame that was let through to arrive. */
  async severalExchanges(from: TestPeer, to: TestPeer): Promise<void> {
    for (let i = 0; i < 5; i++) {
      await this.wait(from.network.admitCall(to.peerId, new Uint8Array([i]), 1_000));
    }
  }

  /** A stream that was refused is opened again a little later; what was sent into it is lost. */
  async sendUntilHeard(from: TestPeer, to: TestPeer): Promise<void> {
    await this.world.settle(() => {
      from.network.send(to.peerId, 'data', new Uint8Array([2]));
      return to.frames.length > 0;
    });
  }
}
