/** Two daemons with one key: told apart from a restart, and which of them gives way. */
import { describe, expect, it } from 'vitest';
import { givesWay, type Suspicion, suspect, twinError, twinOf } from '../../src/membership/twin.ts';

describe('a hello of another boot over a link that is up', () => {
  it('is put off; silence of the old boot lets it in, two signs of life turn it away', () => {
    const hello = { bootId: 'later' };
    const first = suspect(undefined, hello, 10);
    expect(first).toEqual({ bootId: 'later', frames: 10, signs: 0 });
    expect(suspect(first, hello, 10)).toBeUndefined();
    const once = suspect(first, hello, 12) as Suspicion;
    // What was on the way when the old one died may be the first sign.
    expect(twinOf(twinError(once, 'there:1'))).toBeUndefined();
    expect(suspect(once, hello, 12)).toBeUndefined();
    const twice = suspect(once, hello, 13) as Suspicion;
    expect(twinOf(twinError(twice, 'there:1'))).toBe('there:1');
    // Yet another boot begins anew.
    expect(suspect(twice, { bootId: 'third' }, 20)?.signs).toBe(0);
  });

  it('gives way when it was started later; exactly one of two does', () => {
    const boots = [
      { bootCount: 3, bootId: 'x' },
      { bootCount: 4, bootId: 'a' },
      { bootCount: 4, bootId: 'b' },
    ];
    expect(givesWay({ bootCount: 4, bootId: 'a' }, { bootCount: 3, bootId: 'x' })).toBe(true);
    for (const [i, one] of boots.entries())
      for (const other of boots.slice(i + 1))
        expect(givesWay(one, other)).not.toBe(givesWay(other, one));
  });
});
