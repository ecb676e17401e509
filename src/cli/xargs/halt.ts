/** When `covey xargs` ends before its input does: the `--halt` of GNU parallel. Pure. */

export type Halt = {
  /** soon: what runs is waited for, nothing else starts. now: what runs is canceled. */
  readonly when: 'soon' | 'now';
  readonly why: 'fail' | 'success' | 'done';
} & ({ readonly count: number } | { readonly percent: number });

export interface Counts {
  readonly completed: number;
  readonly failed: number;
  /** Of all tasks; known when the input has ended. */
  readonly total: number | undefined;
}

/** Short forms of GNU parallel. */
const SHORT: Readonly<Record<string, string>> = {
  0: 'never',
  1: 'soon,fail=1',
  2: 'now,fail=1',
  '-1': 'soon,success=1',
  '-2': 'now,success=1',
};

/** Undefined: never. Text: what is wrong. */
export function parseHalt(text: string): Halt | undefined | string {
  const long = SHORT[text] ?? text.replace(/^(\d+)%$/, 'soon,fail=$1%');
  if (long === 'never') return undefined;
  const parts = /^(soon|now),(fail|success|done)=(\d{1,9})(%?)$/.exec(long);
  const number = Number(parts?.[3]);
  if (parts === null || number < 1 || (parts[4] === '%' && number > 100)) {
    return `--halt ${text}: write never, or now or soon, a comma, and fail, success or done with a number or a percentage, as in soon,fail=3 or now,done=10%`;
  }
  const [, when, why] = parts as unknown as [string, Halt['when'], Halt['why']];
  return parts[4] === '%' ? { when, why, percent: number } : { when, why, count: number };
}

const counted = ({ why }: Halt, { completed, failed }: Counts): number =>
  why === 'fail' ? failed : why === 'success' ? completed : completed + failed;

/** Of a percentage nothing is said before the number of all tasks is known. */
export function isReached(halt: Halt, counts: Counts): boolean {
  const count = counted(halt, counts);
  if ('count' in halt) return count >= halt.count;
  return count > 0 && counts.total !== undefined && 100 * count >= halt.percent * counts.total;
}

/**
 * The exit code of a run that was halted: 0 for successes that were asked for; of one failure its own, 128 and the signal
 * where it had none; the percentage that failed, or so many as failed, 101 at most.
 */
export function exitOfHalt(
  halt: Halt,
  counts: Counts,
  last: { readonly exit: number; readonly signal: number },
): number {
  if (halt.why === 'success') return 0;
  if ('percent' in halt) return Math.ceil((100 * counts.failed) / Math.max(1, counts.total ?? 1));
  if (halt.count > 1) return Math.min(counts.failed, 101);
  if (last.signal > 0) return 128 + last.signal;
  return last.exit < 0 ? 1 : last.exit;
}
