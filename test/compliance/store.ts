/** What every Store must do. */
import { expect, test } from 'vitest';
import { MIB } from '../../src/base/units.ts';
import { type Purpose, RESERVE_BYTES_MAX, type Space } from '../../src/ports/room.ts';
import { type AppendResult, KEY_BYTES_MAX, prefixEnd, type Store } from '../../src/ports/store.ts';

export interface StoreTwin {
  readonly store: Store;
  settle(condition: () => boolean): Promise<void>;
  /** The same disk after a stop of the process without goodbye: what was not synced may be gone. */
  reopen(): Promise<StoreTwin>;
  close(): Promise<void>;
  /** From now on this much is free. */
  setSpace(space: Space): void;
}

const bytes = (...values: number[]) => Uint8Array.from(values);

export function storeCompliance(make: () => Promise<StoreTwin>): void {
  const using = (run: (twin: StoreTwin, done: DoneHelper) => Promise<void>) => async () => {
    const twin = await make();
    const done: DoneHelper = async (pending) => {
      let results: AppendResult[] | undefined;
      void Promise.all([pending].flat()).then((all) => {
        results = all;
      });
      await twin.settle(() => results !== undefined);
      return results ?? [];
    };
    try {
      await run(twin, done);
    } finally {
      await twin.close();
    }
  };
  type DoneHelper = (
    pending: Promise<AppendResult> | Promise<AppendResult>[],
  ) => Promise<AppendResult[]>;
  const keysOf = (entries: { key: string }[]) => entries.map((entry) => entry.key);

  test(
    'an appended batch is readable once the append has resolved, and not before',
    using(async ({ store }, done) => {
      const pending = store.append([
        { put: 'task/1', value: bytes(1, 2, 3) },
        { put: 'task/2', value: bytes() },
      ]);
      expect(store.get('task/1')).toBeUndefined();
      expect(await done(pending)).toEqual([{ ok: true }]);
      expect(store.get('task/1')).toEqual(bytes(1, 2, 3));
      expect(store.get('task/2')).toEqual(bytes());
      expect(store.get('task/3')).toBeUndefined();
      expect(await done(store.append([{ del: 'task/1' }, { del: 'not there' }]))).toEqual([
        { ok: true },
      ]);
      expect(store.get('task/1')).toBeUndefined();
      expect(store.usedBytes()).toBeGreaterThanOrEqual(0);
    }),
  );

  test(
    'ranges are in byte order, half open, limited, and can run backwards',
    using(async ({ store }, done) => {
      const keys = ['B', 'a', 'a!', 'a/1', 'a/10', 'a/2', 'a/~', 'a0', 'b', '~', ' x', '1', '9'];
      const shuffled = [...keys].reverse();
      await done(store.append(shuffled.map((put, i) => ({ put, value: bytes(i) }))));
      const sorted = [...keys].sort((a, b) => (a < b ? -1 : 1));
      expect(keysOf(store.range({ from: ' ', to: '\x7f', limit: 100 }))).toEqual(sorted);
      for (const from of [...sorted, 'a/', 'zz']) {
        for (const to of [...sorted, 'a/', prefixEnd('a/'), 'zz']) {
          for (const limit of [0, 1, 3, 100]) {
            const within = sorted.filter((key) => key >= from && key < to);
            expect(keysOf(store.range({ from, to, limit }))).toEqual(within.slice(0, limit));
            expect(keysOf(store.range({ from, to, limit, reverse: true }))).toEqual(
              within.reverse().slice(0, limit),
            );
          }
        }
      }
    }),
  );

  test(
    'values are copied in and out',
    using(async ({ store }, done) => {
      const value = bytes(1, 1, 1);
      const pending = store.append([{ put: 'k', value }]);
      value.fill(9);
      await done(pending);
      const first = store.get('k');
      const [entry] = store.range({ from: 'k', to: 'l', limit: 1 });
      store.get('other');
      first?.fill(7);
      entry?.value.fill(8);
      expect(store.get('k')).toEqual(bytes(1, 1, 1));
    }),
  );

  test(
    'large values and long keys come back unchanged',
    using(async ({ store }, done) => {
      const large = new Uint8Array(8 * 1_024 * 1_024).map((_, i) => i * 31);
      const key = 'k'.repeat(KEY_BYTES_MAX);
      await done(store.append([{ put: key, value: large }]));
      const read = store.get(key);
      expect(read?.length).toBe(large.length);
      expect(Buffer.compare(read ?? bytes(), large)).toBe(0);
    }),
  );

  test(
    'keys and values beyond the limits throw and write nothing',
    using(async ({ store }) => {
      for (const key of ['', 'ü', 'a\n', 'a\x7f', 'k'.repeat(KEY_BYTES_MAX + 1)]) {
        expect(() => store.append([{ put: 'fine', value: bytes(1) }, { del: key }])).toThrow();
      }
      const value = new Uint8Array(8 * 1_024 * 1_024 + 1);
      expect(() => store.append([{ put: 'k', value }])).toThrow();
      expect(store.range({ from: ' ', to: '\x7f', limit: 10 })).toEqual([]);
    }),
  );

  test(
    'overlapping appends become durable in order, each all or nothing',
    using(async ({ store }, done) => {
      const order: number[] = [];
      const pending = Array.from({ length: 300 }, (_, i) =>
        store
          .append([
            { put: 'last', value: bytes(i >> 8, i & 255) },
            { put: `n/${i}`, value: bytes(1) },
          ])
          .then((result) => {
            order.push(i);
            // Everything before this one is there; `last` is this one's or a later one's.
            const last = store.get('last') ?? bytes();
            expect((last[0] ?? 0) * 256 + (last[1] ?? 0)).toBeGreaterThanOrEqual(i);
            expect(store.get(`n/${Math.floor(i / 2)}`)).toEqual(bytes(1));
            return result;
          }),
      );
      expect((await done(pending)).every((result) => result.ok)).toBe(true);
      expect(order).toEqual(Array.from({ length: 300 }, (_, i) => i));
      expect(store.get('last')).toEqual(bytes(1, 43));
      expect(await done(store.append([]))).toEqual([{ ok: true }]);
    }),
  );

  test(
    'what was acknowledged is there after a crash; nothing has a hole',
    using(async (twin, done) => {
      await done(twin.store.append([{ put: 'acknowledged', value: bytes(1) }]));
      for (let i = 0; i < 20; i++) {
        void twin.store.append([
          { put: `a/${i}`, value: bytes(i) },
          { put: `b/${i}`, value: bytes(i) },
        ]);
      }
      const next = await twin.reopen();
      try {
        expect(next.store.get('acknowledged')).toEqual(bytes(1));
        const count = (prefix: string) =>
          next.store.range({ from: prefix, to: prefixEnd(prefix), limit: 100 }).length;
        expect(count('a/')).toBe(count('b/'));
        for (let i = 0; i < count('a/'); i++) expect(next.store.get(`a/${i}`)).toEqual(bytes(i));
      } finally {
        await next.close();
      }
    }),
  );

  test(
    'while room is scarce the most dispensable is refused first, and reads go on',
    using(async ({ store, setSpace }, done) => {
      const purposes: Purpose[] = ['create', 'extend', 'settle'];
      let round = 0;
      /** Which of three that wait together are taken with so much free: they neither order nor drag one another. */
      const takenAt = async (freeBytes: number, reusableBytes = 0): Promise<string> => {
        round += 1;
        setSpace({ freeBytes, totalBytes: 1e12, reusableBytes });
        const results = await done(
          purposes.map((purpose) =>
            store.append([{ put: `${round}/${purpose}`, value: bytes(round) }], purpose),
          ),
        );
        const taken = purposes.filter((_, i) => results[i]?.ok === true);
        const there = purposes.filter((purpose) => store.get(`${round}/${purpose}`) !== undefined);
        expect(there).toEqual(taken);
        expect(results.filter((result) => !result.ok && result.code !== 'full')).toEqual([]);
        expect(store.get('1/settle')).toEqual(bytes(1));
        return `${store.room()}: ${taken.join(' ')}`;
      };
      const reserve = RESERVE_BYTES_MAX;
      expect(await takenAt(reserve)).toBe('ample: create extend settle');
      expect(await takenAt(reserve - 1)).toBe('low: extend settle');
      expect(await takenAt(reserve / 2 - 1)).toBe('scarce: settle');
      expect(await takenAt(0)).toBe('full: ');
      expect(await takenAt(reserve / 4)).toBe('scarce: settle');
      // More must come back than had to go, so that it does not change with every commit.
      expect(await takenAt(reserve / 2)).toBe('scarce: settle');
      expect(await takenAt(reserve)).toBe('low: extend settle');
      expect(await takenAt(reserve * 1.25)).toBe('ample: create extend settle');
      // What was deleted is written over; but a large value may not fit into the gaps.
      expect(await takenAt(reserve / 4, reserve)).toBe('ample: create extend settle');
      expect(await takenAt(reserve / 4 - 1, 1e12)).toBe('low: extend settle');
      expect(await takenAt(0, 1e12)).toBe('full: ');
    }),
  );

  test(
    'a small disk keeps a small reserve',
    using(async ({ store, setSpace }, done) => {
      const small = { totalBytes: 48 * MIB, reusableBytes: 0 };
      const create = () => done(store.append([{ put: 'k', value: bytes(1) }], 'create'));
      setSpace({ ...small, freeBytes: 16 * MIB });
      expect(await create()).toEqual([{ ok: true }]);
      setSpace({ ...small, freeBytes: 16 * MIB - 1 });
      expect(await create()).toMatchObject([{ code: 'full' }]);
      setSpace({ ...small, totalBytes: 512 * MIB, freeBytes: 40 * MIB });
      expect(await create()).toEqual([{ ok: true }]);
      setSpace({ ...small, totalBytes: 512 * MIB, freeBytes: 31 * MIB });
      expect(await create()).toMatchObject([{ code: 'full' }]);
    }),
  );

  test('close waits for what was appended', async () => {
    const twin = await make();
    const results: AppendResult[] = [];
    void twin.store.append([{ put: 'k', value: bytes(5) }]).then((result) => results.push(result));
    let closed = false;
    void twin.store.close().then(() => {
      closed = true;
    });
    await twin.settle(() => closed);
    expect(results).toEqual([{ ok: true }]);
    await twin.close();
  });

  test(
    'a closed store shows nothing and takes nothing, without a throw',
    using(async ({ store, settle }, done) => {
      const all = { from: ' ', to: '\x7f', limit: 10 };
      await done(store.append([{ put: 'k', value: bytes(5) }]));
      let closed = false;
      const closing = store.close().then(() => {
        closed = true;
      });
      // While it closes, and afterwards: who comes late must not have to know which it is.
      for (let round = 0; round < 2; round++) {
        expect([store.get('k'), store.range(all), store.usedBytes()]).toEqual([undefined, [], 0]);
        expect(await done(store.append([{ del: 'k' }]))).toMatchObject([{ code: 'closed' }]);
        await settle(() => closed);
      }
      await closing;
    }),
  );
}
