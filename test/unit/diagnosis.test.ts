/** What `covey doctor` makes of what the members say: each finding, its weight, and that it says what to do. */
import { describe, expect, it } from 'vitest';
import type { Check } from '../../src/api/methods.ts';
import { type Report, readReport } from '../../src/control/checkup.ts';
import { diagnose } from '../../src/control/diagnosis.ts';
import type { Answer, Case } from '../../src/control/findings.ts';
import type { Member } from '../../src/membership/types.ts';

const IDS = ['a', 'b', 'c'];
const member = (id: string, more: Partial<Member> = {}): Member =>
  ({ peerId: id, name: id.toUpperCase(), status: 'alive', version: '1', ...more }) as Member;

const reportOf = (id: string, more: Partial<Report> = {}): Report => {
  const others = IDS.filter((other) => other !== id);
  const read = readReport({
    version: '1',
    wall_ms: 0,
    linked: others,
    observes: others.map((other) => ({ peer_id: other, hears: true })),
    store: {},
    tasks: { looked_at: 1, below_required: 0, below_copies: 0 },
    ...more,
  });
  if (!read.ok) throw new Error(read.error);
  return read.value;
};

/** Three members, all well, but for what is said of some. */
function mesh(
  reports: Readonly<Record<string, Partial<Report>>> = {},
  more: Partial<Case> = {},
  skews: Readonly<Record<string, number>> = {},
): Check[] {
  const heard = IDS.map((id): Answer => {
    return { peerId: id, report: reportOf(id, reports[id]), skewMs: skews[id] ?? 0, doubtMs: 5 };
  });
  const members = IDS.map((id) => member(id));
  return diagnose({
    ...{ self: 'a', nowWallMs: 0, copies: 3, copiesRequired: 2, members, heard, silent: [] },
    ...more,
  });
}

const bad = (checks: Check[]): string[] =>
  checks.filter(({ status }) => status !== 'ok').map(({ check, status }) => `${check} ${status}`);
const about = (checks: Check[], name: string): Check | undefined =>
  checks.find(({ check }) => check === name);

const hears = (who: Readonly<Record<string, boolean>>) => ({
  observes: Object.entries(who).map(([id, heard]) => ({ peer_id: id, hears: heard })),
});

