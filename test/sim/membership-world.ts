/** Peers that consist of membership alone, on simulated ports: what the membership tests run on. */
import { expect } from 'vitest';
import { type ConfigInput, configSchema } from '../../src/api/config.ts';
import { SeededRandom } from '../../src/base/random.ts';
import { RecordingLogger } from '../../src/base/telemetry.ts';
import { Membership } from '../../src/membership/membership.ts';
import type { MemberEvent } from '../../src/membership/types.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { Network, NetworkHandlers } from '../../src/ports/network.ts';
import { SimClock } from '../../src/sim/clock.ts';
import { SimDisk } from '../../src/sim/disk.ts';
import { Freezer } from '../../src/sim/freezer.ts';
import { createSimIdentity } from '../../src/sim/identity.ts';
import { SimNetworkHub } from '../../src/sim/network-hub.ts';
import { decodeValue } from '../../src/wire/codec.ts';
import { isWireMap } from '../../src/wire/envelope.ts';

export interface HostOptions {
  readonly host?: string;
  readonly dialFrom?: string;
  readonly peers?: readonly string[];
  readonly advertise?: readonly string[];
}

export class World {
  readonly clock = new SimClock();
  readonly hub: SimNetworkHub;
  readonly hosts: Host[] = [];
  readonly seed: string;
  /** Of all hosts. */
  readonly config: ConfigInput;

  constructor(seed: string, config: ConfigInput = {}) {
    this.seed = seed;
    this.config = config;
    const random = new SeededRandom(`hub ${seed}`);
    const isGossipPassedOn = config.max_connections !== undefined;
    this.hub = new SimNetworkHub({ clock: this.clock, random, isGossipPassedOn });
  }

  addHost(options: HostOptions = {}): Host {
    const host = new Host(this, this.hosts.length + 1, options);
    this.hosts.push(host);
    return host;
  }

  /** Runs the world until the promise has settled. */
  async until<T>(promise: Promise<T>, limitMs = 20_000): Promise<T> {
    let done = false;
    const settled = promise.finally(() => {
      done = true;
    });
    if (!(await this.clock.runUntil(() => done, limitMs))) throw new Error('not settled in time');
    return settled;
  }

  /** The virtual milliseconds until the condition held. */
  async timeUntil(what: string, condition: () => boolean, limitMs: number): Promise<number> {
    const startMs = this.clock.nowMs();
    if (!(await this.clock.runUntil(condition, limitMs))) {
      const views = this.hosts.map((host) => host.describe()).join('\n');
      throw new Error(`not within ${limitMs} ms: ${what}\n${views}`);
    }
    return this.clock.nowMs() - startMs;
  }

  /** A mesh of n hosts, all joined by a token of the first, all linked. */
  async mesh(n: number): Promise<Host[]> {
    const hosts = Array.from({ length: n }, () => this.addHost());
    for (const host of hosts) await host.start();
    const [first] = hosts;
    if (!first) throw new Error('a mesh of none');
    for (const host of hosts.slice(1)) await host.joinBy(first);
    await this.timeUntil('all see all alive', () => hosts.every((host) => host.sees(n)), 10_000);
    return hosts;
  }
}

export class Host {
  readonly world: World;
  readonly name: string;
  /** Where it listens from its next start on. */
  address: string;
  readonly options: HostOptions;
  readonly identity;
  readonly disk: SimDisk;
  readonly log = new RecordingLogger();
  readonly refusals: string[] = [];
  /** Where another daemon with its key was seen to live, before which it has to give way. */
  readonly twins: string[] = [];
  /** What it heard of its own standing: `revoked by h1`; empty: a member again. */
  readonly standing: string[] = [];
  events: MemberEvent[] = [];
  storeId: string;
  bootIds: string[] = [];
  bootCount = 0;
  seq = 0;
  /** Hears every frame that comes. */
  onFrame: ((from: string, bytes: Uint8Array) => void) | undefined;
  freezer: Freezer;
  clock: Clock;
  #membership: Membership | undefined;
  #network: Network | undefined;
  #handlers: NetworkHandlers | undefined;
  #run = 0;

  constructor(world: World, index: number, options: HostOptions) {
    this.world = world;
    this.name = `h${index}`;
    this.options = options;
    this.address = options.host ?? `127.77.0.${index}`;
    this.identity = createSimIdentity(`${this.name} ${world.seed}`);
    this.storeId = `store${index}x`.padEnd(32, '0');
    this.freezer = new Freezer(world.clock.forOwner(this.name));
    this.clock = this.freezer.clock();
    const random = new SeededRandom(`disk ${this.name} ${world.seed}`);
    this.disk = new SimDisk({ clock: world.clock, random });
  }

  get peerId(): string {
    return this.identity.peerId;
  }

