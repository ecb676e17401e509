/**
 * A mesh of membership alone, on virtual time: the services that ship, on simulated links. Everybody knows everybody from
 * the book at the start, as after a restart of all: a thousand joins one after the other would take longer than all
 * that is measured. Signatures are not computed: nobody lies here, and virtual time takes no notice of CPU.
 */
import { configSchema } from '../../src/api/config.ts';
import { SeededRandom } from '../../src/base/random.ts';
import { silentLogger } from '../../src/base/telemetry.ts';
import { type Fact, factBytes, type SelfRecord, signFact } from '../../src/membership/fact.ts';
import { Membership } from '../../src/membership/membership.ts';
import { metered, Traffic } from '../../src/membership/traffic.ts';
import type { MemberEvent } from '../../src/membership/types.ts';
import { factKey } from '../../src/membership/view.ts';
import type { Identity } from '../../src/ports/identity.ts';
import type { RangeQuery, Store, StoreOp } from '../../src/ports/store.ts';
import { SimClock } from '../../src/sim/clock.ts';
import { Freezer } from '../../src/sim/freezer.ts';
import { simPeerId } from '../../src/sim/identity.ts';
import { SimNetworkHub } from '../../src/sim/network-hub.ts';
import { encodeValue } from '../../src/wire/codec.ts';

const PORT = 26_839;
const MESH_ID = 'b'.repeat(32);
const DELAY_MS = { min: 0.2, max: 2 };
const FACTS = 'membership/fact/';

export interface MeshOptions {
  readonly seed: string;
  readonly n: number;
  readonly config?: Readonly<Record<string, unknown>>;
  /** Share of packets that are lost, and sent again. */
  readonly loss?: number;
  /** Whether peers mistrust themselves after pauses and in lag. */
  readonly localHealth?: boolean;
}

/** The book of one peer: what all know, and what it wrote itself. */
class BookStore implements Store {
  readonly #base: ReadonlyMap<string, Uint8Array>;
  readonly #own = new Map<string, Uint8Array>();
  readonly #hidden: string;

  constructor(base: ReadonlyMap<string, Uint8Array>, hidden: string) {
    this.#base = base;
    this.#hidden = hidden;
  }

  get(key: string): Uint8Array | undefined {
    return this.#own.get(key) ?? (key === this.#hidden ? undefined : this.#base.get(key));
  }

