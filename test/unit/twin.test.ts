/** Two daemons with one key: told apart from a restart, and which of them gives way. */
import { describe, expect, it } from 'vitest';
import { givesWay, type Suspicion, suspect, twinError, twinOf } from '../../src/membership/twin.ts';

describe('a hello of another boot over a link that is up', () => {
  it('is put off; silence of the old boot lets it in, its answer turns it away', () => {
    const hello = { bootId: 'later' };
    const asked = (before: Suspicion | undefined, frames: number, boot = hello) =>
      suspect(before, boot, frames, () => 7);
    const first = asked(undefined, 10) as Suspicion;
    expect(first).toEqual({ bootId: 'later', nonce: 7, isAnswered: false, frames: 10 });
    expect(asked(first, 10)).toBeUndefined();
    // What the network kept of the old one, for as long as it comes, is no sign of life.
    const kept = asked(asked(first, 12), 13) as Suspicion;
    expect(twinOf(twinError(kept, 'there:1'))).toBeUndefined();
    expect(asked(kept, 13)).toBeUndefined();
    const answered = asked({ ...kept, isAnswered: true }, 14) as Suspicion;
    expect(twinOf(twinError(answered, 'there:1'))).toBe('there:1');
    // Yet another boot begins anew.
    expect(asked(answered, 20, { bootId: 'third' })?.isAnswered).toBe(false);
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
