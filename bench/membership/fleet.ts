/** N nodes of one system, started together, and what is done to them. Times are those at which this program heard. */
import { randomInt } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from '../../src/testnet/ports.ts';
import type { Owned } from '../common/launch.ts';
import type { Backend, Place, Running } from './backend.ts';
import { cut, mend } from './host.ts';
import { type Status, Views, type Waited } from './views.ts';

/** What is not seen by then is not seen. */
const SEEN_TIMEOUT_MS = 60_000;
const END_TIMEOUT_MS = 30_000;

export interface Together {
  /** From the last ready line until all see all; from the first of those that joined. */
  readonly sinceLastMs: number | undefined;
  readonly sinceFirstMs: number | undefined;
}

export class Fleet {
  readonly views = new Views();
  readonly #backend: Backend;
  readonly #owned: Owned;
  readonly #dir: string;
  readonly #block = randomInt(200);
  #nodes: readonly Running[] = [];
  #count = 0;

  constructor(backend: Backend, owned: Owned, dir: string) {
    this.#backend = backend;
    this.#owned = owned;
    this.#dir = dir;
  }

  get nodes(): readonly Running[] {
    return this.#nodes;
  }

  get names(): string[] {
    return this.#nodes.map(({ place }) => place.name);
  }

  get #first(): Running {
    const [first] = this.#nodes;
    if (first === undefined) throw new Error('an empty fleet');
    return first;
  }

  /** One is there and has minted what the others need; then they start at the same moment. */
  async up(count: number): Promise<Together> {
    await this.#start(undefined);
    const tokens = await this.#backend.tokens(this.#first, count - 1);
    const started = await Promise.all(tokens.map((token) => this.#start(token)));
    const seen = await this.#allSeeAll();
    const readyMs = started.map((node) => node.readyMs);
    return {
      sinceLastMs: seen && seen.allMs - Math.max(...readyMs),
      sinceFirstMs: seen && seen.allMs - Math.min(...readyMs),
    };
  }

  /** From the ready line of one more until it sees all and all see it. */
  async joinOne(): Promise<number | undefined> {
    const [token] = await this.#backend.tokens(this.#first, 1);
    const { readyMs } = await this.#start(token);
    const seen = await this.#allSeeAll();
    return seen && seen.allMs - readyMs;
  }

  /** kill -9 of one until the others say dead. */
  async kill(): Promise<Waited | undefined> {
    const victim = this.#take();
    return await this.#seen('dead', victim, () => victim.launched.child.kill('SIGKILL'));
  }

  async leave(): Promise<Waited | undefined> {
    const victim = this.#take();
    const leave = (): unknown => victim.launched.child.kill('SIGINT');
    const waited = await this.#seen(this.#backend.leftStatus, victim, leave);
    await Promise.race([victim.launched.exited, delay(END_TIMEOUT_MS, undefined, { ref: false })]);
    await this.#end(victim);
    return waited;
  }

  /** Stopped and never continued. */
  async freeze(): Promise<Waited | undefined> {
    const victim = this.#take();
    const waited = await this.#seen('dead', victim, () => victim.launched.child.kill('SIGSTOP'));
    await this.#end(victim);
    return waited;
  }

  /** No packet of it arrives any more, and none for it; nothing refuses. */
  async cutOff(): Promise<Waited | undefined> {
    const victim = this.#take();
    const waited = await this.#seen('dead', victim, () => cut(victim.place.host));
    await this.#end(victim);
    await mend(victim.place.host);
    return waited;
  }

  /** Verdicts `dead` on living ones while one of them is stopped for a while. */
  async pause(pauseMs: number, afterwardsMs: number): Promise<number> {
    const before = this.wrongDeaths();
    const victim = this.#nodes.at(-1) ?? this.#first;
    victim.launched.child.kill('SIGSTOP');
    await delay(pauseMs);
    victim.launched.child.kill('SIGCONT');
    await delay(afterwardsMs);
    return this.wrongDeaths() - before;
  }

  /** The same while something else goes on. */
  async wrongDeathsDuring(work: () => Promise<void>): Promise<number> {
    const before = this.wrongDeaths();
    await work();
    return this.wrongDeaths() - before;
  }

  async down(): Promise<void> {
    await Promise.all(this.#nodes.map((node) => this.#end(node)));
    this.#nodes = [];
    await rm(this.#dir, { recursive: true, force: true });
  }

  /** So far, of those that still live. */
  wrongDeaths(): number {
    const living = new Set(this.names);
    return this.views.deaths.filter((one) => living.has(one.observer) && living.has(one.subject))
      .length;
  }

  #allSeeAll(): Promise<Waited | undefined> {
    const { names } = this;
    const timeoutMs = SEEN_TIMEOUT_MS;
    return this.views.until({ observers: names, subjects: names, status: 'alive', timeoutMs });
  }

  /** The last of the fleet; the first one mints the tokens. */
  #take(): Running {
    const victim = this.#nodes.at(-1);
    if (victim === undefined || this.#nodes.length < 2) throw new Error('too few nodes');
    this.#nodes = this.#nodes.slice(0, -1);
    return victim;
  }

  async #seen(status: Status, victim: Running, strike: () => unknown): Promise<Waited | undefined> {
    const startMs = performance.now();
    await strike();
    const waited = await this.views.until({
      observers: this.names,
      subjects: [victim.place.name],
      status,
      timeoutMs: SEEN_TIMEOUT_MS,
    });
    return waited && { firstMs: waited.firstMs - startMs, allMs: waited.allMs - startMs };
  }

  async #end(node: Running): Promise<void> {
    node.close?.();
    node.launched.child.kill('SIGKILL');
    await node.launched.exited;
  }

  async #start(token: string | undefined): Promise<Running> {
    const place = await this.#place();
    const node = await this.#backend.start({ owned: this.#owned, views: this.views }, place, token);
    this.#nodes = [...this.#nodes, node];
    return node;
  }

  async #place(): Promise<Place> {
    const index = ++this.#count;
    const name = `n${index}`;
    const host = `127.77.${this.#block}.${index}`;
    const [port, controlPort] = [await freePort(host), await freePort(host)];
    return { name, host, port, controlPort, dir: join(this.#dir, name) };
  }
}
