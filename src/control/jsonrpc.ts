/**
 * JSON-RPC 2.0 on lines: bytes to requests, results to lines. Pure, and total over hostile bytes: whatever comes,
 * the outcome is a request or a named error.
 */
import { BATCH_MAX, JSON_DEPTH_MAX } from '../api/limits.ts';
import { type CoveyError, coveyError, ERROR_CODES, helpOf, messageOf } from '../base/errors.ts';
import { err, ok, type Result } from '../base/result.ts';
import { REQUEST_ID_CHARS_MAX } from './limits.ts';

export type RequestId = string | number | null;

export type Message =
  | {
      readonly kind: 'request';
      readonly id: RequestId;
      readonly method: string;
      readonly params: Readonly<Record<string, unknown>>;
    }
  | {
      readonly kind: 'notification';
      readonly method: string;
      readonly params: Readonly<Record<string, unknown>>;
    }
  | { readonly kind: 'invalid'; readonly id: RequestId; readonly error: CoveyError };

export type Line =
  | { readonly kind: 'blank' }
  | { readonly kind: 'single'; readonly message: Message }
  | { readonly kind: 'batch'; readonly messages: readonly Message[] }
  | { readonly kind: 'refused'; readonly error: CoveyError };

/** Stands for a value that JSON can write and we cannot keep. */
class Unkeepable {
  readonly why: string;

  constructor(why: string) {
    this.why = why;
  }
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
/** Texts without these hold no number that a double changes and no `__proto__`, escaped or not. */
const SUSPICIOUS = /\d{16}|\de\+?\d{3}|__proto__|\\u00(?:5f|6f|7[024])/i;
const INTEGER = /^-?\d+$/;

/** The third argument has been standard since ES2026 (`JSON.parse source text access`); the library types lag. */
const parseWithSource = JSON.parse as (
  text: string,
  reviver: (key: string, value: unknown, context: { readonly source?: string }) => unknown,
) => unknown;

export function readLine(bytes: Uint8Array): Line {
  const parsed = parseJson(bytes);
  if (!parsed.ok) return { kind: 'refused', error: parsed.error };
  const value = parsed.value;
  if (value === undefined) return { kind: 'blank' };
  if (!Array.isArray(value)) return { kind: 'single', message: messageFrom(value) };
  if (value.length === 0) return refused('INVALID_REQUEST', { why: 'the batch is empty' });
  if (value.length > BATCH_MAX) {
    return refused('BATCH_TOO_LARGE', { limit: BATCH_MAX, count: value.length });
  }
  return { kind: 'batch', messages: value.map(messageFrom) };
}

const refused = (...args: Parameters<typeof coveyError>): Line => ({
  kind: 'refused',
  error: coveyError(...args),
});

/** Undefined for a line of white space. */
function parseJson(bytes: Uint8Array): Result<unknown, CoveyError> {
  let text: string;
  try {
    text = decoder.decode(bytes);
  } catch {
    return err(coveyError('PARSE_ERROR', { why: 'it is not valid UTF-8' }));
  }
  if (text.trim() === '') return ok(undefined);
  // Before JSON.parse: its reviver, and everybody who walks the value later, recurses.
  if (deeperThan(text, JSON_DEPTH_MAX)) {
    const why = `it is nested deeper than ${JSON_DEPTH_MAX} levels`;
    return err(coveyError('INVALID_REQUEST', { why }));
  }
  try {
    const value: unknown = SUSPICIOUS.test(text)
      ? parseWithSource(text, markUnkeepable)
      : JSON.parse(text);
    return ok(value);
  } catch (thrown) {
    return err(coveyError('PARSE_ERROR', { why: shortReason(messageOf(thrown)) }));
  }
}

/** V8 quotes the input in its messages; the first line of it is enough. */
const shortReason = (text: string): string => (text.split('\n')[0] ?? '').slice(0, 160);

/** Looks at brackets outside strings; invalid JSON is left to the parser, which names what is wrong. */
export function deeperThan(text: string, depthMax: number): boolean {
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const char = text.charCodeAt(at);
    if (char === 0x5b || char === 0x7b) {
      depth += 1;
      if (depth > depthMax) return true;
    } else if (char === 0x5d || char === 0x7d) {
      depth -= 1;
    } else if (char === 0x22) {
      at = endOfString(text, at);
      if (at < 0) return false;
    }
  }
  return false;
}

