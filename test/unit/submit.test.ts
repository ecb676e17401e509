/** Taking tasks in: ids, homes, receipts, and the requests that are refused. */
import { describe, expect, it } from 'vitest';
import { PAYLOAD_BYTES_MAX } from '../../src/api/limits.ts';
import { type SubmitParams, submitSchema } from '../../src/api/task.ts';
import { SeededRandom } from '../../src/base/random.ts';
import { ok } from '../../src/base/result.ts';
import { fingerprintOf, ID_TTL_MS, parseTaskId } from '../../src/base/task-id.ts';
import { decodeBlob } from '../../src/tasks/facts.ts';
import { Submit } from '../../src/tasks/submit.ts';
import { taskOf } from '../../src/tasks/task.ts';
import { type StoreHost, StoreWorld } from '../support/store-world.ts';

const submitAt = (world: StoreWorld, host: StoreHost, key?: string): Submit =>
  new Submit({
    clock: world.clock,
    random: new SeededRandom(`submit ${host.name}`),
    replica: host.replica,
    sharing: host.sharing,
    view: host.view,
    copies: 3,
    copiesRequired: 2,
    isKnown: async (id) => host.replica.get(id) !== undefined,
    claimKey: async (_queue, _key, id) => ok(key ?? id),
  });

const params = (more: Record<string, unknown> = {}): SubmitParams =>
  submitSchema.parse({ type: 'mail', payload: { to: 'me' }, ...more });

describe('submitting', () => {
  it('mints an id that names the home, and answers with a receipt of where the task lies', async () => {
    const world = await StoreWorld.of('a', 'b', 'c', 'd');
    const a = world.host('a');
    const receipt = await world.run(submitAt(world, a).submit(params()));
    if (!receipt.ok) throw new Error(receipt.error.message);
    const { id, home, stored_on, stand_ins } = receipt.value;
    expect(parseTaskId(id)?.fingerprints).toEqual(home.map(fingerprintOf));
    expect(home).toHaveLength(3);
    expect(stored_on.length).toBeGreaterThanOrEqual(2);
    expect(home).toEqual(expect.arrayContaining(stored_on));
    expect([stand_ins, receipt.value.required, receipt.value.degraded]).toEqual([[], 2, false]);
    await world.clock.runFor(100);
    const holder = world.hosts.find((host) => home[0] === host.storeId);
    const record = holder?.replica.get(id);
    if (record === undefined) throw new Error('the home does not hold it');
    expect(taskOf(record).header).toMatchObject({ type: 'mail', queue: 'default', attempts: 1 });
    expect(decodeBlob(holder?.replica.blob(id))).toEqual({ payload: '{"to":"me"}' });
  });

  it('takes the same request under the same id through any peer, and refuses another one', async () => {
    const world = await StoreWorld.of('a', 'b', 'c');
    const [a, b] = [world.host('a'), world.host('b')];
    const [id] = submitAt(world, a).reserve(1).ids;
    const first = await world.run(submitAt(world, a).submit(params({ id })));
    expect(first).toMatchObject({ value: { id, existing: false } });
    await world.clock.runFor(1_000);
    // The order of keys is the client's own affair.
    const again = params({ payload: { to: 'me' }, queue: 'default', id });
    expect(await world.run(submitAt(world, b).submit(again))).toMatchObject({
      value: { id, existing: true },
    });
    const other = params({ id, payload: { to: 'you' } });
    expect(await world.run(submitAt(world, b).submit(other))).toMatchObject({
      error: { code: 'ID_CONFLICT' },
    });
  });

  it('keeps a task of ids that were reserved when the mesh was one', async () => {
    const world = await StoreWorld.of('a');
    const a = world.host('a');
    const [id] = submitAt(world, a).reserve(1).ids;
    await world.add('b');
    const receipt = await world.run(submitAt(world, a).submit(params({ id })));
    expect(receipt).toMatchObject({
      value: { stored_on: { length: 2 }, stand_ins: { length: 1 } },
    });
  });

  it('says that a lone peer is degraded, and what a larger promise lacks', async () => {
    const world = await StoreWorld.of('a');
    const submit = submitAt(world, world.host('a'));
    expect(await world.run(submit.submit(params()))).toMatchObject({
      value: { required: 1, degraded: true },
    });
    expect(await world.run(submit.submit(params({ durability: 'all' })))).toMatchObject({
      error: { code: 'NOT_ENOUGH_COPIES', details: { stored_on: 1, required: 3 } },
    });
  });

  it('refuses an id that is too old and of which nobody knows', async () => {
    const world = await StoreWorld.of('a', 'b');
    const submit = submitAt(world, world.host('a'));
    const [old, used] = submit.reserve(2).ids;
    await world.run(submit.submit(params({ id: used })));
    await world.clock.runFor(ID_TTL_MS + 1);
    expect(await world.run(submit.submit(params({ id: old })))).toMatchObject({
      error: { code: 'ID_EXPIRED' },
    });
    expect(await world.run(submit.submit(params({ id: used })))).toMatchObject({
      value: { existing: true },
    });
  });

  it('answers with the task that has the dedupe key already', async () => {
    const world = await StoreWorld.of('a', 'b');
    const submit = submitAt(world, world.host('a'), 'THE OTHER');
    expect(await world.run(submit.submit(params({ dedupe_key: 'nightly' })))).toMatchObject({
      value: { id: 'THE OTHER', existing: true, stored_on: [] },
    });
  });

  it.each<[string, Record<string, unknown>, string]>([
    ['an id that is none', { id: 'nonsense' }, 'INVALID_PARAMS'],
    ['a payload too large', { payload: 'x'.repeat(PAYLOAD_BYTES_MAX) }, 'PAYLOAD_TOO_LARGE'],
    [
      'an input too large',
      {
        type: undefined,
        payload: undefined,
        exec: { argv: ['cat'], stdin: 'x'.repeat(PAYLOAD_BYTES_MAX + 1) },
      },
      'PAYLOAD_TOO_LARGE',
    ],
  ])('refuses %s', async (_, more, code) => {
    const world = await StoreWorld.of('a');
    const submit = submitAt(world, world.host('a'));
    expect(await world.run(submit.submit({ ...params(), ...more } as SubmitParams))).toMatchObject({
      error: { code },
    });
    expect(world.host('a').replica.heldCount).toBe(0);
  });
});
