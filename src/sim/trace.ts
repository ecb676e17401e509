/**
 * The trace of a simulated world: every delivered event and every port call with its arguments, in order, hashed
 * as they come. Two runs of one seed must give the same hash; where they do not, `lines` shows the first difference.
 *
 * Everything is written with its type and length before it, so that no two different sequences of events can be
 * the same bytes. Times are part of it: the clock writes the moment of each event that it delivers.
 */
import { toHex } from '../base/hash.ts';
import { Checksum } from './checksum.ts';
import type { Trace } from './clock.ts';

const BUFFER_BYTES = 64 * 1_024;
/** The longest part that is written without a check for room: a tag and a double. */
const PART_BYTES_MAX = 16;
/** Of one unit of UTF-16. */
const UTF8_BYTES_MAX = 3;
/** Texts that come again and again (ids, keys, peers) are numbered like the names of events. */
const KNOWN_TEXT_CHARS_MAX = 96;
const KNOWN_TEXTS_MAX = 16_384;
/** Nesting of arguments; ports take plain data, a few levels deep. */
const DEPTH_MAX = 32;

const TAG = {
  undefined: 0,
  null: 1,
  false: 2,
  true: 3,
  number: 4,
  text: 5,
  bytes: 6,
  list: 7,
  map: 8,
  event: 9,
  name: 10,
  whole: 11,
  known: 12,
} as const;

const encoder = new TextEncoder();
/** Longer texts are worth a call of the platform's encoder. */
const LOOP_CHARS_MAX = 64;

/** Of an event: written in full when it first comes, then by its number. */
interface Name {
  readonly text: string;
  number: number | undefined;
}

export class TraceHash {
  readonly #hash = new Checksum();
  readonly #buffer = new Uint8Array(BUFFER_BYTES);
  readonly #view = new DataView(this.#buffer.buffer);
  readonly #names = new Map<string, Name>();
  #numbered = 0;
  readonly #texts = new Map<string, number>();
  #at = 0;
  #count = 0;
  #digest: string | undefined;
  /** Told of each event as text; for looking into a run, not for the hash. */
  readonly #listen: ((count: number, event: string, args: readonly unknown[]) => void) | undefined;

  constructor(listen?: (count: number, event: string, args: readonly unknown[]) => void) {
    this.#listen = listen;
  }

  get count(): number {
    return this.#count;
  }

  /** The trace function of one part of the world, whose name comes before each of its events. */
  for(part: string): Trace {
    const names = new Map<string, Name>();
    return (event, ...args) => {
      let name = names.get(event);
      if (name === undefined) {
        name = this.#nameOf(`${part} ${event}`);
        names.set(event, name);
      }
      this.#event(name, args);
    };
  }

  add(event: string, args: readonly unknown[]): void {
    this.#event(this.#nameOf(event), args);
  }

