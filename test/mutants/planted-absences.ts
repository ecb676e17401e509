/** Planted bugs in what is remembered over a restart, a removal and a long absence. */
import type { Mutant } from './mutant.ts';

export const ABSENCE_MUTANTS: readonly Mutant[] = [
  {
    name: 'mark_not_kept',
    breaks: 'a final that one disk alone has is hidden until the next start, not over it',
    modes: ['crashes'],
    world: {
      chosen: ['crash_in_write'],
      faults: 14,
      tasks: 80,
      storyMs: 60_000,
      taskMsMax: 50,
      peers: 3,
      delayMsMax: 20,
      diskMsMax: 20,
      repeats: 100,
    },
    edits: [
      {
        file: 'tasks/visibility.ts',
        find: '    return [{ put: PREFIX + after.id, value: MARK }];',
        replace: '    return [];',
      },
    ],
  },
  {
    name: 'removed_store_counted',
    breaks: 'the copy of a store that was removed still counts for W',
    modes: ['storm'],
    world: { chosen: ['forget'], faults: 4, peers: 4, tasks: 60, storyMs: 60_000, slots: 1 },
    edits: [
      {
        file: 'records/sharing.ts',
        find: '    const used = new Set([...home, ...already]);',
        replace:
          '    const counted = [...already, ...plan.home.filter((store) => !home.includes(store))];\n    const used = new Set([...home, ...already]);',
      },
      {
        file: 'records/sharing.ts',
        find: '{ ...plan, home, already, reserve, isReachable, put }',
        replace: '{ ...plan, home, already: counted, reserve, isReachable, put }',
      },
    ],
  },
  {
    name: 'removed_store_kept',
    breaks: 'a store that was removed keeps its place in the homes of what is over',
    modes: ['storm'],
    world: { chosen: ['forget'], faults: 4, peers: 4, tasks: 60, storyMs: 30_000 },
    edits: [
      {
        file: 'tasks/redundancy.ts',
        find: "new Set(['unknown', 'left', 'removed']);",
        replace: "new Set(['left']);",
      },
    ],
  },
  {
    name: 'returns_unasked',
    breaks: 'a store that was away for too long keeps what it holds unfinished, and runs it',
    modes: ['storm'],
    world: {
      chosen: ['away_too_long'],
      ttlMs: 60_000,
      storyMs: 150_000,
      faults: 3,
      peers: 4,
      tasks: 100,
      slots: 1,
      taskMsMax: 8_000,
    },
    edits: [
      {
        file: 'peer/away.ts',
        find: '    if (!absences.isLong(storeId)) return undefined;',
        replace: '    if (!absences.isLong(storeId) || absences.ttlMs > 0) return undefined;',
      },
    ],
  },
];
