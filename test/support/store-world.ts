/**
 * Two or three stores of the records room on simulated ports: a disk each, one clock, messages in memory, and a
 * view of the members that the test sets. For tests of services without a whole peer around them.
 */
import { hash52 } from '../../src/base/hash.ts';
import { SeededRandom } from '../../src/base/random.ts';
import { NO_LOAD } from '../../src/membership/types.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { Store } from '../../src/ports/store.ts';
import { CheckedStore } from '../../src/records/checked-store.ts';
import type { StoreDirectory } from '../../src/records/directory.ts';
import { PartnerSync } from '../../src/records/partner-sync.ts';
import type { RecordState } from '../../src/records/record.ts';
import { Replica } from '../../src/records/replica.ts';
import { Sharing } from '../../src/records/sharing.ts';
import { StoreIdentity } from '../../src/records/store-identity.ts';
import { SimClock } from '../../src/sim/clock.ts';
import { SimDisk } from '../../src/sim/disk.ts';
import { keyRules } from '../../src/tasks/dedupe.ts';
import { decodeHeader } from '../../src/tasks/facts.ts';
import type { MeshView, PeerSight } from '../../src/tasks/mesh-view.ts';
import { taskRules } from '../../src/tasks/task.ts';
import { MemoryMesh, type MemoryMessaging } from './memory-messaging.ts';

export interface StoreHost {
  readonly name: string;
  readonly peerId: string;
  readonly storeId: string;
  readonly disk: SimDisk;
  readonly store: Store;
  readonly identity: StoreIdentity;
  readonly replica: Replica;
  readonly messaging: MemoryMessaging;
  readonly sharing: Sharing;
  readonly sync: PartnerSync;
  readonly view: MeshView;
  /** What the replica said when its disk failed. */
  readonly failures: string[];
}

const BUSY_LOAD = { ...NO_LOAD, slots: 4, slotsFree: 4 };

export class StoreWorld {
  readonly clock = new SimClock();
  readonly mesh = new MemoryMesh(this.clock);
  readonly hosts: StoreHost[] = [];
  #boots = 0;
  /** Status of members by peer id; alive where nothing is set. */
  readonly status = new Map<string, PeerSight['status']>();
  readonly overrides = new Map<string, Partial<PeerSight>>();

  /** How far the wall clock of a host, by name, goes wrong; may be changed at any time. */
  readonly wallOffsetMs = new Map<string, number>();
  /** Merkle trees that a host keeps at once, by name. */
  readonly treesMax = new Map<string, number>();
  /** How long partners believe that they agree; 0: each round compares. */
  agreedMs: number | undefined;

  static async of(...names: string[]): Promise<StoreWorld> {
    const world = new StoreWorld();
    for (const name of names) await world.add(name);
    return world;
  }

  /** Runs virtual time until the promise has settled. */
  async run<T>(promise: Promise<T>, limitMs = 120_000): Promise<T> {
    let settled = false;
    const mark = (): void => {
      settled = true;
    };
    void promise.then(mark, mark);
    if (!(await this.clock.runUntil(() => settled, limitMs))) {
      throw new Error(`nothing settled within ${limitMs} ms`);
    }
    return promise;
  }

  host(name: string): StoreHost {
    const found = this.hosts.find((host) => host.name === name);
    if (found === undefined) throw new Error(`there is no host ${name}`);
    return found;
  }

  async add(name: string): Promise<StoreHost> {
    const disk = new SimDisk({ clock: this.clock, random: new SeededRandom(`disk ${name}`) });
    const host = await this.#open(name, disk);
    this.hosts.push(host);
    return host;
  }

  /** The same disk under a new incarnation, after a crash. */
  async restart(name: string): Promise<StoreHost> {
    const { disk } = this.host(name);
    disk.crash();
    const host = await this.#open(name, disk);
    this.hosts.splice(this.hosts.indexOf(this.host(name)), 1, host);
    return host;
  }

  /** Takes a host out of sight: no link, and dead to the others. */
  kill(name: string): void {
    const { peerId } = this.host(name);
    this.mesh.gone.add(peerId);
    this.status.set(peerId, 'dead');
  }

  revive(name: string): void {
    const { peerId } = this.host(name);
    this.mesh.gone.delete(peerId);
    this.status.delete(peerId);
  }

