/** Planted bugs of the rooms `records` and `peer`, and of W: copies, dots, joins, anti-entropy, hand-off. */
import type { Mutant } from './mutant.ts';

export const RECORD_MUTANTS: readonly Mutant[] = [
  {
    name: 'ack_before_sync',
    breaks: 'a store says that it has a record before that is on its disk',
    modes: ['crashes', 'wild', 'storm'],
    edits: [
      {
        file: 'records/sharing.ts',
        find: '    const accepted = await this.accept({\n      record,\n      blob,\n      fresh: body.fresh === true,',
        replace:
          '    const accepting = this.accept({\n      record,\n      blob,\n      fresh: body.fresh === true,',
      },
      {
        file: 'records/sharing.ts',
        find: "    if (!accepted.ok) return accepted;\n    if (accepted.value.outcome === 'tombstone')",
        replace:
          "    const early = ok({ outcome: 'stored', record, existed: false } as Accepted);\n    const accepted = await Promise.race([accepting, Promise.resolve(early)]);\n    if (!accepted.ok) return accepted;\n    if (accepted.value.outcome === 'tombstone')",
      },
    ],
  },
  {
    name: 'delta_ack_before_sync',
    breaks: 'a store confirms new facts of a record before they are on its disk',
    modes: ['crashes', 'wild', 'storm'],
    edits: [
      {
        file: 'records/sharing.ts',
        find: '    const done = await this.#deps.replica.change<\n      RecordState | ',
        replace:
          '    if (this.#deps.replica.get(id) !== undefined && factsBeyond(this.#deps.replica.get(id) as RecordState, base).length === 0 && covers(clockOf(this.#deps.replica.get(id) as RecordState), base)) {\n      const before = this.#deps.replica.get(id) as RecordState;\n      void this.#deps.replica.change(id, ({ current }) => ({ value: true, ...(current === undefined ? {} : { next: joinRecords(current, { ...before, facts }) }) }));\n      return ok({ existed: true });\n    }\n    const done = await this.#deps.replica.change<\n      RecordState | ',
      },
    ],
  },
  {
    name: 'standin_dropped_unconfirmed',
    breaks: 'a counted stand-in copy is given up although no home store confirmed it',
    modes: ['wild', 'storm'],
    edits: [
      {
        file: 'records/handoff.ts',
        find: '    if (!inHome && confirmed < needed(others, required)) return false;\n',
        replace: '    if (!inHome && confirmed > required) return false;\n',
      },
    ],
  },
  {
    name: 'standin_dropped_after_one',
    breaks: 'a counted stand-in copy is given up when one home store has confirmed it, not W',
    modes: ['wild', 'storm'],
    edits: [
      {
        file: 'records/handoff.ts',
        find: 'Math.max(1, Math.min(required, others.length))',
        replace: '1',
      },
    ],
  },
  {
    name: 'join_keeps_left',
    breaks:
      'of two creations of one id each store keeps the one it saw first: the join does not commute',
    modes: ['wild', 'storm', 'crashes'],
    edits: [
      {
        file: 'records/record.ts',
        find: '  const base = creationOrder(a, b) <= 0 ? a : b;\n',
        replace: '  const base = creationOrder(a, a) <= 0 ? a : b;\n',
      },
    ],
  },
  {
    name: 'join_drops_right_tail',
    breaks: 'joining facts forgets what is left of the other side when this side is through',
    modes: ['crashes', 'wild', 'storm'],
    edits: [
      {
        file: 'records/record.ts',
        find: '  while (i < a.length || j < b.length) {',
        replace: '  while (i < a.length || (i === 0 && j < b.length)) {',
      },
    ],
  },
  {
    name: 'dot_counter_not_stored',
    breaks: 'the counter behind the dots is not in the batch with them: a restart uses dots twice',
    modes: ['crashes', 'wild', 'storm'],
    edits: [
      {
        file: 'records/store-identity.ts',
        find: 'value: encodeValue(this.#seq) }, seq: this.#seq };',
        replace: 'value: encodeValue(this.#durableSeq) }, seq: this.#seq };',
      },
    ],
  },
  {
    name: 'record_queue_skipped',
    breaks:
      'changes of one record do not wait for one another: each decides on a version that is being replaced',
    modes: ['crashes', 'calm', 'wild'],
    edits: [
      {
        file: 'records/replica.ts',
        find: 'queue.length === 1 ? this.#apply(id, decide)',
        replace: 'queue.length <= 2 ? this.#apply(id, decide)',
      },
    ],
  },
  {
    name: 'sync_compares_no_sums',
    breaks: 'anti-entropy takes any two stores for equal',
    modes: ['crashes', 'wild', 'cuts', 'storm'],
    edits: [
      {
        file: 'records/partner-sync.ts',
        find: 'const equal = cut === theirs && isBytes(body.sum, tree.root);',
        replace: 'const equal = cut === theirs;',
      },
      {
        file: 'records/partner-sync.ts',
        find: 'const equal = isBytes(answer.value.sum, atTheirs);',
        replace: 'const equal = atTheirs !== undefined;',
      },
    ],
  },
  {
    name: 'w_off_by_one',
    breaks: 'one copy less than W is enough',
    modes: ['crashes', 'cuts', 'calm'],
    edits: [
      {
        file: 'tasks/mesh-view.ts',
        find: 'Math.max(1, Math.min(copiesRequired, presentCount(view)))',
        replace: 'Math.max(1, Math.min(copiesRequired, presentCount(view)) - 1)',
      },
    ],
  },
  {
    name: 'w_lowered_by_unreachable',
    breaks: 'members that are merely out of reach lower W',
    modes: ['crashes', 'wild', 'storm'],
    edits: [
      {
        file: 'tasks/mesh-view.ts',
        find: 'Math.max(1, Math.min(copiesRequired, presentCount(view)))',
        replace:
          'Math.max(1, Math.min(copiesRequired, presentPeers(view).filter((peer) => peer.linked).length))',
      },
    ],
  },
  {
    name: 'dropped_before_its_time',
    breaks: 'a store forgets final records as soon as it sweeps, the others at their drop time',
    modes: ['calm', 'crashes'],
    edits: [
      {
        file: 'tasks/retention.ts',
        find: 'replica.droppable(now, SWEEP_MAX)',
        replace: 'replica.droppable(now + 86_400_000, SWEEP_MAX)',
      },
    ],
  },
  {
    name: 'seq_told_before_durable',
    breaks: 'others are told of dots that a crash may take back',
    modes: ['storm'],
    world: {
      chosen: ['link_reset', 'crash'],
      faults: 40,
      storyMs: 30_000,
      tasks: 60,
      diskMsMax: 1_500,
      delayMsMax: 20,
    },
    edits: [
      {
        file: 'records/store-identity.ts',
        find: '    return this.#durableSeq;\n',
        replace: '    return this.#seq;\n',
      },
    ],
  },
  {
    name: 'dots_reused_after_rollback',
    breaks: 'a boot counts its dots from where it finds the disk: a restored one uses them twice',
    modes: ['storm'],
    world: {
      chosen: ['restart_old_data'],
      storyMs: 30_000,
      delayMsMax: 300,
      diskMsMax: 1,
      tasks: 40,
    },
    edits: [
      {
        file: 'records/store-identity.ts',
        find: 'found : found + 1 + random.uint32();',
        replace: 'found : found + random.uint32() * 0;',
      },
    ],
  },
];
