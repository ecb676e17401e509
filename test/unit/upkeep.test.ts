/** Rounds with the partner stores: a slow one holds up nobody else. */
import { describe, expect, it } from 'vitest';
import { SeededRandom } from '../../src/base/random.ts';
import { ok } from '../../src/base/result.ts';
import { silentLogger } from '../../src/base/telemetry.ts';
import { Upkeep, type UpkeepDeps } from '../../src/peer/upkeep.ts';
import { SCRUB_SLICES } from '../../src/records/repair.ts';
import { SimClock } from '../../src/sim/clock.ts';

const INTERVAL_MS = 1_000;
const EQUAL = { equal: true as const };

/** The store is read once in so many slices. */
function world(partners: readonly string[], slices = 1) {
  const clock = new SimClock();
  const rounds: string[] = [];
  /** When stand-in copies were offered. */
  const handoffs: number[] = [];
  const scrubs: number[] = [];
  const held = { isHeld: false, release: (): void => undefined };
  /** Partners whose sync goes on until they are let go. */
  const slow = new Map<string, (() => void)[]>();
  const deps = {
    clock,
    random: new SeededRandom('upkeep'),
    log: silentLogger,
    sight: {
      peers: () =>
        ['me', ...partners].map((storeId) => ({
          self: storeId === 'me',
          linked: storeId !== 'away',
          reachable: storeId !== 'away',
          storeId,
          name: storeId,
        })),
    },
    sync: {
      syncWith: async (storeId: string) => {
        rounds.push(storeId);
        const held = slow.get(storeId);
        if (held !== undefined) await new Promise<void>((resolve) => held.push(resolve));
        return ok(EQUAL);
      },
    },
    handoff: {
      round: async () => {
        handoffs.push(clock.nowMs());
        if (held.isHeld) await new Promise<void>((resolve) => (held.release = resolve));
        return 0;
      },
    },
    repair: {
      scrub: () => {
        scrubs.push(clock.nowMs());
        return scrubs.length % slices === 0;
      },
      round: async () => 0,
      found: () => undefined,
    },
    replica: { room: 'ample', heldCount: 0 },
    config: { record_sync_interval: INTERVAL_MS, copies_required: 2, max_connections: 128 },
    // The parts of the peer that it uses, and no more of them.
  } as unknown as UpkeepDeps;
  const upkeep = new Upkeep(deps);
  const count = (storeId: string): number => rounds.filter((id) => id === storeId).length;
  return { clock, upkeep, slow, count, handoffs, held, scrubs };
}

describe('rounds of anti-entropy', () => {
  it('go to every partner in reach, again and again', async () => {
    const { clock, upkeep, count } = world(['a', 'b', 'away']);
    upkeep.start();
    await clock.runFor(10 * INTERVAL_MS);
    expect(count('a')).toBeGreaterThanOrEqual(8);
    expect(count('b')).toBe(count('a'));
    expect(count('me') + count('away')).toBe(0);
    upkeep.stop();
  });

  it('pass by a partner that is still being rebuilt', async () => {
    const { clock, upkeep, slow, count } = world(['a', 'b']);
    const held: (() => void)[] = [];
    slow.set('a', held);
    upkeep.start();
    await clock.runFor(10 * INTERVAL_MS);
    expect(count('a')).toBe(1);
    expect(count('b')).toBeGreaterThanOrEqual(8);
    slow.delete('a');
    for (const resolve of held) resolve();
    await clock.runFor(2 * INTERVAL_MS);
    expect(count('a')).toBeGreaterThan(1);
    upkeep.stop();
  });

  it('are with so many partners at once, and no more', async () => {
    const partners = Array.from({ length: 12 }, (_, i) => `s${i}`);
    const { clock, upkeep, slow, count } = world(partners);
    for (const partner of partners) slow.set(partner, []);
    const begun = (): number => partners.filter((partner) => count(partner) > 0).length;
    upkeep.start();
    await clock.runFor(10 * INTERVAL_MS);
    expect(begun()).toBe(8);
    for (const resolve of slow.get('s0') ?? []) resolve();
    await clock.runFor(INTERVAL_MS);
    expect(begun()).toBe(9);
    upkeep.stop();
  });
});

describe('a return of members', () => {
  it('brings the next rounds and stand-in copies forward, once for all of them', async () => {
    const { clock, upkeep, handoffs, count } = world(['a']);
    upkeep.start();
    await clock.runFor(20 * INTERVAL_MS);
    const before = { handoffs: handoffs.length, rounds: count('a') };
    expect(before.handoffs).toBeLessThanOrEqual(27);
    for (let i = 0; i < 5; i++) upkeep.memberReturned();
    await clock.runFor(0.65 * INTERVAL_MS);
    expect(handoffs).toHaveLength(before.handoffs + 1);
    expect(count('a')).toBe(before.rounds + 1);
    // And then as ever.
    await clock.runFor(0.7 * INTERVAL_MS);
    expect(handoffs).toHaveLength(before.handoffs + 1);
    upkeep.stop();
  });

  it('scrubs a large store in slices, and lets others have their turn between two', async () => {
    const { clock, upkeep, scrubs } = world(['a'], 1_000);
    upkeep.start();
    const turns: number[] = [];
    const turn = (): void => {
      turns.push(scrubs.length);
      if (scrubs.length < SCRUB_SLICES) clock.after(0, turn);
    };
    await clock.runUntil(() => scrubs.length > 0, 2 * INTERVAL_MS);
    turn();
    await clock.runFor(0.5 * INTERVAL_MS);
    expect(turns).toEqual(Array.from({ length: SCRUB_SLICES }, (_, i) => i + 1));
    expect(scrubs).toHaveLength(SCRUB_SLICES);
    upkeep.stop();
  });

  it('scrubs no more of the store than ever, however often it comes', async () => {
    const { clock, upkeep, count, scrubs } = world(['a']);
    upkeep.start();
    for (let i = 0; i < 200; i++) {
      upkeep.memberReturned();
      await clock.runFor(0.1 * INTERVAL_MS);
    }
    expect(count('a')).toBeGreaterThan(30);
    expect(scrubs.length).toBeGreaterThan(15);
    expect(scrubs.length).toBeLessThanOrEqual(27);
    upkeep.stop();
  });

  it('is not forgotten while a round is under way', async () => {
    const { clock, upkeep, handoffs, held } = world(['a']);
    upkeep.start();
    held.isHeld = true;
    await clock.runFor(1.3 * INTERVAL_MS);
    expect(handoffs).toHaveLength(1);
    upkeep.memberReturned();
    held.isHeld = false;
    held.release();
    await clock.runFor(0.65 * INTERVAL_MS);
    expect(handoffs).toHaveLength(2);
    upkeep.stop();
  });
});
