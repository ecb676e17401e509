/**
 * How many lines of one message are written: whoever makes a daemon log a line for each of his frames would else fill its
 * disk, and hide the other lines. What was left out is counted, and told with the next line of that message.
 */
import { Allowance } from '../base/allowance.ts';

/** A rack that restarts says the same of thirty members; nobody reads more of one kind than two a second. */
const LINES = { burst: 100, perSecond: 2 };
/** Different messages that are counted; most are constants, few hold a name. */
const MESSAGES_MAX = 1_024;

interface Budget {
  readonly allowance: Allowance;
  left: number;
}

export class LogBudget {
  readonly #budgets = new Map<string, Budget>();

  /** How many were left out since the last one that was written; undefined: leave this one out too. */
  take(message: string, nowMs: number): number | undefined {
    const known = this.#budgets.get(message);
    const budget = known ?? { allowance: new Allowance(LINES, nowMs), left: 0 };
    if (!known) {
      if (this.#budgets.size >= MESSAGES_MAX) this.#budgets.clear();
      this.#budgets.set(message, budget);
    }
    if (!budget.allowance.take(1, nowMs)) {
      budget.left += 1;
      return undefined;
    }
    const { left } = budget;
    budget.left = 0;
    return left;
  }
}
