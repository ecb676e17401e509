/** "Did you mean": the verb that a mistyped one is closest to. */
import { closest, distance } from 'fastest-levenshtein';

export function nearestVerb(typed: string, verbs: readonly string[]): string {
  const nearest = closest(typed, [...verbs]);
  return distance(typed, nearest) <= Math.max(1, Math.floor(typed.length / 3))
    ? `; did you mean '${nearest}'?`
    : '';
}
