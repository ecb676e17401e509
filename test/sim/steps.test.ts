/**
 * The rules of single steps can fail: each is given a true record of a small world and one false step, and must say so
 * by the name of the rule.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import type { Fact, RecordState } from '../../src/records/record.ts';
import { argvOf } from '../../src/sim/commands.ts';
import { type Actor, type Ground, Steps } from '../../src/sim/steps.ts';
import { World } from '../../src/sim/world.ts';

let record: RecordState;
let storeId: string;

/** A task that has ended, as its owner holds it. */
beforeAll(async () => {
  const world = new World({ seed: 'steps', peers: 3 });
  await world.run(async () => {
    await world.joinAll();
    const exec = { argv: argvOf({ durationMs: 100, failures: 0, isDeaf: false }), cwd: '/' };
    world.submit(0, { exec }, { kind: 'exec', attempts: 1, failures: 0 });
    await world.runUntil(() => world.pending().length === 0, 30_000);
  });
  expect(world.evidence().steps).toEqual([]);
  const [copies = []] = world.replicas().values();
  const [copy] = copies;
  if (copy === undefined) throw new Error('there is no task');
  record = copy.record;
  storeId = record.facts.find(({ value }) => value.t === 'start')?.store ?? '';
});

/** The record as it was when it had facts of these types alone. */
const only = (...types: string[]): RecordState => ({
  ...record,
  facts: record.facts.filter(({ value }) => types.includes(String(value.t))),
});

/** Steps of a world of so many disks that all hold this version. */
function watch(durable: RecordState | undefined, disks = 3, ground: Partial<Ground> = {}) {
  const steps = new Steps({
    observers: () => 8,
    disks: () =>
      Array.from({ length: disks }, (_, i) => ({
        name: `h${i + 1}`,
        bootCount: 1,
        durable: () => durable,
        isBuried: () => false,
        isAside: () => false,
      })),
    nowMs: () => 100_000,
    isIntact: () => true,
    inTouchForMs: () => 0,
    ...ground,
  });
  const actor: Actor = {
    host: 'h1',
    storeId,
    shown: new Map(),
    minoritySinceMs: undefined,
  };
  return { steps, actor, rules: () => [...new Set(steps.violations.map(({ rule }) => rule))] };
}

/** Another fact of the owner, under a dot of its own. */
const added = (base: RecordState, value: Fact['value']): RecordState => ({
  ...base,
  facts: [...base.facts, { store: storeId, seq: 1_000_000, value }],
});
const bodyOf = (type: string): Fact['value'] =>
  record.facts.find(({ value }) => value.t === type)?.value ?? {};

