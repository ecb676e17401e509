/**
 * Long absences, removals and partitions at random, with a `tombstone_ttl` of a minute: nothing that is over starts again
 * behind anybody's back, and nothing is lost but what is set aside, where it can be seen.
 */
import { describe, expect, it } from 'vitest';
import { SeededRandom } from '../../src/base/random.ts';
import { argvOf } from '../../src/sim/commands.ts';
import { World } from '../../src/sim/world.ts';

const ABOUT = { kind: 'exec', attempts: 1, failures: 0 } as const;
const CONFIG = { tombstone_ttl: '60s', retention_age: '5s' };
const ROUNDS = 10;
const LATE_MS = 400_000;
/** Until a host that is cut off is convicted, and after the heal until all have heard of it. */
const HEAL_MS = 3_000;

class Chaos {
  readonly world: World;
  readonly #random: SeededRandom;

  constructor(seed: string, peers: number) {
    this.world = new World({ seed, peers, slots: 4, config: CONFIG });
    this.#random = new SeededRandom(seed);
  }

  #draw(count: number): number {
    return this.#random.uint32() % count;
  }

  #inState(state: 'up' | 'down'): number[] {
    return this.world.hosts.flatMap((host, i) => (host.state === state ? [i] : []));
  }

  #submit(): void {
    const up = this.#inState('up');
    const delayMs = this.#draw(4) === 0 ? LATE_MS : 5_000 + this.#draw(150_000);
    const exec = { argv: argvOf({ durationMs: 50, failures: 0, isDeaf: false }), cwd: '/' };
    this.world.submit(up[this.#draw(up.length)] ?? 0, { exec, delay_ms: delayMs }, ABOUT);
  }

  async #forgetOne(): Promise<void> {
    for (const i of this.#inState('up')) {
      const { membership } = this.world.peer(i);
      const dead = membership.members().find(({ status }) => status === 'dead');
      if (dead === undefined) continue;
      await this.world.until(membership.forget(dead.peerId), 5_000);
      return;
    }
  }

  async round(withCuts: boolean): Promise<void> {
    const { world } = this;
    for (let i = 0; i < 3; i++) this.#submit();
    await world.runFor(2_000);
    const [up, down] = [this.#inState('up'), this.#inState('down')];
    const action = this.#draw(withCuts ? 5 : 4);
    if (action === 0 && up.length > 2) world.crash(up[this.#draw(up.length)] ?? 0);
    else if (action === 1 && down.length > 0)
      await world.until(world.restart(down[this.#draw(down.length)] ?? 0), 10_000);
    else if (action === 2) await this.#forgetOne();
    else if (action === 4) {
      world.cut(this.#draw(world.hosts.length));
      await world.runFor(10_000 + this.#draw(200_000));
      world.heal();
    }
    await world.runFor(5_000 + this.#draw(60_000));
  }

  async settle(): Promise<void> {
    const { world } = this;
    for (const i of this.#inState('down')) await world.until(world.restart(i), 10_000);
    expect(await world.runUntil(() => world.isWhole(), 60_000)).toBe(true);
    await world.runFor(LATE_MS + 20_000);
  }
}

describe('long absences and removals', () => {
  it.each([
    ['crashes and removals', 'absences 1', 5, false],
    ['partitions too', 'absences 2', 4, true],
  ])('%s', async (_, seed, peers, withCuts) => {
    const chaos = new Chaos(seed, peers);
    const { world } = chaos;
    await world.run(async () => {
      await world.joinAll();
      for (let i = 0; i < ROUNDS; i++) await chaos.round(withCuts);
      await chaos.settle();
      const aside = new Set(world.hosts.flatMap(({ peer }) => peer?.replica.aside.ids() ?? []));
      for (const { peer } of world.hosts) expect(peer?.replica.unfinishedCount).toBe(0);
      const acknowledged = world.submits.filter(({ outcome }) => outcome === 'acknowledged');
      expect(acknowledged.length).toBeGreaterThan(2 * ROUNDS);
      const isInCut = (atMs: number): boolean =>
        world.cuts.some(({ fromMs, toMs }) => atMs >= fromMs && atMs <= toMs + HEAL_MS);
      for (const { id = '' } of acknowledged) {
        const starts = world.runs
          .filter(({ taskId }) => taskId === id)
          .map(({ startedMs }) => startedMs)
          .sort((a, b) => a - b);
        if (starts.length === 0) expect(aside).toContain(id);
        expect(starts.slice(1).filter((atMs) => !isInCut(atMs))).toEqual([]);
      }
    });
  });
});
