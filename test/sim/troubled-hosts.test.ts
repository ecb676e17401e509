/**
 * Hosts in trouble of their own: clocks that are wrong or set, disks that fill, a stop while nobody can be reached.
 * Each is a small story of a whole mesh in virtual time.
 */
import { describe, expect, it } from 'vitest';
import type { SubmitInput } from '../../src/api/task.ts';
import { RESERVE_BYTES_MAX } from '../../src/ports/room.ts';
import { argvOf } from '../../src/sim/commands.ts';
import { AMPLE } from '../../src/sim/disk.ts';
import type { Submitted } from '../../src/sim/evidence.ts';
import { World, type WorldOptions } from '../../src/sim/world.ts';
import { ownerOrder } from '../../src/tasks/ownership.ts';
import { type Task, taskOf } from '../../src/tasks/task.ts';

const ABOUT = { kind: 'exec', attempts: 1, failures: 0 } as const;
const command = (durationMs: number, failures = 0): SubmitInput => ({
  exec: { argv: argvOf({ durationMs, failures, isDeaf: false }), cwd: '/' },
});

/** A mesh that has been together for a while. */
async function inWorld<T>(options: WorldOptions, story: (world: World) => Promise<T>): Promise<T> {
  const world = new World(options);
  return world.run(async () => {
    await world.joinAll();
    await world.runFor(3_000);
    return story(world);
  });
}

function taskAt(world: World, host: number, { id }: Pick<Submitted, 'id'>): Task {
  const record = world.peer(host).replica.get(id ?? '');
  if (record === undefined) throw new Error(`h${host + 1} does not hold ${id}`);
  return taskOf(record);
}

const runsOf = (world: World, { id }: Pick<Submitted, 'id'>) =>
  world.runs.filter(({ taskId }) => taskId === id);

describe('wrong clocks', () => {
  it.each([
    ['ten minutes ahead', 600_000],
    ['ten minutes behind', -600_000],
  ])('a host that is %s accepts tasks, and they start at once', async (_, wallOffsetMs) => {
    const skews = [{ bootMs: 0, wallOffsetMs }, { bootMs: 5 }, { bootMs: 7 }];
    const finals = await inWorld({ seed: 'skew', peers: 3, slots: 4, skews }, async (world) => {
      const input = { ...command(100), queue_timeout_ms: 300_000 };
      for (let i = 0; i < 12; i++) world.submit(0, input, ABOUT);
      await world.runFor(10_000);
      return world.submits.map((item) => taskAt(world, 0, item).final?.state);
    });
    expect(finals).toEqual(Array.from({ length: 12 }, () => 'completed'));
  });

  it.each([
    ['back', -3_600_000],
    ['forward', 3_600_000],
  ])('a clock that is set %s by an hour shortens and lengthens no wait', async (_, stepMs) => {
    const startedMs = await inWorld({ seed: 'step', peers: 1, slots: 1 }, async (world) => {
      world.submit(0, command(3_000), ABOUT);
      world.submit(0, command(100), ABOUT);
      const delayed = world.submit(0, { ...command(100), delay_ms: 20_000 }, ABOUT);
      const atMs = world.clock.nowMs();
      await world.runFor(1_000);
      world.clock.wallOffsetMs = stepMs;
      await world.runFor(10_000);
      expect(world.runs).toHaveLength(2);
      await world.runFor(20_000);
      return (runsOf(world, delayed)[0]?.startedMs ?? 0) - atMs;
    });
    expect(startedMs).toBeGreaterThanOrEqual(20_000);
    expect(startedMs).toBeLessThan(21_000);
  });
});

/** Room for all but creations, and for what settles alone. */
const LOW = { ...AMPLE, freeBytes: (RESERVE_BYTES_MAX * 3) / 4 };
const FULL = { ...AMPLE, freeBytes: 0 };
const SCARCE = { ...AMPLE, freeBytes: RESERVE_BYTES_MAX / 4 };

