/** Placement, a pure function: who is chosen, and what is said of all others. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PeerSight } from '../../src/tasks/mesh-view.ts';
import { inMinority, requiredNow } from '../../src/tasks/mesh-view.ts';
import { place } from '../../src/tasks/place.ts';

const LOAD = { slots: 4, slotsFree: 2, active: 0, waiting: 0, workers: {} };
const peer = (name: string, more: Partial<PeerSight> = {}): PeerSight => ({
  peerId: name,
  storeId: `store-${name}`,
  name,
  bootCount: 1,
  status: 'alive',
  crashed: false,
  stopping: false,
  linked: true,
  reachable: true,
  self: false,
  execEnabled: true,
  load: LOAD,
  ...more,
});
const NONE = new Map<string, { code: string; detail: string }>();

describe('placement', () => {
  it('prefers the owner itself, then the least loaded, and says of everybody why', () => {
    const peers = [
      peer('busy', { load: { ...LOAD, slotsFree: 0 } }),
      peer('loaded', { load: { ...LOAD, slotsFree: 1 } }),
      peer('idle', { load: { ...LOAD, slotsFree: 4 } }),
      peer('self', { self: true }),
    ];
    const { candidates, because, reason } = place('exec:/src', peers, NONE);
    expect(candidates.map((item) => item.name)).toEqual(['self', 'idle', 'loaded']);
    expect(reason).toBeUndefined();
    expect(because).toMatchObject([
      { name: 'busy', ok: false, code: 'no_free_slot', detail: 'all 4 slots are taken' },
      { name: 'loaded', ok: true, code: 'free', detail: '1 of 4 slots free' },
      { name: 'idle', ok: true },
      { name: 'self', ok: true },
    ]);
  });

  it.each<[string, Partial<PeerSight>, string]>([
    ['exec:/', { status: 'dead' }, 'dead'],
    ['exec:/', { status: 'left' }, 'left'],
    ['exec:/', { status: 'suspect' }, 'suspect'],
    ['exec:/', { stopping: true }, 'stopping'],
    ['exec:/', { shortage: 'full' }, 'disk_full'],
    ['exec:/', { reachable: false }, 'unreachable'],
    ['exec:/', { execEnabled: false }, 'exec_disabled'],
    ['exec:/', { load: { ...LOAD, slots: 0, slotsFree: 0 } }, 'exec_disabled'],
    ['nonsense', {}, 'unknown_demand'],
    ['exec:/', { execEnabled: false, isLoadUnknown: true }, 'exec_disabled'],
    ['worker:mail', {}, 'no_worker'],
    ['worker:constructor', {}, 'no_worker'],
    ['worker:mail', { load: { ...LOAD, workers: { mail: { total: 0, free: 0 } } } }, 'no_worker'],
    [
      'worker:mail',
      { load: { ...LOAD, workers: { mail: { total: 2, free: 0 } } } },
      'no_free_slot',
    ],
  ])('of %s on %j is refused as %s', (demand, more, code) => {
    expect(place(demand, [peer('a', more)], NONE).because).toMatchObject([{ ok: false, code }]);
  });

  it('takes a disk without room for starts, which only its store cannot write', () => {
    const { candidates } = place('exec:/', [peer('a', { shortage: 'scarce' })], NONE);
    expect(candidates.map((item) => item.name)).toEqual(['a']);
  });

  it('hands on what a peer said itself', () => {
    const refused = new Map([['a', { code: 'no_such_cwd', detail: '/x is not there' }]]);
    expect(place('exec:/x', [peer('a')], refused)).toMatchObject({
      candidates: [],
      reason: 'no_eligible_peer',
      because: [{ code: 'no_such_cwd', detail: '/x is not there' }],
    });
  });

  it('has a reason for every peer, and one for waiting exactly when nobody may', () => {
    const sight = fc.record({
      status: fc.constantFrom<PeerSight['status']>('alive', 'suspect', 'dead', 'left'),
      stopping: fc.boolean(),
      reachable: fc.boolean(),
      self: fc.boolean(),
      execEnabled: fc.boolean(),
      slotsFree: fc.integer({ min: 0, max: 2 }),
      workers: fc.option(fc.record({ total: fc.nat({ max: 2 }), free: fc.nat({ max: 2 }) })),
    });
    const demands = fc.constantFrom('exec:/', 'worker:mail');
    fc.assert(
      fc.property(demands, fc.array(sight, { maxLength: 6 }), (demand, seen) => {
        const peers = seen.map(({ slotsFree, workers, ...more }, i) =>
          peer(`p${i}`, {
            ...more,
            load: { ...LOAD, slotsFree, workers: workers === null ? {} : { mail: workers } },
          }),
        );
        const { candidates, because, reason } = place(demand, peers, NONE);
        expect(because.map((item) => item.peer)).toEqual(peers.map((item) => item.peerId));
        for (const item of because) expect([item.code, item.detail]).not.toContain('');
        const allowed = because.filter((item) => item.ok).map((item) => item.peer);
        expect(candidates.map((item) => item.peerId).sort()).toEqual(allowed.sort());
        expect(reason === undefined).toBe(candidates.length > 0);
        for (const item of candidates) {
          expect(item.status === 'alive' && !item.stopping && (item.linked || item.self)).toBe(
            true,
          );
        }
      }),
    );
  });
});

describe('what a peer sees of the mesh', () => {
  const viewOf = (...statuses: PeerSight['status'][]) => {
    const peers = statuses.map((status, i) => peer(`p${i}`, { status, self: i === 0 }));
    const present = peers.filter(({ status }) => status === 'alive' || status === 'suspect');
    const directory = { present: () => present.map(({ storeId }) => storeId) };
    return { peers: () => peers, directory } as unknown as Parameters<typeof requiredNow>[0];
  };

  it.each([
    [['alive', 'alive', 'alive'], 2, false],
    [['alive', 'suspect'], 2, false],
    [['alive', 'dead', 'dead'], 1, true],
    [['alive', 'dead'], 1, false],
    [['alive', 'left', 'left'], 1, false],
    [['alive'], 1, false],
    [['alive', 'alive', 'dead', 'dead', 'dead'], 2, true],
  ] as const)('%j needs %d copies, minority: %s', (statuses, required, minority) => {
    const view = viewOf(...statuses);
    expect(requiredNow(view, 2)).toBe(required);
    expect(inMinority(view)).toBe(minority);
  });
});