  /** Every boot draws anew, as from a system's source. */
  #seedOf(name: string): string {
    this.#boots += 1;
    const isFirst = !this.hosts.some((host) => host.name === name);
    return isFirst ? `store ${name}` : `store ${name} ${this.#boots}`;
  }

  async #open(name: string, disk: SimDisk): Promise<StoreHost> {
    const bare = disk.openStore();
    const store = new CheckedStore(bare);
    const identity = await this.run(StoreIdentity.load(bare, new SeededRandom(this.#seedOf(name))));
    if (!identity.ok) throw new Error(identity.error.detail);
    const { storeId } = identity.value;
    const failures: string[] = [];
    const clock = this.#clockOf(name);
    const treesMax = this.treesMax.get(name);
    const replica = new Replica({
      store,
      identity: identity.value,
      rules: { task: taskRules, key: keyRules },
      onFailed: (detail) => failures.push(detail),
      runningMs: () => clock.nowMs(),
    });
    replica.load();
    const peerId = `peer-${name}`;
    const messaging = this.mesh.join(peerId);
    const view = this.#viewOf(peerId);
    const sharing = new Sharing({
      replica,
      messaging,
      clock,
      directory: view.directory,
      requestDigest: (record: RecordState) => decodeHeader(record.header)?.digest ?? '',
      isDamaged: (key) => store.isDamaged(key),
      enrich: (record) => record,
    });
    const sync = new PartnerSync({
      replica,
      sharing,
      messaging,
      directory: view.directory,
      clock,
      ...(treesMax === undefined ? {} : { treesMax }),
      ...(this.agreedMs === undefined ? {} : { agreedMs: this.agreedMs }),
    });
    await this.run(sync.load());
    const identityOf = identity.value;
    return {
      name,
      peerId,
      storeId,
      disk,
      store,
      identity: identityOf,
      replica,
      messaging,
      sharing,
      sync,
      view,
      failures,
    };
  }

  #clockOf(name: string): Clock {
    return {
      nowMs: () => this.clock.nowMs(),
      wallMs: () => this.clock.wallMs() + (this.wallOffsetMs.get(name) ?? 0),
      after: (delayMs, callback) => this.clock.after(delayMs, callback),
    };
  }

  #sightOf(host: StoreHost, self: string): PeerSight {
    return {
      peerId: host.peerId,
      storeId: host.storeId,
      name: host.name,
      bootCount: host.identity.bootCount,
      status: this.status.get(host.peerId) ?? 'alive',
      crashed: false,
      stopping: false,
      linked: host.peerId === self || !this.mesh.gone.has(host.peerId),
      reachable: host.peerId === self || !this.mesh.gone.has(host.peerId),
      self: host.peerId === self,
      execEnabled: true,
      load: BUSY_LOAD,
      ...this.overrides.get(host.peerId),
    };
  }

  #viewOf(self: string): MeshView {
    const peers = (): PeerSight[] => this.hosts.map((host) => this.#sightOf(host, self));
    const ofStore = (store: string) => peers().find((peer) => peer.storeId === store);
    const present = (): string[] =>
      peers()
        .filter((peer) => peer.status === 'alive' || peer.status === 'suspect')
        .map((peer) => peer.storeId);
    const directory: StoreDirectory = {
      peerOf: (store) => {
        const peer = ofStore(store);
        return peer?.linked === true && !peer.self ? peer.peerId : undefined;
      },
      storeOfPeer: (peerId) => peers().find((peer) => peer.peerId === peerId)?.storeId,
      statusOf: (store) => ofStore(store)?.status ?? 'unknown',
      present,
      preference: (key, count) =>
        present()
          .sort((a, b) => hash52(`${key}${a}`) - hash52(`${key}${b}`))
          .slice(0, count),
    };
    return {
      directory,
      inTouchForMs: (store) => (ofStore(store)?.linked === true ? Number.POSITIVE_INFINITY : -1),
      peers,
      peer: (peerId) => peers().find((peer) => peer.peerId === peerId),
      self: () => {
        const own = peers().find((peer) => peer.self);
        if (own === undefined) throw new Error('the view has no self');
        return own;
      },
      status: (store) => {
        const peer = ofStore(store);
        if (peer === undefined || peer.status === 'dead' || peer.status === 'left') return 'dead';
        return peer.stopping ? 'stopping' : 'alive';
      },
    };
  }
}
