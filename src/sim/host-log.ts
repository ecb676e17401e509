/** What the daemons of one simulated host log: kept for a report, and some of it judged at once. */
import type { LogFields, Logger, LogLevel } from '../base/telemetry.ts';
import { HANDLER_FAILED } from '../peer/messenger.ts';
import type { Clock } from '../ports/clock.ts';

/** Lines of each host kept for a report. */
const LOG_LINES_MAX = 2_000;
/** On a host these are lines in the log; here they are mistakes that were found. */
const MISTAKES: ReadonlySet<string> = new Set([
  HANDLER_FAILED,
  'a control method failed',
  'an answer is not JSON',
]);

export class HostLog implements Logger {
  readonly lines: string[] = [];
  readonly #host: string;
  readonly #clock: Clock;

  constructor(host: string, clock: Clock) {
    this.#host = host;
    this.#clock = clock;
  }

  log(level: LogLevel, message: string, fields: LogFields = {}): void {
    const at = this.#clock.nowMs().toFixed(1).padStart(9);
    this.lines.push(`${at} ${this.#host} ${level} ${message} ${JSON.stringify(fields)}`);
    if (this.lines.length > LOG_LINES_MAX) this.lines.shift();
    if (!MISTAKES.has(message)) return;
    this.#clock.after(0, () => {
      throw new Error(`${message}: ${fields.type ?? fields.method}: ${fields.error}`);
    });
  }
}
