/** Rounds with the partner stores: a slow one holds up nobody else. */
import { describe, expect, it } from 'vitest';
import { SeededRandom } from '../../src/base/random.ts';
import { ok } from '../../src/base/result.ts';
import { silentLogger } from '../../src/base/telemetry.ts';
import { Upkeep, type UpkeepDeps } from '../../src/peer/upkeep.ts';
import { SimClock } from '../../src/sim/clock.ts';

const INTERVAL_MS = 1_000;
const EQUAL = { equal: true as const };

function world(partners: readonly string[]) {
  const clock = new SimClock();
  const rounds: string[] = [];
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
    handoff: { round: async () => 0 },
    repair: { scrub: () => undefined, round: async () => 0, found: () => undefined },
    replica: { room: 'ample', heldCount: 0 },

    config: { record_sync_interval: INTERVAL_MS, copies_required: 2, max_connections: 128 },
    // The parts of the peer that it uses, and no more of them.
  } as unknown as UpkeepDeps;
  const upkeep = new Upkeep(deps);
  const count = (storeId: string): number => rounds.filter((id) => id === storeId).length;
  return { clock, upkeep, slow, count };
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