describe('the rules of steps', () => {
  it('object to a start in a later boot than the one that was ordered to', () => {
    const disk = { name: 'h1', durable: () => record, isBuried: () => false, isAside: () => false };
    const start = (bootCount: number): string[] => {
      const { steps, rules } = watch(record, 3, {
        disks: () => Array.from({ length: 3 }, () => ({ ...disk, bootCount })),
      });
      steps.started('h1', record.id, String(bodyOf('start').run_id));
      return rules();
    };
    expect(start(1)).toEqual([]);
    expect(start(2)).toEqual(['wrong_boot']);
  });

  it('object to a start long after the attempt was given up', () => {
    let nowMs = 100_000;
    const { steps, actor, rules } = watch(record, 3, { nowMs: () => nowMs });
    steps.visible(actor, record, only('start'));
    nowMs += 5_000;
    steps.started('h1', record.id, String(bodyOf('start').run_id));
    expect(rules()).toEqual([]);
    nowMs += 5_000;
    steps.started('h1', record.id, String(bodyOf('start').run_id));
    expect(rules()).toEqual(['started_too_late']);
  });

  it('object to a verdict about a member that a third one hears', () => {
    const { steps, rules } = watch(record, 3, {
      inTouchForMs: (a, b) => (a === 'h3' || b === 'h3' ? 20_000 : 0),
    });
    steps.convicted('h1', 'h2');
    expect(rules()).toEqual(['convicted_though_heard']);
    const alone = watch(record, 3, { inTouchForMs: (a) => (a === 'h3' ? 2_000 : 0) });
    alone.steps.convicted('h1', 'h2');
    expect(alone.rules()).toEqual([]);
  });

  it('find nothing wrong with a task that is placed, ends and is told', () => {
    const { steps, actor, rules } = watch(record);
    steps.visible(actor, only('start'), only());
    steps.started('h1', record.id, String(bodyOf('start').run_id));
    steps.visible(actor, record, only('start'));
    steps.told(actor, record.id);
    steps.acknowledged('h1', record.id);
    expect(rules()).toEqual([]);
  });

  it('see what is shown, told, acknowledged or started before enough disks have it', () => {
    const { steps, actor, rules } = watch(only(), 1);
    steps.visible(actor, record, undefined);
    expect(rules()).toEqual(['shown_before_durable']);
    steps.told(actor, record.id);
    steps.acknowledged('h1', record.id);
    steps.canceled('h1', record.id);
    steps.started('h1', record.id, 'any');
    steps.gone(actor, record);
    expect(rules().slice(1)).toEqual([
      'told_early',
      'acknowledged_early',
      'canceled_early',
      'started_early',
      'given_up_early',
    ]);
  });

  it('count no copies where W was lowered or a disk destroyed', () => {
    const lowered = watch(record, 1);
    lowered.steps.members(lowered.actor, ['alive', 'dead', 'dead']);
    lowered.steps.acknowledged('h1', record.id);
    expect(lowered.rules()).toEqual([]);
    const destroyed = watch(record, 1, { isIntact: () => false });
    destroyed.steps.acknowledged('h1', record.id);
    expect(destroyed.rules()).toEqual([]);
  });

  it('see a version without facts of the one before, and a dot with two values', () => {
    const { steps, actor, rules } = watch(record);
    steps.visible(actor, record, undefined);
    steps.visible(actor, only('start'), record);
    expect(rules()).toEqual(['facts_lost']);
    const other = record.facts.map((fact) => ({ ...fact, value: { ...fact.value, more: 1 } }));
    steps.visible({ ...actor, host: 'h2', shown: new Map() }, { ...record, facts: other }, record);
    expect(rules()).not.toContain('dot_reused');
    steps.visible(
      { ...actor, host: 'h2', shown: new Map() },
      { ...record, facts: other },
      undefined,
    );
    expect(rules()).toContain('dot_reused');
  });

  it('see an owner that writes what its own version forbids', () => {
    const cases: [RecordState, Fact['value'], string][] = [
      [only('start'), { ...bodyOf('start'), run_id: 'another' }, 'start_while_open'],
      [only('start', 'end'), bodyOf('end'), 'second_end'],
      [record, bodyOf('final'), 'written_after_final'],
      [
        added(only(), { t: 'cancel', reason: '', by: '', at: 1 }),
        bodyOf('start'),
        'start_after_cancel',
      ],
    ];
    for (const [before, value, rule] of cases) {
      const extra = { store: storeId, seq: 2_000_000, value };
      const after = { ...before, facts: [...before.facts, extra] };
      const { steps, actor, rules } = watch(after);
      steps.visible(actor, after, before);
      expect(rules()).toEqual([rule]);
    }
  });

  it('see a loss without proof on the small side', () => {
    const lost = { ...bodyOf('end'), out: 'lost' };
    const after = added(only('start'), lost);
    let nowMs = 0;
    const { steps, actor, rules } = watch(after, 3, { nowMs: () => nowMs });
    steps.members(actor, ['alive', 'suspect', 'dead']);
    nowMs = 3_000;
    steps.visible(actor, after, only('start'));
    expect(rules()).toEqual(['minority_loss']);
  });

  it('see who accuses after its own pause, and a refusal without a cause', () => {
    const { steps, rules } = watch(record);
    steps.thawed('h1', 6_000);
    steps.convicted('h2', 'h3');
    expect(rules()).toEqual([]);
    steps.convicted('h1', 'h3');
    steps.refused('h1', 'rolled back', 'a store');
    expect(rules()).toEqual(['accused_after_pause', 'refused_for_nothing']);
  });
});
