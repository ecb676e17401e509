/** How often something can be done in a second: in rounds, of which the median counts, each as long as is asked for. */
import { median, rounded } from './statistics.ts';

const ROUNDS = 3;
/** Between two looks at the clock: a look costs as much as a small operation. */
const CHUNK = 64;

function rounds(ms: number, once: (ms: number) => number): number {
  // One that is not counted: the compiler has seen the code then.
  once(ms / 2);
  return rounded(median(Array.from({ length: ROUNDS }, () => once(ms))) ?? 0, 0);
}

/** `act` gets a number that rises by one: so that it need not do the same thing twice. */
export function rateOf(ms: number, act: (i: number) => unknown): number {
  let i = 0;
  return rounds(ms, (roundMs) => {
    const beganMs = performance.now();
    let done = 0;
    while (performance.now() - beganMs < roundMs) {
      for (let n = 0; n < CHUNK; n += 1) act(i++);
      done += CHUNK;
    }
    return (1_000 * done) / (performance.now() - beganMs);
  });
}

/** So many at once, each again as soon as it is done. */
export async function rateAtOnce(
  ms: number,
  atOnce: number,
  act: () => Promise<unknown>,
): Promise<number> {
  const rates: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const beganMs = performance.now();
    let done = 0;
    const slot = async (): Promise<void> => {
      while (performance.now() - beganMs < ms) {
        await act();
        done += 1;
      }
    };
    await Promise.all(Array.from({ length: atOnce }, slot));
    rates.push((1_000 * done) / (performance.now() - beganMs));
  }
  return rounded(median(rates) ?? 0, 0);
}
