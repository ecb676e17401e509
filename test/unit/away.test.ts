/** Who comes back after a long absence, and whom it may ask: a member that is back itself does not vouch at once. */
import { expect, it } from 'vitest';
import { coveyError } from '../../src/base/errors.ts';
import { err, ok } from '../../src/base/result.ts';
import { encodeTaskId } from '../../src/base/task-id.ts';
import { silentLogger } from '../../src/base/telemetry.ts';
import type { AwayNotice } from '../../src/membership/types.ts';
import { Away, type AwayDeps, LOOK_IDS_MAX } from '../../src/peer/away.ts';
import { World } from '../../src/sim/world.ts';
import { newRecord } from '../support/task-records.ts';

const OLD = encodeTaskId({ createdMs: 1, random: '0000000000aa', fingerprints: [] });
const NOTICE: AwayNotice = { storeId: 'here', ttlMs: 60_000, wallMs: 0 };

it('is not answered before its partner can have heard what the others have forgotten', async () => {
  const world = new World({ seed: 'away', peers: 0 });
  await world.run(async () => {
    const { clock } = world;
    const unused = { onRequest: () => undefined };
    const deps = {
      clock,
      replica: { aside: {}, unfinished: () => [] },
      messaging: unused,
      absences: {
        isLong: (store: string) => store === 'store of b',
        touch: () => undefined,
        wereApart: () => undefined,
      },
      membership: {
        member: (peer: string) => ({ storeId: `store of ${peer}` }),
        linked: () => false,
      },
    } as unknown as AwayDeps;
    const away = new Away(deps);
    const refused = (from: string): boolean => away.refusalOf(from, 'rec.ask')?.code === 'BUSY';
    away.linked('b');
    away.linked('c');
    expect([refused('b'), refused('c')]).toEqual([true, false]);
    await world.runFor(2_000);
    expect(refused('b')).toBe(false);
    // It was told itself, by another one: first that is settled.
    away.told('c', NOTICE);
    expect(refused('b')).toBe(true);
    await world.runFor(13_000);
    expect(refused('b')).toBe(false);
  });
});

it('looks for all of what is set aside, a part each time', async () => {
  const world = new World({ seed: 'aside', peers: 0 });
  await world.run(async () => {
    const ids = Array.from({ length: LOOK_IDS_MAX + 6 }, (_, i) => `task ${i}`);
    const asked: (readonly string[])[] = [];
    const away = new Away({
      clock: world.clock,
      replica: { aside: { ids: () => ids, has: () => true } },
      messaging: { onRequest: () => undefined },
      absences: { ttlMs: 100_000, start: () => undefined, close: async () => undefined },
      membership: {
        members: () => [{ peerId: 'b' }],
        linked: () => true,
        mesh: { isInTouch: () => true, isPartial: false },
      },
      sharing: {
        ask: async (_peer: string, some: readonly string[]) => {
          asked.push(some);
          return ok([]);
        },
      },
      changed: () => undefined,
    } as unknown as AwayDeps);
    away.start();
    await world.runFor(1_300_000);
    await away.close();
    expect(asked.map((some) => some.length)).toEqual([LOOK_IDS_MAX, 6, LOOK_IDS_MAX]);
    expect(asked[1]?.[0]).toBe(ids[LOOK_IDS_MAX]);
  });
});

it.each([
  ['INVALID_PARAMS', 1],
  ['STORE_FULL', 0],
] as const)('settles with a member whose copy cannot be joined (%s: %i)', async (code, settled) => {
  const world = new World({ seed: 'unreadable', peers: 0 });
  await world.run(async () => {
    const record = newRecord(['here', 'store of b'], { id: OLD });
    const done: string[] = [];
    const away = new Away({
      clock: world.clock,
      log: silentLogger,
      replica: {
        storeId: 'here',
        aside: { ids: () => [] },
        unfinished: () => [record],
      },
      messaging: {
        onRequest: () => undefined,
        call: async (_to: string, type: string) => {
          done.push(type);
          return ok({});
        },
      },
      absences: {
        isLong: () => false,
        touch: () => undefined,
        wereApart: () => undefined,
        close: async () => undefined,
      },
      membership: {
        member: () => ({ storeId: 'store of b' }),
        linked: () => true,
        mesh: { isInTouch: () => true },
      },
      sharing: {
        ask: async (_peer: string, ids: readonly string[]) =>
          ok(ids.length === 0 ? [] : [{ record, blob: undefined }]),
        accept: async () => err(coveyError(code, { why: 'so', peer: 'this peer' })),
      },
      runsHere: () => new Set(),
      changed: () => undefined,
    } as unknown as AwayDeps);
    away.told('b', NOTICE);
    away.linked('b');
    await world.runFor(5_000);
    expect(done).toHaveLength(settled);
    expect(away.isSettled('b')).toBe(settled === 1);
    await away.close();
  });
});