  #nameOf(text: string): Name {
    const known = this.#names.get(text);
    if (known !== undefined) return known;
    const name = { text, number: undefined };
    this.#names.set(text, name);
    return name;
  }

  #event(name: Name, args: readonly unknown[]): void {
    if (this.#digest !== undefined) throw new Error('the trace is finished');
    this.#count += 1;
    this.#listen?.(this.#count, name.text, args);
    if (name.number === undefined) {
      name.number = this.#numbered++;
      this.#text(TAG.name, name.text);
    } else this.#number(TAG.event, name.number);
    this.#number(TAG.list, args.length);
    for (const arg of args) this.#value(arg, 0);
  }

  /** The hash of all events; nothing may be added afterwards. */
  digest(): string {
    if (this.#digest === undefined) {
      this.#flush();
      this.#digest = toHex(this.#hash.digest());
    }
    return this.#digest;
  }

  #flush(): void {
    this.#hash.update(this.#buffer.subarray(0, this.#at));
    this.#at = 0;
  }

  #room(): void {
    if (this.#at + PART_BYTES_MAX > BUFFER_BYTES) this.#flush();
  }

  #tag(tag: number): void {
    this.#room();
    this.#buffer[this.#at++] = tag;
  }

  #number(tag: number, value: number): void {
    this.#room();
    this.#buffer[this.#at++] = tag;
    this.#view.setFloat64(this.#at, value);
    this.#at += 8;
  }

  #bytes(tag: number, bytes: Uint8Array): void {
    this.#number(tag, bytes.length);
    if (this.#at + bytes.length > BUFFER_BYTES) this.#flush();
    if (bytes.length > BUFFER_BYTES) {
      this.#hash.update(bytes);
      return;
    }
    this.#buffer.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  /** Straight into the buffer where it surely fits: most texts are names and ids. */
  #text(tag: number, text: string): void {
    const bytesMax = text.length * UTF8_BYTES_MAX;
    if (bytesMax + PART_BYTES_MAX > BUFFER_BYTES) {
      this.#bytes(tag, encoder.encode(text));
      return;
    }
    if (this.#at + bytesMax + PART_BYTES_MAX > BUFFER_BYTES) this.#flush();
    const start = this.#at;
    if (text.length <= LOOP_CHARS_MAX) {
      this.#number(tag, text.length);
      let at = this.#at;
      let i = 0;
      for (; i < text.length; i++) {
        const unit = text.charCodeAt(i);
        if (unit > 0x7f) break;
        this.#buffer[at++] = unit;
      }
      if (i === text.length) {
        this.#at = at;
        return;
      }
      this.#at = start;
    }
    this.#number(tag, 0);
    const { written } = encoder.encodeInto(text, this.#buffer.subarray(this.#at));
    this.#view.setFloat64(start + 1, written);
    this.#at += written;
  }

  #anyText(text: string): void {
    if (text.length > KNOWN_TEXT_CHARS_MAX) {
      this.#text(TAG.text, text);
      return;
    }
    const known = this.#texts.get(text);
    if (known !== undefined) {
      this.#number(TAG.known, known);
      return;
    }
    if (this.#texts.size < KNOWN_TEXTS_MAX) this.#texts.set(text, this.#texts.size);
    this.#text(TAG.text, text);
  }

  #value(value: unknown, depth: number): void {
    if (depth > DEPTH_MAX) throw new RangeError('a traced argument is nested too deep');
    if (value === undefined) this.#tag(TAG.undefined);
    else if (value === null) this.#tag(TAG.null);
    else if (typeof value === 'number') this.#number(TAG.number, value);
    else if (typeof value === 'string') this.#anyText(value);
    else if (typeof value === 'boolean') this.#tag(value ? TAG.true : TAG.false);
    else if (typeof value === 'bigint') this.#text(TAG.whole, String(value));
    else if (typeof value === 'object') this.#object(value, depth);
    // A function or a symbol has no content to hash: what is passed so must be traced when it is called.
    else throw new TypeError(`a traced argument is a ${typeof value}`);
  }

  #object(value: object, depth: number): void {
    if (value instanceof Uint8Array) {
      this.#bytes(TAG.bytes, value);
      return;
    }
    if (Array.isArray(value)) {
      this.#number(TAG.list, value.length);
      for (const item of value) this.#value(item, depth + 1);
      return;
    }
    const map = value as Readonly<Record<string, unknown>>;
    const keys = Object.keys(map);
    this.#number(TAG.map, keys.length);
    for (const key of keys) {
      this.#anyText(key);
      this.#value(map[key], depth + 1);
    }
  }
}

const TEXT_MAX = 160;

/** An event as a line for a person. */
export function eventText(event: string, args: readonly unknown[]): string {
  const parts = args.map((arg) => {
    const text = arg instanceof Uint8Array ? `<${toHex(arg)}>` : (JSON.stringify(arg) ?? '-');
    return text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX)}…` : text;
  });
  return `${event} ${parts.join(' ')}`;
}
