/**
 * A new host that joins in the middle of a story, with an operator who makes the usual mistakes: the daemon listens
 * where nobody reaches it, the token is old, used, or of a peer that is away. It is tried again until it has joined.
 */
import { type Random, randomBelow } from '../base/random.ts';
import { sleep } from '../ports/clock.ts';
import type { HostState } from './host.ts';
import { pick } from './options.ts';
import { SocketClient } from './socket-client.ts';
import type { World } from './world.ts';

/** More hosts than these are simulated nowhere. */
export const HOSTS_MAX = 12;
const INVITE_TTL_MS = 60_000;
const SHORT_TTL_MS = 1_000;
const TRY_AGAIN_MS = 1_000;

/** What goes wrong first. */
const MISTAKES = ['none', 'none', 'loopback', 'wildcard', 'expired', 'used'] as const;
type Mistake = (typeof MISTAKES)[number];

const BINDS: Readonly<Partial<Record<Mistake, string>>> = {
  loopback: '127.0.0.1',
  wildcard: '0.0.0.0',
};

export class Newcomer {
  readonly #world: World;
  readonly #random: Random;
  #mistake: Mistake;
  #spent: string | undefined;

  /** `spent`: a token that another one has used, which its operator tries first. */
  constructor(world: World, random: Random, spent?: string) {
    this.#world = world;
    this.#random = random;
    this.#spent = spent;
    this.#mistake = spent === undefined ? (pick(random, MISTAKES) ?? 'none') : 'none';
  }

  async run(): Promise<void> {
    const { clock } = this.#world;
    const i = this.#world.addHost();
    const host = this.#world.host(i);
    // The simulated hosts share one space of addresses: each wrong one is for one of them at a time.
    const bind = BINDS[this.#mistake];
    if (bind !== undefined && this.#world.hosts.some((other) => other.bind === bind))
      this.#mistake = 'none';
    else host.bind = bind;
    await host.start();
    // Somebody may kill it, and it is started again like every other.
    while (!this.#world.isMember(i)) {
      if (host.state === 'up' && !host.isFrozen) await this.#try(i);
      await sleep(clock, TRY_AGAIN_MS);
    }
  }

  #connect(i: number): SocketClient {
    const { clock, sightings } = this.#world;
    return new SocketClient({
      clock,
      sightings,
      connect: (handlers) => this.#world.host(i).connect(handlers),
    });
  }

  async #try(i: number): Promise<void> {
    const mistake = this.#mistake;
    this.#mistake = 'none';
    const inviters = [...this.#world.hosts.keys()].filter(
      (other) => this.#world.host(other).state === 'up' && this.#world.isMember(other),
    );
    const inviter = pick(this.#random, inviters);
    if (inviter === undefined) return;
    const there = this.#connect(inviter);
    const here = this.#connect(i);
    if (this.#spent !== undefined) await here.call('mesh.join', { token: this.#spent });
    this.#spent = undefined;
    const ttlMs = mistake === 'expired' ? SHORT_TTL_MS : INVITE_TTL_MS;
    const { result } = await there.call('access.invite', { ttl_ms: ttlMs });
    there.end();
    if (mistake === 'expired') await sleep(this.#world.clock, 2 * SHORT_TTL_MS);
    if (BINDS[mistake] !== undefined) {
      await here.call('access.invite');
      await here.call('mesh.join', { token: String(result?.token) });
      await this.#rebind(i);
    } else if (result !== undefined) {
      await here.call('mesh.join', { token: String(result.token) });
      if (mistake === 'used') await this.#useAgain(String(result.token));
    }
    here.end();
  }

  /** The daemon listens where others reach it, from its next start on. */
  async #rebind(i: number): Promise<void> {
    const host = this.#world.host(i);
    const isNow = (state: HostState): boolean => host.state === state;
    if (isNow('up')) {
      if (randomBelow(this.#random, 2) === 0) this.#world.crash(i);
      else await host.stop();
    }
    host.bind = undefined;
    await sleep(this.#world.clock, TRY_AGAIN_MS);
    if (isNow('down')) await host.start();
  }

  /** Another new host tries its luck with the same token. */
  async #useAgain(token: string): Promise<void> {
    const { hosts, isOver } = this.#world;
    const other = [...hosts.keys()].find(
      (i) => this.#world.host(i).state === 'up' && !this.#world.isMember(i),
    );
    if (other === undefined) {
      if (hosts.length < HOSTS_MAX && !isOver)
        void new Newcomer(this.#world, this.#random, token).run();
      return;
    }
    const client = this.#connect(other);
    await client.call('mesh.join', { token });
    client.end();
  }
}
