/** All planted bugs. */
import type { Mutant } from './mutant.ts';
import { ABSENCE_MUTANTS } from './planted-absences.ts';
import { MEMBERSHIP_MUTANTS } from './planted-membership.ts';
import { RECORD_MUTANTS } from './planted-records.ts';
import { TASK_MUTANTS } from './planted-tasks.ts';

export const MUTANTS: readonly Mutant[] = [
  ...RECORD_MUTANTS,
  ...TASK_MUTANTS,
  ...MEMBERSHIP_MUTANTS,
  ...ABSENCE_MUTANTS,
];
