/** What a store notes of the changes that it comes to know of. */
import { expect, it } from 'vitest';
import { RecordingLogger } from '../../src/base/telemetry.ts';
import { Witness } from '../../src/peer/witness.ts';
import { withFact } from '../../src/records/record.ts';
import { StoreWorld } from '../support/store-world.ts';
import { factOf, newRecord, startOf, storeOf } from '../support/task-records.ts';

it('a change under the name of this store that is not its own says that a copy of it lives', async () => {
  const world = await StoreWorld.of('a');
  const { replica, identity, storeId } = world.host('a');
  const seen: (string | number)[] = [];
  const membership = { sawSeq: (store: string, seq: number) => void seen.push(store, seq) };
  const copied: string[] = [];
  const onCopied = (why: string): void => void copied.push(why);
  new Witness(replica, membership, { identity, log: new RecordingLogger(), onCopied });
  const record = newRecord([storeId, storeOf('b')]);
  const write = (next: typeof record) =>
    world.run(replica.change(record.id, () => ({ value: 0, next })));

  const first = withFact(record, factOf(storeOf('b'), 7, startOf('run 1')));
  await write(first);
  expect(seen).toEqual([storeOf('b'), 7]);
  // Its own, also those of its boots before.
  const own = factOf(storeId, identity.nextSeq(), startOf('run 2'));
  await write(withFact(first, own));
  expect(copied).toEqual([]);
  const seq = identity.lastSeq + 1_000;
  await write(withFact(withFact(first, own), factOf(storeId, seq, startOf('run 3'))));
  expect(copied).toEqual([expect.stringContaining(`change ${seq} under the name of this store`)]);
  expect(seen).toEqual([storeOf('b'), 7]);
});