  range({ from, to, limit }: RangeQuery): { key: string; value: Uint8Array }[] {
    const keys = [...new Set([...this.#base.keys(), ...this.#own.keys()])]
      .filter((key) => key >= from && key < to)
      .sort();
    const found: { key: string; value: Uint8Array }[] = [];
    for (const key of keys) {
      const value = this.get(key);
      if (value !== undefined && found.length < limit) found.push({ key, value });
    }
    return found;
  }

  append(batch: readonly StoreOp[]): Promise<{ ok: true }> {
    // What is learned of others is known from the base again at the next start: it would fill the memory of this bench.
    for (const op of batch)
      if ('put' in op && !op.put.startsWith(FACTS)) this.#own.set(op.put, op.value);
    return Promise.resolve({ ok: true });
  }

  room(): 'ample' {
    return 'ample';
  }

  usedBytes(): number {
    return 0;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

const identityOf = (name: string): Identity => ({
  peerId: simPeerId(name),
  sign: () => new Uint8Array(64),
  verify: () => true,
});

export class BenchPeer {
  readonly name: string;
  readonly identity: Identity;
  readonly address: string;
  readonly storeId: string;
  readonly #mesh: BenchMesh;
  store: Store;
  bootCount = 0;
  readonly bootIds: string[] = [];
  freezer: Freezer | undefined;
  membership: Membership | undefined;

  constructor(mesh: BenchMesh, index: number) {
    this.#mesh = mesh;
    this.name = `h${index + 1}`;
    this.identity = identityOf(this.name);
    this.address = `127.${77 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`;
    this.storeId = `store${index}x`.padEnd(32, '0');
    this.store = new BookStore(new Map(), '');
  }

  get peerId(): string {
    return this.identity.peerId;
  }

  get bootId(): string {
    return `${this.name}-boot-${this.bootCount}`;
  }

  /** As it will say of itself at its first start. */
  record(): SelfRecord {
    return {
      kind: 'record',
      peerId: this.peerId,
      epoch: 1,
      incarnation: 1,
      storeId: this.storeId,
      bootCount: 1,
      bootId: `${this.name}-boot-1`,
      name: this.name,
      addresses: [`${this.address}:${PORT}`],
      labels: {},
      version: '0',
      features: [],
      execEnabled: true,
      stopping: false,
      left: false,
    };
  }

  async start(): Promise<void> {
    const mesh = this.#mesh;
    this.bootCount += 1;
    this.bootIds.push(this.bootId);
    const { bootId, bootIds, bootCount, storeId } = this;
    this.freezer = new Freezer(mesh.clock.forOwner(this.name));
    const clock = this.freezer.clock();
    const network = this.freezer.network(mesh.hub.createNetwork(this.identity, clock));
    const loaded = await mesh.until(
      Membership.load({
        clock,
        random: new SeededRandom(`${this.name} ${bootCount} ${mesh.seed}`),
        identity: this.identity,
        network: metered(network, mesh.traffic),
        identityStore: this.store,
        store: {
          storeId,
          bootCount,
          bootId,
          bootIds: bootIds.slice(-64),
          spans: [],
          seq: () => bootCount,
        },
        config: configSchema.parse({ ...mesh.config, name: this.name }),
        log: silentLogger,
        frame: () => undefined,
        ...(mesh.localHealth ? {} : { trustsItself: true }),
      }),
    );
    if (!loaded.ok) throw new Error(loaded.error);
    this.membership = loaded.value;
    loaded.value.onEvent((event) => mesh.onEvent(this, event));
    const listening = await mesh.until(loaded.value.start({ host: this.address, port: PORT }, []));
    if (!listening.ok) throw new Error(listening.detail);
  }

  /** kill -9. */
  crash(): void {
    this.#mesh.hub.crash(this.peerId);
    this.#end();
  }

  async leave(): Promise<void> {
    const { membership } = this;
    if (membership) await this.#mesh.until(membership.stop('leave'));
    this.#end();
  }

  #end(): void {
    this.#mesh.clock.dropOwner(this.name);
    this.freezer?.kill();
    this.membership = undefined;
  }
}

export class BenchMesh {
  readonly clock = new SimClock();
  readonly hub: SimNetworkHub;
  readonly traffic = new Traffic();
  readonly peers: BenchPeer[];
  readonly seed: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly localHealth: boolean;
  onEvent: (peer: BenchPeer, event: MemberEvent) => void = () => undefined;

  constructor({ seed, n, config = {}, loss = 0, localHealth = true }: MeshOptions) {
    this.seed = seed;
    this.config = config;
    this.localHealth = localHealth;
    const random = new SeededRandom(`hub ${seed}`);
    const delayMs = DELAY_MS;
    this.hub = new SimNetworkHub({
      clock: this.clock,
      random,
      delayMs,
      isGossipPassedOn: true,
      loss,
    });
    this.peers = Array.from({ length: n }, (_, i) => new BenchPeer(this, i));
    const base = this.#bookOf(this.peers);
    for (const peer of this.peers)
      peer.store = new BookStore(base, `${FACTS}record/${peer.peerId}`);
  }

  #bookOf(peers: readonly BenchPeer[]): Map<string, Uint8Array> {
    const [founder] = peers;
    if (!founder) throw new Error('a mesh of none');
    const base = new Map<string, Uint8Array>();
    base.set('membership/mesh', encodeValue({ mesh_id: MESH_ID, root: founder.peerId }));
    const add = (fact: Fact) => base.set(FACTS + factKey(fact), factBytes(fact));
    for (const peer of peers) {
      const { peerId, name } = peer;
      const entry = { kind: 'entry', peerId, name, admittedAtMs: 0 } as const;
      add(signFact(founder.identity, MESH_ID, entry));
      add(signFact(peer.identity, MESH_ID, peer.record()));
    }
    return base;
  }

  async until<T>(promise: Promise<T>, limitMs = 60_000): Promise<T> {
    let done = false;
    const settled = promise.finally(() => {
      done = true;
    });
    if (!(await this.clock.runUntil(() => done, limitMs))) throw new Error('not settled in time');
    return settled;
  }

  /** Starts all, and runs until everybody has the links that it is to have. */
  async gather(): Promise<void> {
    for (const peer of this.peers) await peer.start();
    const isTied = (peer: BenchPeer): boolean =>
      peer.membership?.members().every(({ peerId, status }) => {
        if (peerId === peer.peerId) return true;
        const { membership } = peer;
        return (
          status === 'alive' &&
          (membership?.linked(peerId) || membership?.mesh.expects(peerId) === false)
        );
      }) === true;
    for (let waitedMs = 0; waitedMs < 120_000; waitedMs += 1_000) {
      await this.clock.runFor(1_000);
      if (this.peers.every(isTied)) return;
    }
    throw new Error(`${this.peers.length} peers did not come together`);
  }

  get running(): BenchPeer[] {
    return this.peers.filter(({ membership }) => membership !== undefined);
  }

  /** One more, that belongs to no mesh yet. */
  newcomer(): BenchPeer {
    const peer = new BenchPeer(this, this.peers.length);
    this.peers.push(peer);
    return peer;
  }

  /** The founder admits it. */
  async join({ membership }: BenchPeer): Promise<void> {
    const invited = await this.peers[0]?.membership?.invite(60_000);
    if (invited?.ok !== true) throw new Error('no invitation');
    const joined = membership && (await this.until(membership.join(invited.value.token)));
    if (joined?.ok !== true) throw new Error('not admitted');
  }
}