  get membership(): Membership {
    if (!this.#membership) throw new Error(`${this.name} does not run`);
    return this.#membership;
  }

  get runs(): boolean {
    return this.#membership !== undefined;
  }

  async start(): Promise<void> {
    this.bootCount += 1;
    this.#run += 1;
    this.events = [];
    this.bootIds = [...this.bootIds, `${this.name}-boot-${this.bootCount}-${this.#run}`].slice(-64);
    this.freezer = new Freezer(this.world.clock.forOwner(this.name));
    this.clock = this.freezer.clock();
    const { dialFrom, peers = [], advertise = [] } = this.options;
    const own = { name: this.name, dial_from: dialFrom, peers };
    const config = configSchema.parse({ ...this.world.config, ...own });
    const network = this.world.hub.createNetwork(this.identity, this.clock);
    const { start } = network;
    network.start = (handlers, listen) => {
      const { frame } = handlers;
      this.#handlers = handlers;
      const heard: NetworkHandlers = {
        ...handlers,
        frame: (from, frameClass, bytes) => {
          this.onFrame?.(from, bytes);
          frame(from, frameClass, bytes);
        },
      };
      return start.call(network, heard, listen);
    };
    this.#network = this.freezer.network(network);
    const loaded = await this.world.until(
      Membership.load({
        clock: this.clock,
        random: new SeededRandom(`${this.name} ${this.#run} ${this.world.seed}`),
        identity: this.identity,
        network: this.#network,
        identityStore: this.disk.openStore(),
        store: {
          storeId: this.storeId,
          bootCount: this.bootCount,
          bootId: this.bootIds.at(-1) ?? '',
          bootIds: this.bootIds,
          spans: [],
          seq: () => this.seq,
        },
        config,
        log: this.log,
        frame: () => undefined,
        onRefusedStore: (why) => this.refusals.push(why),
        onTwin: (address) => this.twins.push(address),
        onExpelled: (expelled) =>
          this.standing.push(expelled === undefined ? '' : `${expelled.kind} by ${expelled.by}`),
      }),
    );
    if (!loaded.ok) throw new Error(loaded.error);
    this.#membership = loaded.value;
    loaded.value.onEvent((event) => this.events.push(event));
    const listening = await this.world.until(
      loaded.value.start({ host: this.address, port: 26_839 }, advertise),
    );
    if (!listening.ok) throw new Error(listening.detail);
  }

  async joinBy(inviter: Host) {
    const invited = await this.world.until(inviter.membership.invite(60_000));
    if (!invited.ok) throw new Error(invited.error.message);
    const joined = await this.world.until(this.membership.join(invited.value.token));
    if (!joined.ok) throw new Error(joined.error.message);
    return joined.value;
  }

  /** The start of its identity that it has written down. */
  get epoch(): number {
    const value = decodeValue(this.disk.read().get('membership/epoch') ?? new Uint8Array());
    const epoch = value.ok && isWireMap(value.value) ? value.value.epoch : undefined;
    return typeof epoch === 'number' ? epoch : 0;
  }

  /** A frame of control, as its membership would send one. */
  send(to: Host, bytes: Uint8Array): void {
    expect(this.#network?.send(to.peerId, 'control', bytes)).toBe('sent');
  }

  /** As a real network may call: one after the other, with nothing in between. */
  inOneTurn(...calls: readonly ((handlers: NetworkHandlers) => void)[]): void {
    for (const call of calls) if (this.#handlers) call(this.#handlers);
  }

  /** kill -9. */
  crash(): void {
    this.world.hub.crash(this.peerId);
    this.disk.crash();
    this.world.clock.dropOwner(this.name);
    this.freezer.kill();
    this.#membership = undefined;
  }

  async stop(reason: 'stop' | 'leave' = 'stop'): Promise<void> {
    await this.world.until(this.membership.stop(reason));
    this.disk.crash();
    this.world.clock.dropOwner(this.name);
    this.freezer.kill();
    this.#membership = undefined;
  }

  statusOf(other: Host): string | undefined {
    return this.membership.member(other.peerId)?.status;
  }

  /** n members, all of them alive, and linked where this peer is to have a link. */
  sees(n: number): boolean {
    const { membership } = this;
    const members = membership.members();
    return (
      members.length === n &&
      members.every(({ status }) => status === 'alive') &&
      members.every(
        ({ peerId }) =>
          peerId === this.peerId || membership.linked(peerId) || !membership.mesh.expects(peerId),
      )
    );
  }

  describe(): string {
    if (!this.runs) return `${this.name}: down`;
    const members = this.membership.members().map((member) => {
      const linked = this.membership.linked(member.peerId) ? '' : ' unlinked';
      return `${member.name} ${member.status} ${member.incarnation}${linked}`;
    });
    return `${this.name}: ${members.join(', ')}`;
  }
}
