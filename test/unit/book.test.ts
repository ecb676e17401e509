/** The peer book: what is remembered of the stores of others, and for how long. */
import { expect, test } from 'vitest';
import { SeededRandom } from '../../src/base/random.ts';
import { RecordingLogger } from '../../src/base/telemetry.ts';
import { Book } from '../../src/membership/book.ts';
import { SEEN_STORES_MAX } from '../../src/membership/limits.ts';
import { SimClock } from '../../src/sim/clock.ts';
import { SimDisk } from '../../src/sim/disk.ts';

const storeOf = (peerId: string, i: number) => ({
  ...{ storeId: `${peerId}-${i}`, peerId, bootCount: 1, bootId: 'boot', seq: i },
});

test('a peer that comes with another store each time fills nobody’s book', async () => {
  const clock = new SimClock();
  const disk = new SimDisk({ clock, random: new SeededRandom('book') });
  const store = disk.openStore();
  const book = new Book(store, clock, new RecordingLogger());
  book.rememberStore(storeOf('honest', 0));
  for (let i = 0; i < 3 * SEEN_STORES_MAX; i++) book.rememberStore(storeOf('wiped', i));
  const seen = book.seenStores().map(({ storeId }) => storeId);
  expect(seen).toHaveLength(SEEN_STORES_MAX + 1);
  expect(seen).toContain('honest-0');
  expect(seen.at(-1)).toBe(`wiped-${3 * SEEN_STORES_MAX - 1}`);
  let isWritten = false;
  const flushed = book.flush().then(() => {
    isWritten = true;
  });
  expect(await clock.runUntil(() => isWritten, 5_000)).toBe(true);
  await flushed;
  const again = new Book(store, clock, new RecordingLogger());
  expect(
    again
      .seenStores()
      .map(({ storeId }) => storeId)
      .sort(),
  ).toEqual([...seen].sort());
});
