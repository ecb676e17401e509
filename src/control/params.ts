/** Parameters against their schema; what is wrong becomes one clear sentence that names the parameter. */
import { distance } from 'fastest-levenshtein';
import type { z } from 'zod';
import { issueText } from '../api/config.ts';
import { METHODS, type MethodName } from '../api/methods.ts';
import { type CoveyError, coveyError } from '../base/errors.ts';
import { err, ok, type Result } from '../base/result.ts';
import { QUOTED_CHARS_MAX } from './limits.ts';

type Issue = z.core.$ZodIssue;
type Path = readonly PropertyKey[];

export const METHOD_NAMES = Object.keys(METHODS) as readonly MethodName[];

export const isMethodName = (name: string): name is MethodName => Object.hasOwn(METHODS, name);

export const quoted = (name: string): string =>
  name.length > QUOTED_CHARS_MAX ? `${name.slice(0, QUOTED_CHARS_MAX)}…` : name;

/** The known name that is most like `name`; undefined when none is like it. */
export function nearestOf(name: string, known: readonly string[]): string | undefined {
  const text = quoted(name).toLowerCase();
  let nearest: string | undefined;
  let nearestDistance = Math.max(2, Math.ceil(text.length / 2)) + 1;
  for (const candidate of known) {
    const found = distance(text, candidate.toLowerCase());
    if (found < nearestDistance) {
      nearest = candidate;
      nearestDistance = found;
    }
  }
  return nearest;
}

export function methodNotFound(method: string): CoveyError {
  const nearest = nearestOf(method, METHOD_NAMES);
  const error = coveyError('METHOD_NOT_FOUND', { method: quoted(method) });
  if (nearest === undefined) return error;
  // A bare name for programs; the sentence has it for people.
  const message = error.message.replace(/\.$/, `; the nearest one is '${nearest}'.`);
  return { ...error, message, details: { ...error.details, nearest } };
}

/** The parameters with defaults filled in. */
export const checkParams = (method: MethodName, params: unknown): Result<unknown, CoveyError> =>
  checkAgainst<unknown>(METHODS[method].params, params);

/** Checks a value, and says what is wrong with it as INVALID_PARAMS; for tasks inside `task.submit_bulk` too. */
export function checkAgainst<T>(schema: z.ZodType<T>, value: unknown): Result<T, CoveyError> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return ok(parsed.data);
  const issues = parsed.error.issues;
  // An unknown name first: a misspelt parameter is also a missing one, and the spelling is the news.
  const issue = issues.find(({ code }) => code === 'unrecognized_keys') ?? issues[0];
  if (issue === undefined) return err(coveyError('INVALID_PARAMS', { why: 'Invalid parameters' }));
  const why = sentenceOf(issue, schema, value);
  return err(coveyError('INVALID_PARAMS', { why: why.replace(/\.$/, '') }));
}

function sentenceOf(issue: Issue, schema: z.ZodType, value: unknown): string {
  const path = textOfPath(issue.path);
  if (issue.code === 'unrecognized_keys') {
    const key = issue.keys[0] ?? '';
    const nearest = nearestOf(key, keysAt(schema, issue.path));
    const where = path === '' ? '' : ` in '${path}'`;
    const hint = nearest === undefined ? '' : `; the nearest known one is '${nearest}'`;
    return `Unknown parameter '${quoted(key)}'${where}${hint}`;
  }
  if (path === '') return upperFirst(issue.message);
  if (issue.code === 'invalid_type' && valueAt(value, issue.path) === undefined) {
    return `Parameter '${path}' is missing`;
  }
  if (issue.code === 'invalid_union') return `Parameter '${path}' has none of the allowed forms`;
  const text = issueText(issue);
  if (/^(must|is|has|at most) /.test(text)) return `Parameter '${path}' ${text}`;
  return `Parameter '${path}': ${text.charAt(0).toLowerCase()}${text.slice(1)}`;
}

const upperFirst = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

function textOfPath(path: Path): string {
  let text = '';
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`;
    else text += text === '' ? quoted(String(part)) : `.${quoted(String(part))}`;
  }
  return text;
}

function valueAt(value: unknown, path: Path): unknown {
  let at = value;
  for (const part of path) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, part)) return undefined;
    at = (at as Record<PropertyKey, unknown>)[part];
  }
  return at;
}

/** The part of a schema definition that leads further down. */
interface Definition {
  readonly shape?: Readonly<Record<string, z.core.$ZodType>>;
  readonly innerType?: z.core.$ZodType;
  readonly element?: z.core.$ZodType;
  readonly options?: readonly z.core.$ZodType[];
}

/** Known keys of the object that the schema describes at the path. */
function keysAt(schema: z.core.$ZodType, path: Path): readonly string[] {
  const definition: Definition = schema._zod.def as Definition;
  if (definition.innerType) return keysAt(definition.innerType, path);
  if (definition.options) return definition.options.flatMap((option) => keysAt(option, path));
  const [first, ...rest] = path;
  if (first === undefined) return Object.keys(definition.shape ?? {});
  const next = definition.element ?? definition.shape?.[String(first)];
  return next === undefined ? [] : keysAt(next, rest);
}
