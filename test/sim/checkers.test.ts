/**
 * The checkers can fail: each is given true evidence of a world with one thing falsified, and must say so by the name
 * of the rule. A checker that accepts everything would make every seed green.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import type { Fact } from '../../src/records/record.ts';
import { type CheckOptions, check } from '../../src/sim/checkers.ts';
import { argvOf } from '../../src/sim/commands.ts';
import type { Evidence, OutsideRun, Replicated, Told } from '../../src/sim/evidence.ts';
import { Knowledge } from '../../src/sim/knowledge.ts';
import { World } from '../../src/sim/world.ts';

const STRICT: CheckOptions = { strict: true, cutsOnly: false, strayMsMax: 15_000 };
const WILD: CheckOptions = { ...STRICT, strict: false };

let truth: Evidence;
let id: string;
let run: OutsideRun;
let copies: readonly Replicated[];

/** One task that ran once, on three peers, and is over. */
beforeAll(async () => {
  const world = new World({ seed: 'evidence', peers: 3 });
  await world.run(async () => {
    await world.joinAll();
    const exec = { argv: argvOf({ durationMs: 100, failures: 0, isDeaf: false }), cwd: '/' };
    world.submit(0, { exec }, { kind: 'exec', attempts: 1, failures: 0 });
    await world.runFor(2_000);
    await world.runUntil(() => world.pending().length === 0, 30_000);
  });
  truth = world.evidence();
  id = truth.submits[0]?.id ?? '';
  run = truth.runs[0] as OutsideRun;
  copies = truth.replicas.get(id) ?? [];
});

const rulesOf = (evidence: Evidence, options = STRICT): string[] => [
  ...new Set(check(evidence, options).map(({ rule }) => rule)),
];
const withCopies = (changed: readonly Replicated[]): Evidence => ({
  ...truth,
  replicas: new Map([[id, changed]]),
});
/** The first copy without the facts of these types. */
const without = (...types: string[]): Replicated[] =>
  copies.map((copy, i) =>
    i > 0
      ? copy
      : {
          ...copy,
          record: {
            ...copy.record,
            facts: copy.record.facts.filter(({ value }) => !types.includes(String(value.t))),
          },
        },
  );

