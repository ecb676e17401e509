/** Whether a store that presents itself is the one that was seen before: rollbacks and clones are refused. */
import { describe, expect, it } from 'vitest';
import { fingerprintOf } from '../../src/base/task-id.ts';
import { type BootSpan, refusalOfStore, type SeenStore } from '../../src/membership/store-check.ts';

const last: SeenStore = { storeId: 's', peerId: 'p', bootCount: 7, bootId: 'b7', seq: 100 };
const presented = (more: Partial<SeenStore & { bootIds: string[]; spans: BootSpan[] }>) => ({
  ...last,
  bootIds: ['b5', 'b6', 'b7'],
  ...more,
});

describe('the store that a peer presents', () => {
  it('comes in when it is the one seen before, the same or further on', () => {
    expect(refusalOfStore([last], presented({}))).toBeUndefined();
    const later = presented({ bootCount: 9, bootId: 'b9', bootIds: ['b7', 'b8', 'b9'], seq: 101 });
    expect(refusalOfStore([last], later)).toBeUndefined();
    expect(refusalOfStore([], presented({}))).toBeUndefined();
  });

  it('is refused when it was rolled back', () => {
    expect(refusalOfStore([last], presented({ bootCount: 6, bootId: 'b6' }))).toMatch(/older/);
    const later = { bootCount: 8, bootId: 'b8', bootIds: ['b7', 'b8'] };
    expect(refusalOfStore([last], presented({ ...later, seq: 99 }))).toMatch(/sequence/);
    const again = presented({ bootCount: 8, bootId: 'x8', bootIds: ['b5', 'b6', 'x7', 'x8'] });
    expect(refusalOfStore([last], again)).toMatch(/history/);
    expect(refusalOfStore([last], presented({ bootId: 'x7', bootIds: ['x7'] }))).toMatch(/boot id/);
  });

  it('is refused when a change that was seen of it lies in none of its boots', () => {
    const later = { bootCount: 8, bootId: 'b8', bootIds: ['b7', 'b8'], seq: 5_100 };
    const spans = (end: number) => [
      { start: 10, end },
      { start: 5_000, end: undefined },
    ];
    expect(refusalOfStore([last], presented({ ...later, spans: spans(100) }))).toBeUndefined();
    expect(refusalOfStore([last], presented({ ...later, spans: spans(99) }))).toMatch(/missing/);
    // Older than its history, or of the boot that goes on.
    const seen = (seq: number) =>
      refusalOfStore([{ ...last, seq }], presented({ ...later, spans: spans(50) }));
    expect([seen(9), seen(50), seen(5_050)]).toEqual([undefined, undefined, undefined]);
  });

  it('is not refused for a hello of the same boot that a later one overtook', () => {
    expect(refusalOfStore([last], presented({ seq: 99 }))).toBeUndefined();
  });

  it('is not refused for what its new boot wrote behind a hello that is still on its way', () => {
    const start = 5_000_000_000;
    const spans = [
      { start: 10, end: 100 },
      { start, end: undefined },
    ];
    const hello = { bootCount: 8, bootId: 'b8', bootIds: ['b7', 'b8'], seq: 100, spans };
    const seen = (seq: number) => refusalOfStore([{ ...last, seq }], presented(hello));
    expect(seen(start + 3)).toBeUndefined();
    // Of a boot that was rolled back: each begins anywhere.
    expect(seen(start + 1_000_000_000)).toMatch(/sequence/);
    expect(seen(start - 1_000_000_000)).toMatch(/sequence/);
  });

  it('is not refused for boots that its history no longer holds', () => {
    const bootIds = Array.from({ length: 64 }, (_, i) => `n${i}`);
    const late = presented({ bootCount: 7 + 64, bootId: 'n63', bootIds });
    expect(refusalOfStore([last], late)).toBeUndefined();
    expect(refusalOfStore([last], { ...late, bootCount: 7 + 63 })).toMatch(/history/);
  });

  it('is refused as a copy at another peer', () => {
    expect(refusalOfStore([last], presented({ peerId: 'q' }))).toMatch(/copy/);
  });

  it('is refused when its fingerprint is taken', () => {
    // Found by trying: two ids of one 32-bit fingerprint.
    const byPrint = new Map<string, string>();
    let pair: [string, string] | undefined;
    for (let i = 0; !pair && i < 400_000; i++) {
      const print = fingerprintOf(`store ${i}`);
      const other = byPrint.get(print);
      if (other) pair = [other, `store ${i}`];
      byPrint.set(print, `store ${i}`);
    }
    if (!pair) throw new Error('no pair within 400,000');
    const [one, other] = pair;
    const taken = { ...last, storeId: one };
    const newcomer = presented({ storeId: other, peerId: 'q' });
    expect(refusalOfStore([taken], newcomer)).toMatch(/fingerprint/);
  });
});
