/** The progress of a long verb on stderr: a bar on a terminal, a line every few seconds where one was asked for. */
import cliProgress, { type Options } from 'cli-progress';
import { formatDuration } from '../base/units.ts';
import type { CliIo } from './io.ts';

export interface Snapshot {
  readonly done: number;
  /** Undefined while the input has not been read to its end. */
  readonly total: number | undefined;
  /** Known of the input so far, where the total is not known. */
  readonly read: number;
  readonly failed: number;
  readonly outstanding: number;
}

export interface Progress {
  /**
   * Writes other output without a bar in the middle of it. `write` says whether the terminal's cursor is at the
   * beginning of a line afterwards: a bar drawn over the end of an unfinished line would hide it.
   */
  around(write: () => Promise<boolean>): Promise<void>;
  stop(): Promise<void>;
}

const writeOnly = async (write: () => Promise<boolean>): Promise<void> => {
  await write();
};

export const noProgress: Progress = { around: writeOnly, stop: () => Promise.resolve() };

const DRAWS_PER_SECOND = 5;
const LINE_EVERY_MS = 5_000;
/** The rate is that of the last seconds: an average since the start tells nothing after a member died. */
const RATE_WINDOW_MS = 10_000;
const SAMPLE_EVERY_MS = 150;
const ERASE_REST = '\u001b[K';
const ERASE_LINE = `\r${ERASE_REST}`;

/** Tasks a second over the last seconds; pure, fed with times. */
export class RateMeter {
  readonly #samples: { readonly atMs: number; readonly done: number }[] = [];

  add(atMs: number, done: number): void {
    const last = this.#samples.at(-1);
    // A bar is drawn after every result: without this, thousands of samples a second would be kept.
    if (last !== undefined && atMs - last.atMs < SAMPLE_EVERY_MS) return;
    this.#samples.push({ atMs, done });
    while (this.#samples.length > 2 && atMs - (this.#samples[1]?.atMs ?? atMs) >= RATE_WINDOW_MS) {
      this.#samples.shift();
    }
  }

  /** Undefined until there is something to divide. */
  get perSecond(): number | undefined {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined || last.atMs <= first.atMs) return undefined;
    return ((last.done - first.done) * 1_000) / (last.atMs - first.atMs);
  }
}

export function describe(snapshot: Snapshot, perSecond: number | undefined): string {
  const total = snapshot.total === undefined ? `${snapshot.read}+` : `${snapshot.total}`;
  const parts = [`${snapshot.done}/${total}`, `${snapshot.outstanding} out`];
  if (snapshot.failed > 0) parts.push(`${snapshot.failed} failed`);
  if (perSecond !== undefined) {
    parts.push(`${perSecond >= 10 ? Math.round(perSecond) : perSecond.toFixed(1)}/s`);
    if (snapshot.total !== undefined && perSecond > 0) {
      const leftMs = ((snapshot.total - snapshot.done) * 1_000) / perSecond;
      parts.push(`ETA ${formatDuration(leftMs)}`);
    }
  }
  return parts.join('  ');
}

/** `wanted` undefined: on a terminal only. */
export function startProgress(
  io: CliIo,
  wanted: boolean | undefined,
  name: string,
  read: () => Snapshot,
): Progress {
  if (wanted === false || (wanted === undefined && !io.stderr.isTerminal)) return noProgress;
  return io.stderr.isTerminal ? startBar(io, read) : startLines(io, name, read);
}

function startLines(io: CliIo, name: string, read: () => Snapshot): Progress {
  const meter = new RateMeter();
  meter.add(performance.now(), 0);
  const line = () => {
    const snapshot = read();
    meter.add(performance.now(), snapshot.done);
    return io.stderr.line(`${name}: ${describe(snapshot, meter.perSecond)}`);
  };
  const timer = setInterval(() => void line(), LINE_EVERY_MS);
  return {
    around: writeOnly,
    stop: async () => {
      clearInterval(timer);
      await line();
    },
  };
}

/**
 * Only the bar's drawing is cli-progress's. Its SingleBar saves the cursor's position at the start and goes back
 * there at the end: with output printed in between, that erases a line of somebody's output.
 */
function barLine(snapshot: Snapshot, perSecond: number | undefined, columns: number): string {
  const known = snapshot.total ?? snapshot.read;
  const bar = cliProgress.Format.BarFormat(known === 0 ? 0 : snapshot.done / known, BAR);
  // One short of the width, for a full line wraps, and a wrapped one cannot be erased with one carriage return.
  return `${bar} ${describe(snapshot, perSecond)}`.slice(0, Math.max(0, columns - 1));
}

const BAR: Options = {
  barsize: 24,
  barCompleteString: '█'.repeat(24),
  barIncompleteString: '░'.repeat(24),
  barGlue: '',
};

function startBar(io: CliIo, read: () => Snapshot): Progress {
  const meter = new RateMeter();
  meter.add(performance.now(), 0);
  let writing = 0;
  let atLineStart = true;
  const draw = () => {
    if (writing > 0 || !atLineStart) return;
    const snapshot = read();
    meter.add(performance.now(), snapshot.done);
    void io.stderr.write(`\r${barLine(snapshot, meter.perSecond, io.stderr.columns)}${ERASE_REST}`);
  };
  const timer = setInterval(draw, 1_000 / DRAWS_PER_SECOND);
  return {
    around: async (write) => {
      writing++;
      if (atLineStart) await io.stderr.write(ERASE_LINE);
      atLineStart = await write();
      writing--;
      draw();
    },
    stop: async () => {
      clearInterval(timer);
      await io.stderr.write(atLineStart ? ERASE_LINE : '\n');
    },
  };
}