describe('the checkers', () => {
  it('find nothing wrong with the truth', () => {
    expect(copies).toHaveLength(3);
    expect(rulesOf(truth)).toEqual([]);
    expect(rulesOf(truth, WILD)).toEqual([]);
  });

  it('miss an acknowledged task that is nowhere', () => {
    expect(rulesOf({ ...truth, replicas: new Map() })).toContain('lost');
  });

  it('see a home store without its copy, and a copy that differs', () => {
    const other = new Map([...truth.replicas, ['other', copies]]);
    other.set(id, copies.slice(1));
    expect(rulesOf({ ...truth, replicas: other })).toEqual(['missing_copy']);
    expect(rulesOf(withCopies(without('drop', 'end')))).toContain('diverged');
  });

  it('see a task without its final', () => {
    const rules = rulesOf(withCopies(without('final')));
    expect(rules).toEqual(expect.arrayContaining(['unfinished', 'diverged', 'two_results']));
  });

  it('see a second start that no cut explains', () => {
    const cutsOnly: CheckOptions = { ...WILD, cutsOnly: true };
    const again: OutsideRun = { ...run, runId: 'again', startedMs: (run.endedMs ?? 0) + 5_000 };
    const cut = { host: run.host, fromMs: run.startedMs, toMs: run.startedMs + 1 };
    const twice = { ...truth, runs: [run, again] };
    expect(rulesOf(twice, cutsOnly)).toContain('needless_double');
    expect(rulesOf({ ...twice, cuts: [cut] }, cutsOnly)).not.toContain('needless_double');
    const elsewhere = { ...cut, host: 'another' };
    expect(rulesOf({ ...twice, cuts: [elsewhere] }, cutsOnly)).toContain('needless_double');
  });

  it('see that what ended by itself was lost, though its daemon lived on', () => {
    const lost = withCopies(
      copies.map((copy) => ({
        ...copy,
        record: {
          ...copy.record,
          facts: copy.record.facts.map((fact) =>
            fact.value.t === 'end' && fact.value.run_id === run.runId
              ? { ...fact, value: { ...fact.value, out: 'lost' } }
              : fact,
          ),
        },
      })),
    );
    const said = (atMs: number, boot: number): Told => ({
      ...{ atMs, boot, host: run.host, id: 'other', final: undefined, conflicts: 0 },
    });
    const before = said(run.startedMs - 1, 1);
    const after = (run.endedMs ?? 0) + 20_000;
    const rules = (...told: Told[]) => rulesOf({ ...lost, told }, STRICT);
    expect(rules(before, said(after, 1))).toContain('needless_loss');
    expect(rules(before, said(after, 2))).not.toContain('needless_loss');
    expect(rules(said(after, 1))).not.toContain('needless_loss');
    expect(rules(before)).not.toContain('needless_loss');
  });

  it('excuse an owner that could not know of the first start, but no daemon that ran both at once', () => {
    const twice = (fact: Fact): Fact[] =>
      fact.value.run_id !== run.runId || !['start', 'end'].includes(String(fact.value.t))
        ? [fact]
        : [fact, { ...fact, seq: fact.seq + 1_000, value: { ...fact.value, run_id: 'again' } }];
    const both = withCopies(
      copies.map((copy) => ({
        ...copy,
        record: { ...copy.record, facts: copy.record.facts.flatMap(twice) },
      })),
    );
    const again: OutsideRun = { ...run, runId: 'again', startedMs: run.startedMs + 1 };
    // The host that knew first of the second start heard of the first one later.
    const knowledge = new Knowledge();
    knowledge.learned('here', run.runId, 1);
    knowledge.learned('there', 'again', 2);
    knowledge.learned('there', run.runId, 3);
    // A disk that was replaced later does not make it another one.
    knowledge.replaced('there', new Set(), 4);
    knowledge.learned('here', 'again', 5);
    const story = (second: OutsideRun): Evidence => ({ ...both, knowledge, runs: [run, second] });
    expect(rulesOf(story({ ...again, host: 'elsewhere' }), WILD)).toEqual([]);
    expect(
      rulesOf({ ...story({ ...again, host: 'elsewhere' }), knowledge: new Knowledge() }, WILD),
    ).toEqual(['started_again', 'unmarked_double']);
    expect(rulesOf(story(again), WILD)).toEqual(['started_again', 'unmarked_double']);
  });

  it('see a final that changes and one that is taken back', () => {
    const [told] = truth.told.filter(({ final }) => final !== undefined);
    if (told?.final === undefined) throw new Error('nothing was told');
    const changed = { ...told, final: { ...told.final, state: 'failed' } };
    expect(rulesOf({ ...truth, told: [...truth.told, changed] }, WILD)).toEqual(['final_changed']);
    const back = { ...told, final: undefined };
    expect(rulesOf({ ...truth, told: [...truth.told, back] }, WILD)).toEqual(['final_taken_back']);
  });

  it('see a run that no history knows', () => {
    const ghost = { ...run, runId: '0000000000000000' };
    expect(rulesOf({ ...truth, runs: [run, ghost] })).toEqual(['orphan_run']);
    const stranger = { ...run, taskId: 'unknown' };
    expect(rulesOf({ ...truth, runs: [run, stranger] })).toContain('orphan_run');
  });

  it('see a task that was started twice for no cause, at once and after its end', () => {
    const again = { ...run, startedMs: run.startedMs + 1 };
    expect(rulesOf({ ...truth, runs: [run, again] })).toEqual([
      'same_run_twice',
      'started_again',
      'unmarked_double',
    ]);
    const late = { ...run, startedMs: truth.endMs - 1, endedMs: truth.endMs };
    expect(rulesOf({ ...truth, runs: [run, late] })).toContain('started_after_final');
  });

  it('excuse a task that is lost when it lay on the destroyed disk alone, and no other', () => {
    const lost = (names: string[], of = id) => ({
      ...truth,
      replicas: new Map(),
      lost: new Map([[of, new Set(names)]]),
    });
    const all = ['creation', `start ${run.runId}`];
    expect(rulesOf(lost([]))).toEqual(['lost', 'orphan_run']);
    expect(rulesOf(lost([`start ${run.runId}`]))).toEqual(['lost']);
    expect(rulesOf(lost(all, 'another'))).toContain('lost');
    expect(rulesOf(lost(all))).toEqual([]);
  });

  it('excuse a final that changes when it lay on the destroyed disk alone', () => {
    const [told] = truth.told.filter(({ final }) => final !== undefined);
    if (told?.final === undefined) throw new Error('nothing was told');
    const before = { ...told, final: { ...told.final, state: 'failed' } };
    const { state, runId, digest } = before.final;
    const finals = truth.told.filter(({ final }) => final !== undefined);
    const changed = { ...truth, told: [before, ...finals] };
    const lost = new Map([[id, new Set([`final ${state} ${runId} ${digest}`])]]);
    expect(rulesOf(changed, WILD)).toEqual(['final_changed']);
    expect(rulesOf({ ...changed, lost }, WILD)).toEqual([]);
  });

  it('see that a task has fewer copies than the mesh could have', () => {
    const other = new Map([...truth.replicas, ['other', copies.map((copy) => ({ ...copy }))]]);
    const [first] = copies;
    if (first === undefined) throw new Error('a copy');
    const record = { ...first.record, firstHome: [first.storeId] };
    const few = new Map([...other, [id, [{ ...first, record }]]]);
    expect(rulesOf({ ...truth, replicas: few })).toContain('missing_copy');
  });

  it('see a run that goes on', () => {
    expect(rulesOf({ ...truth, runs: [{ ...run, endedMs: undefined }] }, WILD)).toEqual(['stray']);
    const long = { ...run, endedMs: (run.endedMs ?? 0) + 60_000 };
    expect(rulesOf({ ...truth, runs: [long] })).toEqual(['stray']);
  });

  it('see a result that no run had', () => {
    expect(rulesOf({ ...truth, runs: [{ ...run, exitCode: 3 }] }, WILD)).toEqual(['false_result']);
    expect(rulesOf({ ...truth, runs: [] }, WILD)).toEqual(['false_result']);
  });

  it('see views that differ, a member called dead, and a daemon that gave up', () => {
    expect(rulesOf({ ...truth, viewHashes: ['a', 'b'] })).toEqual(['views']);
    const members = truth.members.map((member, i) =>
      i === 0 ? { ...member, status: 'dead' as const } : member,
    );
    expect(rulesOf({ ...truth, members })).toEqual(['views']);
    expect(rulesOf({ ...truth, fatals: [{ host: 'h1', why: 'it failed' }] })).toEqual(['fatal']);
  });
});
