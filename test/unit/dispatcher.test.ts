/** Waiting tasks and the slots they get: here first, else by credits of other peers. */
import { describe, expect, it } from 'vitest';
import { SeededRandom } from '../../src/base/random.ts';
import { type Credit, Dispatcher, REFUSAL_TTL_MS } from '../../src/tasks/dispatcher.ts';
import { PAUSE_TTL_MS, Slots } from '../../src/tasks/slots.ts';
import { StoreWorld } from '../support/store-world.ts';

const EXEC = 'exec:/src';

/** A dispatcher at `a`, slots everywhere. */
async function world(slotsOf: Record<string, number>, missing: readonly string[] = []) {
  const stores = await StoreWorld.of(...Object.keys(slotsOf));
  const started: { id: string; at: string; credit: Credit }[] = [];
  const ready = new Set<string>();
  let closed = false;
  const slots = new Map<string, Slots>();
  const built: Dispatcher[] = [];
  for (const host of stores.hosts) {
    slots.set(
      host.peerId,
      new Slots({
        clock: stores.clock,
        random: new SeededRandom(`slots ${host.name}`),
        messaging: host.messaging,
        execSlots: slotsOf[host.name] ?? 0,
        workerCapacity: () => ({ total: 0, free: 0 }),
        directoryExists: async () => !missing.includes(host.name),
        closed: () => undefined,
        onChange: () => undefined,
        offerLocally: () => built[0]?.pumpAll(),
      }),
    );
  }
  const a = stores.host('a');
  const own = slots.get(a.peerId);
  if (own === undefined) throw new Error('no slots at a');
  const dispatcher = new Dispatcher({
    clock: stores.clock,
    messaging: a.messaging,
    view: a.view,
    slots: own,
    closed: () => closed,
    stillReady: (id) => ready.has(id),
    start: (id, credit) => {
      ready.delete(id);
      const taken = slots.get(credit.peerId)?.occupy(credit.credit, EXEC);
      if (taken === true) started.push({ id, at: credit.peerId, credit });
    },
  });
  built.push(dispatcher);
  dispatcher.startTimers();
  const add = (id: string, priority = 0): void => {
    ready.add(id);
    dispatcher.add(EXEC, { id, priority, submittedAt: Number(id) });
  };
  const close = (): void => {
    closed = true;
  };
  return { stores, dispatcher, slots, started, ready, add, close };
}

