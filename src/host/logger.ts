/** The daemon's log: one line an event on stderr, as text for a person or JSON for a collector. */

import { LOG_LEVELS, type LogFields, type Logger, type LogLevel } from '../base/telemetry.ts';
import { LogBudget } from './log-budget.ts';

export class StreamLogger implements Logger {
  readonly #write: (line: string) => void;
  readonly #level: number;
  readonly #format: 'json' | 'text';
  readonly #budget = new LogBudget();

  constructor(options: {
    level: LogLevel;
    format: 'json' | 'text';
    write: (line: string) => void;
  }) {
    this.#write = options.write;
    this.#level = LOG_LEVELS.indexOf(options.level);
    this.#format = options.format;
  }

  log(level: LogLevel, message: string, fields: LogFields = {}): void {
    if (LOG_LEVELS.indexOf(level) < this.#level) return;
    const leftOut = this.#budget.take(message, performance.now());
    if (leftOut === undefined) return;
    const at = new Date().toISOString();
    if (leftOut > 0) this.#line(at, level, message, { ...fields, left_out: leftOut });
    else this.#line(at, level, message, fields);
  }

  #line(at: string, level: LogLevel, message: string, fields: LogFields): void {
    if (this.#format === 'json') {
      this.#write(`${JSON.stringify({ at, level, message, ...fields })}\n`);
      return;
    }
    const rest = Object.entries(fields).map(([key, value]) => ` ${key}=${textOf(value)}`);
    this.#write(`${at} ${level.toUpperCase().padEnd(5)} ${message}${rest.join('')}\n`);
  }
}

const textOf = (value: unknown): string =>
  typeof value === 'string' && !/[\s"=]/.test(value)
    ? value
    : (JSON.stringify(value) ?? 'undefined');
