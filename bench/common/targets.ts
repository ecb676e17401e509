/** What issue and design ask of a figure, whether it is met, and the table of all of them. */

export interface Target {
  readonly what: string;
  readonly value: number | null;
  /** Number.MAX_SAFE_INTEGER or 0: nothing is a must here, there is an aim alone. */
  readonly must: number;
  readonly aim: number;
  readonly met: 'aim' | 'must' | 'missed' | 'not measured';
}

function target(
  what: string,
  value: number | null | undefined,
  [must, aim]: readonly [number, number],
  isMet: (value: number, bound: number) => boolean,
): Target {
  if (value === null || value === undefined || !Number.isFinite(value)) {
    return { what, value: null, must, aim, met: 'not measured' };
  }
  const met = isMet(value, aim) ? 'aim' : isMet(value, must) ? 'must' : 'missed';
  return { what, value, must, aim, met };
}

/** The less the better. */
export const atMost = (
  what: string,
  value: number | null | undefined,
  must: number,
  aim: number,
): Target => target(what, value, [must, aim], (one, bound) => one <= bound);

/** The more the better. */
export const atLeast = (
  what: string,
  value: number | null | undefined,
  must: number,
  aim: number,
): Target => target(what, value, [must, aim], (one, bound) => one >= bound);

export function table(targets: readonly Target[]): string {
  const rows = targets.map(({ what, value, must, aim, met }) => {
    const shown = value === null ? '-' : String(Number(value.toFixed(3)));
    const bound = must === Number.MAX_SAFE_INTEGER || must === 0 ? '-' : String(must);
    return `${what.padEnd(58)}${shown.padStart(10)}${bound.padStart(8)}${String(aim).padStart(8)}  ${met}`;
  });
  const head = `${''.padEnd(58)}${'value'.padStart(10)}${'must'.padStart(8)}${'aim'.padStart(8)}`;
  return `${[head, ...rows].join('\n')}\n`;
}