describe('the dispatcher', () => {
  it('starts what waits where a slot is free, here first, else where one is granted', async () => {
    const { stores, started, add } = await world({ a: 1, b: 1 });
    for (const id of ['1', '2', '3']) add(id);
    await stores.clock.runFor(1_000);
    expect(started.map(({ id, at }) => [id, at])).toEqual([
      ['1', 'peer-a'],
      ['2', 'peer-b'],
    ]);
  });

  it('asks again at once when what it asked for was granted and more waits', async () => {
    const { stores, started, add } = await world({ a: 0, b: 20, c: 20 });
    for (let i = 1; i <= 30; i++) add(String(i));
    // Not a third of a want's lifetime later, when wants are repeated.
    await stores.clock.runFor(50);
    expect(started).toHaveLength(30);
    const wants = stores.mesh.sent.filter(({ type }) => type === 'slot.want');
    expect(wants.length).toBeLessThan(10);
  });

  it('does not look at all members for each of many tasks that wait', async () => {
    const { stores, started, add } = await world({ a: 0, b: 64 });
    const { view } = stores.host('a');
    const peers = view.peers.bind(view);
    let looks = 0;
    view.peers = () => {
      looks += 1;
      return peers();
    };
    for (let i = 1; i <= 64; i++) add(String(i));
    await stores.clock.runFor(50);
    expect(started).toHaveLength(64);
    expect(looks).toBeLessThan(5);
  });

  it('starts by priority, 0 first, then by age', async () => {
    const { stores, slots, started, add } = await world({ a: 1 });
    const own = slots.get('peer-a');
    own?.occupy(own.reserve(EXEC) ?? '', EXEC);
    add('2', 1);
    add('9', 0);
    add('1', 1);
    add('8', 0);
    for (let i = 0; i < 4; i++) {
      own?.vacate(EXEC);
      await stores.clock.runFor(10);
    }
    expect(started.map(({ id }) => id)).toEqual(['8', '9', '1', '2']);
  });

  it('holds a task once, however often it comes while it waits', async () => {
    const { stores, slots, add } = await world({ a: 0, b: 1 });
    const other = slots.get('peer-b');
    other?.occupy(other.reserve(EXEC) ?? '', EXEC);
    add('1');
    // It is read again each time that a member comes back, and waits once more.
    for (let i = 0; i < 10; i++) add('2');
    await stores.clock.runFor(5_000);
    const wants = stores.mesh.sent.filter(({ type }) => type === 'slot.want');
    expect(Math.max(...wants.map(({ body }) => Number(body.n)))).toBe(2);
  });

  it('skips what no longer waits, and gives unused credits back', async () => {
    const { stores, slots, started, ready, add } = await world({ a: 0, b: 2 });
    add('1');
    add('2');
    ready.clear();
    await stores.clock.runFor(1_000);
    expect(started).toEqual([]);
    expect(slots.get('peer-b')?.execFree).toBe(2);
  });

  it('asks a peer that refused only after a while, and can say why', async () => {
    const { stores, dispatcher, add } = await world({ a: 0, b: 2 }, ['b']);
    add('1');
    await stores.clock.runFor(1_000);
    expect(dispatcher.placement(EXEC)).toMatchObject({
      reason: 'no_eligible_peer',
      because: [{ code: 'exec_disabled' }, { code: 'no_such_cwd', detail: '/src is not there' }],
    });
    const asked = () =>
      stores.mesh.sent.filter(({ type, to }) => type === 'slot.want' && to === 'peer-b').length;
    expect(asked()).toBe(1);
    await stores.clock.runFor(REFUSAL_TTL_MS + 1_000);
    expect(asked()).toBe(2);
  });

  it('asks a peer whose worker was gone again with its next heartbeats', async () => {
    const { stores, dispatcher, ready } = await world({ a: 0, b: 0 });
    const load = { slots: 0, slotsFree: 0, active: 0, waiting: 0 };
    // As it was told before the worker died.
    stores.overrides.set('peer-b', { load: { ...load, workers: { mail: { total: 1, free: 1 } } } });
    ready.add('1');
    dispatcher.add('worker:mail', { id: '1', priority: 0, submittedAt: 1 });
    const asked = () => stores.mesh.count('slot.want');
    await stores.clock.runFor(100);
    expect([asked(), stores.mesh.count('slot.refuse')]).toEqual([1, 1]);
    await stores.clock.runFor(REFUSAL_TTL_MS / 2);
    expect(asked()).toBeGreaterThan(1);
    // Now it has told that it has none: nothing is to be asked for there.
    stores.overrides.set('peer-b', { load: { ...load, workers: {} } });
    const before = asked();
    await stores.clock.runFor(REFUSAL_TTL_MS);
    expect(asked()).toBe(before);
  });

  it('gives commands to others, and says why, while this host cannot start any', async () => {
    const { stores, dispatcher, slots, started, add } = await world({ a: 1, b: 1 });
    // It knows that its directory is there.
    dispatcher.reserveNow(EXEC);
    await stores.clock.runFor(10);
    slots.get('peer-a')?.pauseCommands('spawn EMFILE');
    expect(dispatcher.placement(EXEC).because[0]).toMatchObject({
      ok: false,
      code: 'cannot_start',
      detail: 'spawn EMFILE',
    });
    add('1');
    await stores.clock.runFor(100);
    expect(started.map(({ id, at }) => [id, at])).toEqual([['1', 'peer-b']]);
    add('2');
    await stores.clock.runFor(PAUSE_TTL_MS);
    expect(started[1]).toMatchObject({ id: '2', at: 'peer-a' });
  });

  it('withdraws its wants when nothing waits any more', async () => {
    const { stores, slots, ready, add } = await world({ a: 0, b: 1 });
    const b = slots.get('peer-b');
    b?.occupy(b.reserve(EXEC) ?? '', EXEC);
    add('1');
    await stores.clock.runFor(100);
    ready.clear();
    await stores.clock.runFor(1_500);
    stores.mesh.sent.length = 0;
    b?.vacate(EXEC);
    await stores.clock.runFor(100);
    expect(stores.mesh.count('slot.grant')).toBe(0);
  });

  it('asks nobody that is out of reach, stopping or without commands', async () => {
    const { stores, add } = await world({ a: 0, b: 1, c: 1, d: 1, e: 1 });
    stores.mesh.gone.add('peer-b');
    stores.overrides.set('peer-c', { stopping: true });
    stores.overrides.set('peer-d', { execEnabled: false });
    stores.status.set('peer-e', 'suspect');
    add('1');
    await stores.clock.runFor(3_000);
    expect(stores.mesh.count('slot.want')).toBe(0);
  });

  it('reserves a slot for a task that is just being created, if none waits before it', async () => {
    const { stores, dispatcher, started, add } = await world({ a: 1 });
    // Whether the directory is there is asked of the disk first.
    expect(dispatcher.reserveNow(EXEC)).toBeUndefined();
    await stores.clock.runFor(10);
    expect(dispatcher.reserveNow(EXEC)).toBeDefined();
    expect(dispatcher.reserveNow(EXEC)).toBeUndefined();
    add('1');
    await stores.clock.runFor(10);
    expect(started).toEqual([]);
  });

  it('starts nothing when it is closed, and hands what it is granted back', async () => {
    const { stores, slots, started, add, close } = await world({ a: 0, b: 1 });
    const b = slots.get('peer-b');
    b?.occupy(b.reserve(EXEC) ?? '', EXEC);
    add('1');
    await stores.clock.runFor(100);
    close();
    b?.vacate(EXEC);
    await stores.clock.runFor(100);
    expect(started).toEqual([]);
    expect(b?.execFree).toBe(1);
  });
});
