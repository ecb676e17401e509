/** Options of a bench as text, checked: numbers within bounds and names of a list. */
import { parseArgs } from 'node:util';
import { err, ok, type Result } from '../../src/base/result.ts';

interface Bounds {
  readonly min: number;
  readonly max: number;
}

type Kind =
  | ({ readonly kind: 'number'; readonly default: number } & Bounds)
  | ({ readonly kind: 'numbers'; readonly default: readonly number[] } & Bounds)
  | {
      readonly kind: 'names';
      readonly default: readonly string[];
      readonly of: readonly string[];
    }
  | { readonly kind: 'text' }
  | { readonly kind: 'flag' };

export type Shape = Readonly<Record<string, Kind>>;

type ValueOf<K extends Kind> = K extends { kind: 'number' }
  ? number
  : K extends { kind: 'numbers' }
    ? readonly number[]
    : K extends { kind: 'names' }
      ? readonly string[]
      : K extends { kind: 'flag' }
        ? boolean
        : string | undefined;

export type Values<S extends Shape> = { readonly [name in keyof S]: ValueOf<S[name]> };

/** What `--help` and a refusal show: the options with their defaults. */
export function usageOf(name: string, shape: Shape): string {
  const words = Object.entries(shape).map(([option, kind]) => `[--${option}${wordOf(kind)}]`);
  return `npm run bench -- ${name} ${words.join(' ')}`;
}

function wordOf(kind: Kind): string {
  switch (kind.kind) {
    case 'number':
      return ` ${kind.default}`;
    case 'numbers':
      return ` ${kind.default.join()}`;
    case 'names':
      return ` ${kind.of.join()}`;
    case 'text':
      return ' …';
    case 'flag':
      return '';
  }
}

export function readOptions<S extends Shape>(
  args: readonly string[],
  shape: S,
): Result<Values<S>, string> {
  const options = Object.fromEntries(
    Object.entries(shape).map(([name, { kind }]) => [
      name,
      { type: kind === 'flag' ? ('boolean' as const) : ('string' as const) },
    ]),
  );
  let given: Record<string, string | boolean | undefined>;
  try {
    given = parseArgs({ args: [...args], options, strict: true }).values;
  } catch (thrown) {
    return err(thrown instanceof Error ? thrown.message : String(thrown));
  }
  const values: Record<string, unknown> = {};
  for (const [name, kind] of Object.entries(shape)) {
    const read = readOne(name, kind, given[name]);
    if (!read.ok) return read;
    values[name] = read.value;
  }
  // Each entry was read as its kind says; the type of the whole cannot follow a loop.
  return ok(values as Values<S>);
}

function readOne(
  name: string,
  kind: Kind,
  text: string | boolean | undefined,
): Result<unknown, string> {
  if (kind.kind === 'flag') return ok(text === true);
  if (text === undefined || typeof text === 'boolean') {
    return ok('default' in kind ? kind.default : undefined);
  }
  if (kind.kind === 'text') return ok(text);
  const words = text.split(',');
  if (kind.kind === 'names') {
    const isKnown = words.every((word) => kind.of.includes(word));
    return isKnown ? ok(words) : err(`--${name} is a list of: ${kind.of.join(', ')}`);
  }
  const numbers = words.map((word) => (word.trim() === '' ? Number.NaN : Number(word)));
  const isOne = kind.kind === 'numbers' || numbers.length === 1;
  if (!isOne || numbers.some((one) => !Number.isInteger(one) || one < kind.min || one > kind.max)) {
    const what = kind.kind === 'number' ? 'a whole number' : 'a list of whole numbers';
    return err(`--${name} is ${what} from ${kind.min} to ${kind.max}`);
  }
  return ok(kind.kind === 'number' ? numbers[0] : numbers);
}
