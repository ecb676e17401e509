/** Work that may hang, as on a disk that does not answer: how it ended, or that it did not in time. */
import type { Clock } from '../ports/clock.ts';

export type Outcome<T> =
  | { readonly kind: 'done'; readonly value: T }
  | { readonly kind: 'late' }
  | { readonly kind: 'error'; readonly error: unknown };

export function outcomeOf<T>(clock: Clock, ms: number, work: Promise<T>): Promise<Outcome<T>> {
  return new Promise((resolve) => {
    const timer = clock.after(ms, () => resolve({ kind: 'late' }));
    work.then(
      (value) => {
        timer.cancel();
        resolve({ kind: 'done', value });
      },
      (error: unknown) => {
        timer.cancel();
        resolve({ kind: 'error', error });
      },
    );
  });
}
