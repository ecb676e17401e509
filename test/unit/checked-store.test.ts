/** Values that a disk gives back otherwise than it got them: nobody is shown one, and the record is fetched again. */
import { crc32 as systemCrc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { crc32 } from '../../src/base/crc32.ts';
import { SeededRandom } from '../../src/base/random.ts';
import { prefixEnd } from '../../src/ports/store.ts';
import { CheckedStore, seal, unseal } from '../../src/records/checked-store.ts';
import { SimClock } from '../../src/sim/clock.ts';
import { SimDisk } from '../../src/sim/disk.ts';

const bytes = fc.uint8Array({ minLength: 1, maxLength: 200 });

describe('a checksum', () => {
  it('is that of zip, also in parts', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), bytes, (before, after) => {
        expect(crc32(before)).toBe(systemCrc32(before));
        expect(crc32(after, crc32(before))).toBe(systemCrc32(Buffer.concat([before, after])));
      }),
    );
  });

  it('finds a bit that turned, and a value that lies under the key of another', () => {
    fc.assert(
      fc.property(bytes, fc.nat(), (value, at) => {
        const sealed = seal('r/1', value);
        expect(unseal('r/1', sealed)).toEqual(value);
        expect(unseal('r/2', sealed)).toBeUndefined();
        const flipped = sealed.slice();
        const bit = at % (flipped.length * 8);
        flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        expect(unseal('r/1', flipped)).toBeUndefined();
      }),
    );
  });

  it('is not needed where there is nothing to damage', () => {
    expect(seal('u/1', new Uint8Array(0))).toHaveLength(0);
    expect(unseal('u/1', new Uint8Array(0))).toHaveLength(0);
  });
});

describe('a store with checksums', () => {
  const open = async (count: number) => {
    const clock = new SimClock();
    const disk = new SimDisk({ clock, random: new SeededRandom('disk') });
    const store = new CheckedStore(disk.openStore());
    const keys = Array.from({ length: count }, (_, i) => `r/${i}`);
    const written = store.append(keys.map((put) => ({ put, value: Uint8Array.of(1, 2, 3) })));
    await clock.runFor(100);
    expect(await written).toEqual({ ok: true });
    return { clock, disk, store };
  };

  it('shows nothing of what is damaged, tells of it once, and forgets it when it is written anew', async () => {
    const { clock, disk, store } = await open(1);
    expect(store.get('r/0')).toEqual(Uint8Array.of(1, 2, 3));
    disk.flipBit(new SeededRandom('flip'));
    const told: string[] = [];
    store.onDamaged = (key) => told.push(key);
    expect([store.get('r/0'), store.get('r/0')]).toEqual([undefined, undefined]);
    expect([told, store.damaged()]).toEqual([['r/0'], ['r/0']]);
    const healed = store.append([{ put: 'r/0', value: Uint8Array.of(4) }]);
    await clock.runFor(100);
    await healed;
    expect([store.get('r/0'), store.damaged()]).toEqual([Uint8Array.of(4), []]);
  });

  it('fills a page although some of it is damaged: a short page would be taken for the last', async () => {
    const { disk, store } = await open(10);
    const random = new SeededRandom('flips');
    const flipped = new Set(Array.from({ length: 4 }, () => disk.flipBit(random)));
    const all = { from: 'r/', to: prefixEnd('r/') };
    const whole = store.range({ ...all, limit: 100 }).map(({ key }) => key);
    expect(whole).toHaveLength(10 - flipped.size);
    expect(store.range({ ...all, limit: 3 }).map(({ key }) => key)).toEqual(whole.slice(0, 3));
    const backwards = store.range({ ...all, limit: 3, reverse: true }).map(({ key }) => key);
    expect(backwards).toEqual(whole.slice(-3).reverse());
  });

  it('finds what nobody asks for when it reads on by itself', async () => {
    const { disk, store } = await open(200);
    const key = disk.flipBit(new SeededRandom('flip'));
    for (let i = 0; i < 200 && store.damaged().length === 0; i++) store.scrub(100);
    expect(store.damaged()).toEqual([key]);
  });

  it('says when it has read all of it, and not sooner', async () => {
    const { store } = await open(200);
    let passes = 0;
    store.onScrubbed = () => (passes += 1);
    store.scrub(100);
    expect(passes).toBe(0);
    store.scrub(1_000_000);
    expect(passes).toBe(1);
  });
});
