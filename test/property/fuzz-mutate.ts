/**
 * Mutations of valid bytes, as plain data: fast-check draws and shrinks them in the test, a seeded generator draws
 * millions of them in `npm run fuzz`.
 */
import { type Random, randomBelow } from '../../src/base/random.ts';
import { decodeValue, encodeValue, type WireValue } from '../../src/wire/codec.ts';

export interface Mutation {
  readonly kind: (typeof KINDS)[number];
  /** Where, modulo what there is. */
  readonly at: number;
  readonly value: number;
}

export const KINDS = [
  'flip', // one bit
  'byte', // another byte
  'cut', // the rest is missing
  'remove', // a few bytes are missing
  'repeat', // a stretch comes twice
  'splice', // the rest of another valid input
  'length', // a byte becomes the head of something very long
  'swap', // another value in a place of the decoded tree: gets past the codec
  'drop', // a member or an item less
] as const;

/** Of each kind of value one that a reader does not expect. */
export const ODD_VALUES: readonly WireValue[] = [
  null,
  true,
  0,
  -1,
  0.5,
  2 ** 31,
  2 ** 32,
  Number.MAX_SAFE_INTEGER,
  -(2 ** 53),
  2 ** 53,
  1e300,
  '',
  'x'.repeat(600),
  '\u0000',
  '\ud800',
  '__proto__',
  'constructor',
  new Uint8Array(0),
  new Uint8Array(64),
  [],
  {},
  [[[[[]]]]],
  { __proto__x: 1, t: 'start' },
  Array.from({ length: 70 }, () => 1),
];

/** Heads of CBOR items, varints and sizes that promise much more than follows. */
const LONG: readonly (readonly number[])[] = [
  [0x9a, 0x7f, 0xff, 0xff, 0xff],
  [0xba, 0x7f, 0xff, 0xff, 0xff],
  [0x5a, 0x7f, 0xff, 0xff, 0xff],
  [0x7a, 0xff, 0xff, 0xff, 0xff],
  [0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
  [0x5b, 0x00, 0x20, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00],
  [0xff, 0xff, 0xff, 0xff, 0x07],
  [0x80, 0x80, 0x80, 0x80, 0x08],
  [0x1b, 0x00, 0x20, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00],
  [0xfb, 0x7f, 0xf8, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00],
  [0xfb, 0x7f, 0xf0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00],
  [0x9f],
  [0xbf],
  [0xc1],
  [0x5f],
];

const concat = (...parts: readonly Uint8Array[]): Uint8Array => Buffer.concat(parts);

export function mutate(bytes: Uint8Array, mutation: Mutation, other: Uint8Array): Uint8Array {
  const { kind, value } = mutation;
  const at = bytes.length === 0 ? 0 : mutation.at % bytes.length;
  switch (kind) {
    case 'flip':
    case 'byte': {
      const copy = Uint8Array.from(bytes);
      copy[at] = kind === 'byte' ? value & 0xff : (copy[at] ?? 0) ^ (1 << (value & 7));
      return copy;
    }
    case 'cut':
      return bytes.slice(0, at);
    case 'remove':
      return concat(bytes.subarray(0, at), bytes.subarray(at + 1 + (value % 8)));
    case 'repeat': {
      const part = bytes.subarray(at, at + 1 + (value % 64));
      return concat(bytes.subarray(0, at), part, bytes.subarray(at));
    }
    case 'splice':
      return concat(bytes.subarray(0, at), other.subarray(value % (other.length + 1)));
    case 'length': {
      const long = Uint8Array.from(LONG[value % LONG.length] ?? []);
      return concat(bytes.subarray(0, at), long, bytes.subarray(at + 1));
    }
    case 'swap':
    case 'drop':
      return inTree(bytes, mutation) ?? mutate(bytes, { ...mutation, kind: 'byte' }, other);
  }
}

/** Undefined: these bytes are no tree, or the new one cannot be written. */
function inTree(bytes: Uint8Array, { kind, at, value }: Mutation): Uint8Array | undefined {
  const decoded = decodeValue(bytes);
  if (!decoded.ok) return undefined;
  const places = count(decoded.value);
  const odd = kind === 'drop' ? undefined : (ODD_VALUES[value % ODD_VALUES.length] ?? null);
  const left = { places: at % places };
  const changed = replace(decoded.value, left, odd, value);
  return changed === undefined ? undefined : encodeValue(changed);
}

const isMap = (value: WireValue): value is { readonly [key: string]: WireValue | undefined } =>
  typeof value === 'object' &&
  value !== null &&
  !Array.isArray(value) &&
  !(value instanceof Uint8Array);

function count(value: WireValue): number {
  if (Array.isArray(value))
    return (value as readonly WireValue[]).reduce<number>((sum, item) => sum + count(item), 1);
  if (!isMap(value)) return 1;
  return Object.values(value).reduce<number>((sum, item) => sum + count(item ?? null), 1);
}

/** The tree with another value (or none) in one of its places; bytes that hold a tree of their own are looked into. */
function replace(
  value: WireValue,
  left: { places: number },
  odd: WireValue | undefined,
  seed: number,
): WireValue | undefined {
  if (left.places === 0) {
    left.places = -1;
    const inner =
      value instanceof Uint8Array && seed % 3 > 0 ? within(value, odd, seed) : undefined;
    return inner ?? odd;
  }
  left.places -= 1;
  if (Array.isArray(value)) {
    const items = (value as readonly WireValue[]).map((item) =>
      left.places < 0 ? item : replace(item, left, odd, seed),
    );
    return items.filter((item) => item !== undefined);
  }
  if (!isMap(value)) return value;
  const entries = Object.entries(value).map(([key, item]) => [
    key,
    left.places < 0 ? item : replace(item ?? null, left, odd, seed),
  ]);
  return Object.fromEntries(entries) as WireValue;
}

function within(
  bytes: Uint8Array,
  odd: WireValue | undefined,
  seed: number,
): Uint8Array | undefined {
  const decoded = decodeValue(bytes);
  if (!decoded.ok) return undefined;
  const left = { places: seed % count(decoded.value) };
  const changed = replace(decoded.value, left, odd, Math.floor(seed / 7));
  return changed === undefined ? undefined : encodeValue(changed);
}

/** One to four of them, most often one. */
export function drawMutations(random: Random): Mutation[] {
  const mutations: Mutation[] = [];
  do {
    mutations.push({
      kind: KINDS[randomBelow(random, KINDS.length)] ?? 'flip',
      at: random.uint32(),
      value: random.uint32(),
    });
  } while (mutations.length < 4 && random.uint32() % 3 === 0);
  return mutations;
}