describe('disks with little room', () => {
  it('refuse new tasks and keep ends, cancels and reads; what waits starts when there is room', async () => {
    await inWorld({ seed: 'reserve', peers: 1, slots: 1 }, async (world) => {
      const { disk } = world.host(0);
      const stateOf = (item: Submitted) => taskAt(world, 0, item).final?.state;
      const submit = async (): Promise<Submitted> => {
        const item = world.submit(0, command(2_000), ABOUT);
        await world.runFor(100);
        return item;
      };
      const running = await submit();
      const next = await submit();
      const waiting = await submit();
      const unwanted = await submit();
      disk.space = LOW;
      const refused = world.submit(0, command(100), ABOUT);
      world.cancel(0, unwanted);
      await world.runFor(2_000);
      expect(refused.detail).toContain('The disk of this peer is full, or nearly so');
      expect([stateOf(running), stateOf(unwanted)]).toEqual(['completed', 'canceled']);
      // A start still finds room, and one end more.
      expect(runsOf(world, next)).toHaveLength(1);
      disk.space = SCARCE;
      await world.runFor(5_000);
      expect([stateOf(next), stateOf(waiting)]).toEqual(['completed', undefined]);
      expect(runsOf(world, waiting)).toHaveLength(0);
      expect(world.peer(0).tasks.owner.waitingReason(taskAt(world, 0, waiting))).toBe('over_limit');
      disk.space = AMPLE;
      const taken = world.submit(0, command(100), ABOUT);
      await world.runFor(6_000);
      expect([stateOf(waiting), stateOf(taken)]).toEqual(['completed', 'completed']);
    });
  });

  it('let others stand in for them: the mesh goes on taking tasks', async () => {
    await inWorld({ seed: 'reserve of one', peers: 4, slots: 2 }, async (world) => {
      world.host(0).disk.space = LOW;
      const submits = Array.from({ length: 20 }, () => world.submit(0, command(100), ABOUT));
      await world.runFor(20_000);
      const { storeId } = world.peer(0).identity;
      for (const { outcome, detail } of submits) {
        expect(outcome).toBe('acknowledged');
        expect(JSON.parse(detail).stored_on).not.toContain(storeId);
      }
      // Copies of what was taken elsewhere find room here: this peer may own them, and then runs them.
      expect(world.pending()).toEqual([]);
    });
  });

  it('start what they own and have refused to create as soon as others have it', async () => {
    await inWorld({ seed: 'little room', peers: 3, slots: 8 }, async (world) => {
      world.host(0).disk.space = LOW;
      await world.runFor(3_000);
      const waits: number[] = [];
      for (let i = 0; i < 20; i++) {
        const sentMs = world.clock.nowMs();
        const submitted = world.submit(1, command(50), ABOUT);
        await world.runUntil(() => runsOf(world, submitted).length > 0, 10_000);
        waits.push(world.clock.nowMs() - sentMs);
      }
      // Not with the next round of anti-entropy.
      expect(Math.max(...waits)).toBeLessThan(500);
    });
  });
});

