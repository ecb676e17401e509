/**
 * The daemon's log with an ear: what is logged goes where it went before, and to whoever listens now. It takes secrets
 * out first, for both.
 */
import { LOG_LEVELS, type LogFields, type Logger, type LogLevel } from './telemetry.ts';

export interface LogRecord {
  readonly wallMs: number;
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: LogFields;
}

/** Records for those who begin to listen later; debug ones are not among them, for they would push out the others. */
export const BACKLOG_MAX = 512;
/** What a listener gets of one value: a stack fits. */
const VALUE_CHARS_MAX = 4_096;
const FIELDS_MAX = 32;

const SECRET_NAME = /token|secret|passw|private_?key|credential/i;
const INVITATION = /covey1-[\w-]+/g;
const REDACTED = '[redacted]';

const levelOf = (level: LogLevel): number => LOG_LEVELS.indexOf(level);

interface Listener {
  readonly level: number;
  readonly hear: (record: LogRecord) => void;
}

export class LogTap implements Logger {
  readonly #inner: Logger;
  readonly #innerLevel: number;
  readonly #wallMs: () => number;
  readonly #listeners = new Set<Listener>();
  readonly #backlog: LogRecord[] = [];
  #lowest: number;

  /** `level`: what `inner` takes. */
  constructor(inner: Logger, level: LogLevel, wallMs: () => number) {
    this.#inner = inner;
    this.#innerLevel = levelOf(level);
    this.#wallMs = wallMs;
    this.#lowest = this.#lowestLevel();
  }

  #lowestLevel(): number {
    const wanted = [...this.#listeners].map(({ level }) => level);
    return Math.min(levelOf('info'), this.#innerLevel, ...wanted);
  }

  log(level: LogLevel, message: string, fields: LogFields = {}): void {
    const at = levelOf(level);
    if (at < this.#lowest) return;
    const clean = scrub(fields);
    const text = message.replace(INVITATION, REDACTED);
    this.#inner.log(level, text, clean);
    const isKept = at >= levelOf('info');
    const heard = [...this.#listeners].filter((listener) => at >= listener.level);
    if (!isKept && heard.length === 0) return;
    const record = { wallMs: this.#wallMs(), level, message: text, fields: flat(clean) };
    if (isKept) this.#backlog.push(record);
    if (this.#backlog.length > BACKLOG_MAX) this.#backlog.shift();
    for (const { hear } of heard) hear(record);
  }

  /** From now on. `hear` must not log. Answers the function that ends it. */
  listen(level: LogLevel, hear: (record: LogRecord) => void): () => void {
    const listener = { level: levelOf(level), hear };
    this.#listeners.add(listener);
    this.#lowest = this.#lowestLevel();
    return () => {
      this.#listeners.delete(listener);
      this.#lowest = this.#lowestLevel();
    };
  }

  /** The last `count` of this level and above, the oldest first. */
  last(level: LogLevel, count: number): LogRecord[] {
    if (count <= 0) return [];
    return this.#backlog.filter((record) => levelOf(record.level) >= levelOf(level)).slice(-count);
  }
}

function scrub(fields: LogFields): LogFields {
  const entries = Object.entries(fields).map(([name, value]): [string, unknown] => {
    if (SECRET_NAME.test(name)) return [name, REDACTED];
    return [name, typeof value === 'string' ? value.replace(INVITATION, REDACTED) : value];
  });
  return Object.fromEntries(entries);
}

/** As values that cost little to keep and to send: what is no scalar becomes text. */
function flat(fields: LogFields): LogFields {
  const entries = Object.entries(fields).slice(0, FIELDS_MAX);
  return Object.fromEntries(entries.map(([name, value]) => [name, scalarOf(value)]));
}

function scalarOf(value: unknown): string | number | boolean | null {
  if (value === null || typeof value === 'boolean') return value;
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value);
  const text = typeof value === 'string' ? value : jsonOf(value).replace(INVITATION, REDACTED);
  return text.length <= VALUE_CHARS_MAX ? text : `${text.slice(0, VALUE_CHARS_MAX)}…`;
}

function jsonOf(value: unknown): string {
  try {
    return JSON.stringify(value) ?? String(value);
  } catch (thrown) {
    return `(not JSON: ${String(thrown)})`;
  }
}