/** Index of the quote that closes the string opened at `start`; −1 if none does. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let backslashes = 0;
    while (text.charCodeAt(end - 1 - backslashes) === 0x5c) backslashes += 1;
    if (backslashes % 2 === 0) return end;
  }
  return -1;
}

/**
 * Reviver. `JSON.parse` itself makes `__proto__` a plain own key, but every later copy by assignment would set a
 * prototype instead and lose the data: so it is refused here, by name.
 */
function markUnkeepable(key: string, value: unknown, context: { readonly source?: string }) {
  if (key === '__proto__') return new Unkeepable("the key '__proto__' is not allowed");
  if (typeof value !== 'number' || Number.isSafeInteger(value)) return value;
  const source = context.source ?? '';
  if (INTEGER.test(source) || !Number.isFinite(value)) {
    const text = source.length > 40 ? `${source.slice(0, 40)}…` : source;
    return new Unkeepable(`${text} is beyond 2^53−1; send it as a string`);
  }
  return value;
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' &&
  value !== null &&
  !Array.isArray(value) &&
  !(value instanceof Unkeepable);

function messageFrom(value: unknown): Message {
  const invalid = (id: RequestId, error: CoveyError): Message => ({ kind: 'invalid', id, error });
  const malformed = (id: RequestId, why: string): Message =>
    invalid(id, coveyError('INVALID_REQUEST', { why }));
  if (!isRecord(value)) return malformed(null, 'it is not an object');
  const hasId = Object.hasOwn(value, 'id');
  const id = hasId ? value.id : null;
  if (id !== null && typeof id !== 'string' && typeof id !== 'number') {
    return malformed(null, "'id' must be a string, a number or null");
  }
  if (typeof id === 'string' && id.length > REQUEST_ID_CHARS_MAX) {
    return malformed(null, `'id' is longer than ${REQUEST_ID_CHARS_MAX} characters`);
  }
  if (value.jsonrpc !== '2.0') return malformed(id, `'jsonrpc' must be "2.0"`);
  const method = value.method;
  if (typeof method !== 'string') return malformed(id, "'method' must be a string");
  const params = Object.hasOwn(value, 'params') ? value.params : {};
  const unkeepable = findUnkeepable(params, 'params');
  if (unkeepable !== undefined) {
    return invalid(id, coveyError('INVALID_PARAMS', { why: unkeepable }));
  }
  if (!isRecord(params)) {
    const why = "'params' must be an object: parameters are passed by name";
    return invalid(id, coveyError('INVALID_PARAMS', { why }));
  }
  return hasId ? { kind: 'request', id, method, params } : { kind: 'notification', method, params };
}

/** Recursion is safe: the depth was checked on the text. */
function findUnkeepable(value: unknown, path: string): string | undefined {
  if (value instanceof Unkeepable) return `At ${path.slice(0, 200)}: ${value.why}`;
  if (typeof value !== 'object' || value === null) return undefined;
  for (const [key, member] of Object.entries(value)) {
    if (typeof member !== 'object' || member === null) continue;
    const found = findUnkeepable(
      member,
      Array.isArray(value) ? `${path}[${key}]` : `${path}.${key}`,
    );
    if (found !== undefined) return found;
  }
  return undefined;
}

/** An error as it stands in an answer, also inside `task.submit_bulk` receipts. */
export interface ErrorReply {
  readonly code: number;
  readonly message: string;
  readonly data: { readonly code: string; readonly retryable: boolean; readonly help?: string };
}

export function errorReply(error: CoveyError): ErrorReply {
  const { rpc, retryable } = ERROR_CODES[error.code];
  const help = helpOf(error.code);
  return {
    code: rpc,
    message: error.message,
    // The fixed members last: no detail may take their place.
    data: {
      ...error.details,
      code: error.code,
      retryable,
      ...(help === undefined ? {} : { help }),
    },
  };
}

/** The text of an answer, without line feed. Throws what JSON.stringify throws: our own mistake. */
export function encodeAnswer(id: RequestId, outcome: Result<unknown, CoveyError>): string {
  return JSON.stringify(
    outcome.ok
      ? { jsonrpc: '2.0', id, result: outcome.value ?? {} }
      : { jsonrpc: '2.0', id, error: errorReply(outcome.error) },
  );
}

export const encodeNotification = (method: string, params: unknown): string =>
  JSON.stringify({ jsonrpc: '2.0', method, params });