describe('full disks', () => {
  it('of a few hosts do not hold up the mesh: the others own what waits there, and give it back', async () => {
    await inWorld({ seed: 'one full disk', peers: 5, slots: 2 }, async (world) => {
      const full = world.peer(0).identity.storeId;
      const running = Array.from({ length: 6 }, () =>
        world.submit(0, { ...command(60_000), run_timeout_ms: 90_000 }, ABOUT),
      );
      await world.runUntil(() => world.runs.length === 6, 5_000);
      const anywhere = ({ id }: Submitted) =>
        [1, 2, 3, 4].flatMap((i) => {
          const record = world.peer(i).replica.get(id ?? '');
          return record === undefined ? [] : [taskOf(record)];
        });
      const owned = running.filter((item) =>
        anywhere(item).some(({ attempts }) => attempts[0]?.owner === full),
      );
      world.host(0).disk.space = FULL;
      await world.runFor(2_000);
      const submits = Array.from({ length: 40 }, (_, i) => world.submit(i % 5, command(50), ABOUT));
      await world.runFor(12_000);
      expect(submits.map(({ outcome }) => outcome)).toEqual(submits.map(() => 'acknowledged'));
      const isOver = (item: Submitted) => anywhere(item).some(({ final }) => final !== undefined);
      expect(submits.filter((item) => !isOver(item))).toEqual([]);
      // What ran when the disk was full has other owners too: a cancel is carried out.
      expect(owned.length).toBeGreaterThan(0);
      for (const item of running) world.cancel(1, item);
      await world.runFor(10_000);
      expect(running.filter((item) => !isOver(item))).toEqual([]);
      const sight = world.peer(1).sight;
      expect(sight.status(full)).toBe('full');
      const because = submits.flatMap(anywhere).flatMap(({ record }) => {
        return world.peer(1).tasks.explainHere({ record, extras: {} }).because;
      });
      expect(because.find(({ name }) => name === 'h1')).toMatchObject({ code: 'disk_full' });
      world.host(0).disk.space = AMPLE;
      await world.runUntil(() => sight.status(full) === 'alive', 8_000);
      await world.runFor(8_000);
      expect(world.peer(0).sight.status(full)).toBe('alive');
      const later = Array.from({ length: 20 }, (_, i) => world.submit(i % 5, command(50), ABOUT));
      await world.runFor(10_000);
      expect(later.filter((item) => !isOver(item))).toEqual([]);
      expect(new Set(world.runs.map(({ taskId }) => taskId)).size).toBe(world.runs.length);
    });
  });

  it('a final that met a full disk is written when there is room', async () => {
    const state = await inWorld({ seed: 'final', peers: 1, slots: 1 }, async (world) => {
      const submitted = world.submit(0, command(300, 5), { ...ABOUT, failures: 1 });
      let isFull = false;
      world.peer(0).replica.onVisible((record) => {
        if (isFull || (taskOf(record).attempts[0]?.ends.length ?? 0) === 0) return;
        isFull = true;
        world.host(0).disk.full = true;
      });
      await world.runUntil(() => isFull, 10_000);
      await world.runFor(2_000);
      world.host(0).disk.full = false;
      await world.runFor(3_000);
      return taskAt(world, 0, submitted).final?.state;
    });
    expect(state).toBe('failed');
  });

  it('a loss that cannot be written is tried again at leisure', async () => {
    const appends = await inWorld({ seed: 'l3', peers: 3, slots: 8 }, async (world) => {
      const { storeId } = world.peer(0).replica;
      const stores = world.hosts.map((_, i) => world.peer(i).replica.storeId);
      const ids = world.peer(0).tasks.submitter.reserve(200).ids;
      const mine = ids.filter((id) => ownerOrder(id, stores)[0] === storeId).slice(0, 24);
      for (const id of mine) world.submit(0, { ...command(100_000), id }, ABOUT);
      await world.runUntil(() => world.runs.length === 24, 10_000);
      const owned = world.runs.filter(
        ({ host, taskId }) =>
          host === 'h2' && taskAt(world, 0, { id: taskId }).attempts[0]?.owner === storeId,
      );
      expect(owned.length).toBeGreaterThan(0);
      const { disk } = world.host(0);
      disk.full = true;
      world.crash(1);
      await world.runFor(5_000);
      const before = disk.refused;
      await world.runFor(10_000);
      return (disk.refused - before) / owned.length;
    });
    expect(appends).toBeGreaterThan(0);
    // Some times a second for each: the loss itself, what the others push, what anti-entropy brings; not in a loop.
    expect(appends).toBeLessThan(200);
  });

  it.each(Array.from({ length: 10 }, (_, i) => `${i + 1}`))(
    'seed %s: a takeover waits for what it could not store',
    async (seed) => {
      await inWorld({ seed: `o${seed}`, peers: 3, slots: 2 }, async (world) => {
        const [h1, h2, h3] = world.hosts.map((_, i) => world.peer(i).replica.storeId);
        const ids = world.peer(2).tasks.submitter.reserve(200).ids;
        const orderOf = (item: string) => ownerOrder(item, [h1, h2, h3].map(String)).join();
        // A cancel is obeyed by the owner: one whose disk is full cannot even note it, and no slot gets free.
        const fill = ids
          .filter((item) => !orderOf(item).startsWith(String(h1)))
          .slice(0, 6)
          .map((item) => world.submit(1, { ...command(200_000), id: item }, ABOUT));
        await world.runUntil(() => world.runs.length === 6, 5_000);
        const order = [h2, h1, h3].join();
        const isFill = (item: string) => fill.some((submitted) => submitted.id === item);
        const id = ids.find((item) => orderOf(item) === order && !isFill(item));
        if (id === undefined) throw new Error('no id has this order of owners');
        const submitted = world.submit(2, { ...command(40_000), id }, ABOUT);
        await world.runUntil(() => submitted.outcome === 'acknowledged', 5_000);
        await world.runFor(1_000);
        const filling = (host: string) =>
          fill.find((item) => runsOf(world, item).some((run) => run.host === host));
        const [onH1, onH3] = [filling('h1'), filling('h3')];
        world.host(0).disk.full = true;
        if (onH3 !== undefined) world.cancel(2, onH3);
        await world.runUntil(() => runsOf(world, submitted).length > 0, 10_000);
        expect(runsOf(world, submitted)).toMatchObject([{ host: 'h3' }]);
        expect(taskAt(world, 0, submitted).attempts).toEqual([]);
        world.crash(1);
        await world.runFor(9_000);
        world.host(0).disk.full = false;
        if (onH1 !== undefined) world.cancel(2, onH1);
        await world.runFor(60_000);
        expect(runsOf(world, submitted)).toHaveLength(1);
        expect(taskAt(world, 0, submitted).final?.state).toBe('completed');
      });
    },
  );
});

describe('a stop while nobody can be reached', () => {
  it('tells no end that only this disk has', async () => {
    // It is over before this peer, alone as it is, takes the others for dead and needs nobody any more.
    const options = {
      seed: 'g1',
      peers: 3,
      slots: 8,
      config: { shutdown_timeout: '500ms', kill_grace: '100ms' },
    };
    const [before, after] = await inWorld(options, async (world) => {
      for (let i = 0; i < 8; i++) world.submit(0, command(1_000), ABOUT);
      await world.runUntil(() => world.runs.length === 8, 5_000);
      const told: string[] = [];
      const ids = world.submits.map(({ id }) => id ?? '');
      world.peer(0).tasks.reader.watch(ids, (record) => told.push(record.id));
      world.partition([[0], [1, 2]]);
      await world.runFor(1_500);
      expect(world.runs.filter(({ endedMs }) => endedMs === undefined)).toEqual([]);
      const count = told.length;
      await world.until(world.stop(0), 60_000);
      expect(world.host(0).log.filter((line) => line.includes('is dead'))).toEqual([]);
      return [count, told.length];
    });
    expect(after).toBe(before);
  });
});
