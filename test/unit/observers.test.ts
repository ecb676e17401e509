/** Who observes whom: neighbours on independently hashed rings. */
import { describe, expect, it } from 'vitest';
import { ObserverRings } from '../../src/membership/observers.ts';

const peers = (n: number): string[] =>
  Array.from({ length: n }, (_, i) => `peer${String(i).padStart(3, '0')}`);

describe('observers', () => {
  it('are all the others in a mesh of K + 1 or fewer', () => {
    const rings = new ObserverRings(peers(5), 8);
    expect(rings.observersOf('peer002')).toEqual(['peer000', 'peer001', 'peer003', 'peer004']);
    expect(rings.observedBy('peer002')).toEqual(rings.observersOf('peer002'));
  });

  it('are K or a few less in a large one, and each knows whom it observes', () => {
    const all = peers(100);
    const rings = new ObserverRings(all, 8);
    for (const peer of all) {
      const observers = rings.observersOf(peer);
      expect(observers.length).toBeGreaterThanOrEqual(5);
      expect(observers.length).toBeLessThanOrEqual(8);
      expect(observers).not.toContain(peer);
      for (const observer of observers) expect(rings.observedBy(observer)).toContain(peer);
    }
  });

  it('do not depend on the order of the members', () => {
    const all = peers(50);
    const [a, b] = [new ObserverRings(all, 8), new ObserverRings([...all].reverse(), 8)];
    expect(all.map((peer) => a.observersOf(peer))).toEqual(all.map((peer) => b.observersOf(peer)));
  });
});
