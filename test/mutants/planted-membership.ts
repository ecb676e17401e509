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
];