describe('covey doctor', () => {
  it('finds nothing in a mesh that is well', () => {
    const checks = mesh();
    expect(bad(checks)).toEqual([]);
    expect(new Set(checks.map(({ check }) => check)).size).toBe(checks.length);
  });

  it('says of every finding what to do, in one sentence', () => {
    const worst = mesh(
      {
        b: {
          ...hears({ a: false, c: true }),
          ...{ room: 'full', flapping: [{ peer_id: 'c', returns: 4 }], slots: 1_000 },
          store: { damaged: 1, set_aside: 2, renewed_because: 'rolled back' },
          clock_jumps: { count: 1, last_ms: 3_600_000, ago_ms: 1_000 },
          pauses: { count: 1, longest_ms: 5_000, ago_ms: 1_000 },
          descriptors: { limit: 1_024, open: 100 },
          unreached: [{ peer_id: 'c', address: 'x:1', result: 'timeout', other_reached: false }],
          refusals: [{ peer_id: 'c', by: 'us', code: 'STORE_REFUSED', why: 'a copy.', ago_ms: 5 }],
          tasks: { looked_at: 1, below_required: 1, below_copies: 0 },
        },
      },
      {
        members: [member('a'), member('b', { version: '2' }), member('c', { status: 'dead' })],
        silent: [{ peerId: 'd', name: 'D', why: 'no answer in time' }],
      },
    );
    expect(bad(worst)).toEqual([
      ...['members warn', 'answers warn', 'links fail', 'addresses fail', 'copies fail'],
      ...['stores warn', 'refusals warn', 'disk fail', 'clocks warn', 'pauses warn'],
      ...['flapping warn', 'versions warn', 'descriptors warn'],
    ]);
    for (const { summary, todo } of worst) {
      expect(todo).toMatch(/^[A-Z].*\.$/);
      expect(summary).not.toMatch(/undefined|\.$/);
    }
  });

  it('tells a link of one direction from none, each pair once', () => {
    const oneWay = mesh({ b: hears({ a: false, c: true }) });
    expect(about(oneWay, 'links')).toMatchObject({
      status: 'fail',
      summary: 'A hears B, B does not hear A',
    });
    const none = mesh({
      a: { ...hears({ b: false, c: true }), linked: ['c'] },
      b: { ...hears({ a: false, c: true }), linked: ['c'] },
    });
    expect(about(none, 'links')?.summary).toBe('no link between A and B');
    // Where the other does not observe it, its open link tells.
    const far = mesh({ a: hears({}), b: hears({ a: false }) });
    expect(about(far, 'links')?.summary).toBe('A hears B, B does not hear A');
    // One that did not answer may simply be dead.
    const heard = [
      { peerId: 'a', report: reportOf('a', hears({ b: false })), skewMs: 0, doubtMs: 0 },
    ];
    expect(about(mesh({}, { heard }), 'links')?.status).toBe('ok');
  });

  it('names an address once, with all who did not reach it; one of several is a warning', () => {
    const unreached = (other_reached: boolean) => ({
      unreached: [{ peer_id: 'c', address: 'h:1', result: 'refused', other_reached }],
    });
    const lost = mesh({ a: unreached(true), b: unreached(false) });
    expect(about(lost, 'addresses')).toMatchObject({
      status: 'fail',
      summary: 'h:1 of C was not reached by A (refused) and B (refused)',
    });
    expect(about(mesh({ a: unreached(true) }), 'addresses')?.status).toBe('warn');
  });

  it('takes the time that an answer took for doubt about a clock, not for skew', () => {
    expect(bad(mesh({}, {}, { b: 1_004 }))).toEqual([]);
    expect(about(mesh({}, {}, { b: -1_500 }), 'clocks')).toMatchObject({
      status: 'warn',
      summary: 'B is 1.5s behind',
    });
    expect(about(mesh({}, {}, { b: 90_000 }), 'clocks')?.status).toBe('fail');
    const old = { clock_jumps: { count: 1, last_ms: 9_000, ago_ms: 48 * 3_600_000 } };
    expect(bad(mesh({ b: old }))).toEqual([]);
  });

  it('warns of too few members, and fails where tasks lack copies although there are enough', () => {
    const alone = { members: [member('a')], heard: [] };
    expect(about(mesh({}, alone), 'copies')?.status).toBe('warn');
    const lacking = { tasks: { looked_at: 4, below_required: 1, below_copies: 2 } };
    expect(about(mesh({ c: lacking }), 'copies')).toMatchObject({
      status: 'fail',
      summary: '1 tasks have fewer than 2 live copies; 2 tasks have fewer than 3',
    });
  });

  it('warns before descriptors run out, and fails when they have', () => {
    const use = (limit: number, open: number) =>
      about(mesh({ c: { slots: 2, descriptors: { limit, open } } }), 'descriptors')?.status;
    expect([use(65_536, 90), use(256, 90), use(1_024, 1_000)]).toEqual(['ok', 'warn', 'fail']);
  });

  it('cuts long lists', () => {
    const members = Array.from({ length: 9 }, (_, i) => member(`m${i}`, { status: 'dead' }));
    expect(about(mesh({}, { members }), 'members')?.summary).toBe(
      'M0 is dead; M1 is dead; M2 is dead; M3 is dead; M4 is dead; 4 more',
    );
  });
});

describe('what a member answers', () => {
  it('is read with what it lacks taken for well, and refused where it is something else', () => {
    const tasks = { looked_at: 0, below_required: 0, below_copies: 0 };
    const least = readReport({ version: '9', wall_ms: 1, store: {}, tasks, later: true });
    expect(least).toMatchObject({ ok: true, value: { room: 'ample', observes: [], slots: 0 } });
    for (const body of [{}, { version: 1 }, { version: '1', wall_ms: 1, store: [], tasks }])
      expect(readReport(body).ok).toBe(false);
  });
});
