/** Planted bugs of the room `membership`. */
import type { Mutant } from './mutant.ts';

export const MEMBERSHIP_MUTANTS: readonly Mutant[] = [
  {
    name: 'refuted_verdict_kept',
    breaks: 'a verdict stands for a whole boot, whatever the condemned says',
    modes: ['cuts', 'wild', 'storm'],
    edits: [
      {
        file: 'membership/member.ts',
        find: 'verdict && compareTurns(record.statement, verdict.statement) <= 0;',
        replace: 'verdict && record.statement.epoch <= verdict.statement.epoch;',
      },
    ],
  },
  {
    name: 'one_observer_convicts',
    breaks: 'one observer convicts, whatever the others say that it can ask',
    modes: ['storm'],
    world: { chosen: ['partition_pair'], storyMs: 40_000 },
    edits: [
      {
        file: 'membership/conviction.ts',
        find: 'if (others.accusing === 0) return',
        replace: 'if (others.accusing < 0) return',
      },
      {
        file: 'membership/conviction.ts',
        find: 'if (others.objecting > 0) return',
        replace: 'if (others.objecting < 0) return',
      },
    ],
  },
  {
    name: 'objection_ignored',
    breaks: 'a member is convicted although another observer hears it',
    modes: ['storm'],
    world: { chosen: ['partition_bridge'], peers: 5, storyMs: 40_000 },
    edits: [
      {
        file: 'membership/conviction.ts',
        find: 'if (others.objecting > 0) return',
        replace: 'if (others.objecting > others.reachable) return',
      },
    ],
  },
  {
    name: 'paused_observer_accuses',
    breaks: 'a peer that stood still takes its own silence for that of all others',
    modes: ['storm'],
    world: { chosen: ['freeze'], storyMs: 40_000 },
    edits: [
      {
        file: 'membership/conviction.ts',
        find: "  if (standing.pausedLately) return { opinion: 'fine' };\n",
        replace: '',
      },
      {
        file: 'membership/watch.ts',
        find: '  watch.expectSinceMs = nowMs;\n  watch.window.reset();\n  watch.opinions.clear();',
        replace: '  watch.opinions.clear();',
      },
    ],
  },
  {
    name: 'boot_not_counted',
    breaks: 'a restarted daemon says that it is still the boot before',
    modes: ['crashes', 'wild'],
    edits: [
      {
        file: 'records/store-identity.ts',
        find: 'bootCount: (known?.bootCount ?? 0) + 1,',
        replace: 'bootCount: Math.max(known?.bootCount ?? 0, 1),',
      },
    ],
  },
  {
    name: 'late_answers_taken',
    breaks: 'an answer to an earlier boot is taken for the answer to a request of this boot',
    modes: ['storm'],
    world: { chosen: ['disk_stall', 'crash', 'restart_old_data'] },
    edits: [
      {
        file: 'peer/messenger.ts',
        find: 'this.#nextId = 1 + deps.random.uint32();',
        replace: 'this.#nextId = 1;',
      },
      { file: 'peer/messenger.ts', find: ' || serving.links !== links', replace: '' },
    ],
  },
];
