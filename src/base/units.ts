/** Durations and sizes: constants, and the strings in which flags and configuration carry them. */
import { err, ok, type Result } from './result.ts';

export const SECOND_MS = 1_000;
export const MINUTE_MS = 60 * SECOND_MS;
export const HOUR_MS = 60 * MINUTE_MS;
export const DAY_MS = 24 * HOUR_MS;
export const KIB = 1_024;
export const MIB = 1_024 * KIB;

const DURATION_UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: SECOND_MS,
  m: MINUTE_MS,
  h: HOUR_MS,
  d: DAY_MS,
};
const SIZE_UNITS: Readonly<Record<string, number>> = { B: 1, KiB: KIB, MiB: MIB, GiB: 1_024 * MIB };

function parseWithUnit(
  text: string,
  units: Readonly<Record<string, number>>,
  what: string,
): Result<number, string> {
  const names = Object.keys(units).join(', ');
  const match = /^(\d+(?:\.\d+)?)([A-Za-z]+)$/.exec(text.trim());
  const unit = match?.[2] ?? '';
  const factor = Object.hasOwn(units, unit) ? units[unit] : undefined;
  if (!match || factor === undefined) {
    return err(`'${text}' is not a ${what}; write a number and one of ${names}`);
  }
  const value = Math.round(Number(match[1]) * factor);
  return Number.isSafeInteger(value) ? ok(value) : err(`'${text}' is too large a ${what}`);
}

/** `10s`, `1.5h`, `250ms` to whole milliseconds. */
export const parseDuration = (text: string): Result<number, string> =>
  parseWithUnit(text, DURATION_UNITS, 'duration');

/** `64KiB`, `1MiB` to whole bytes. */
export const parseSize = (text: string): Result<number, string> =>
  parseWithUnit(text, SIZE_UNITS, 'size');

/** Milliseconds as a person reads them: `0.3s`, `42s`, `3m12s`, `2h05m`, `3d4h`. */
export function formatDuration(ms: number): string {
  if (ms < SECOND_MS) return `${Math.round(ms)}ms`;
  if (ms < 10 * SECOND_MS) return `${(ms / SECOND_MS).toFixed(1)}s`;
  if (ms < MINUTE_MS) return `${Math.floor(ms / SECOND_MS)}s`;
  if (ms < HOUR_MS) {
    return `${Math.floor(ms / MINUTE_MS)}m${String(Math.floor((ms % MINUTE_MS) / SECOND_MS)).padStart(2, '0')}s`;
  }
  if (ms < DAY_MS) {
    return `${Math.floor(ms / HOUR_MS)}h${String(Math.floor((ms % HOUR_MS) / MINUTE_MS)).padStart(2, '0')}m`;
  }
  return `${Math.floor(ms / DAY_MS)}d${Math.floor((ms % DAY_MS) / HOUR_MS)}h`;
}
