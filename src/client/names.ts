/** snake_case of the wire and camelCase of TypeScript: the same shapes, converted by name, users' own data untouched. */
import type { SubmitInput, TaskView, Receipt as WireReceipt } from '../api/task.ts';

type CamelName<Name> = Name extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<CamelName<Tail>>}`
  : Name;

/** Members that hold what users sent: their keys are theirs. */
const USERS_OWN = [
  ...(['payload', 'result', 'progress', 'labels', 'env', 'data', 'stdin'] as const),
  // By their types, which users name.
  'workers',
] as const;
type UsersOwn = (typeof USERS_OWN)[number];
const usersOwn: ReadonlySet<string> = new Set(USERS_OWN);

export type Camel<T> = T extends readonly (infer Item)[]
  ? Camel<Item>[]
  : T extends object
    ? { [Key in keyof T as CamelName<Key>]: Key extends UsersOwn ? T[Key] : Camel<T[Key]> }
    : T;

/** A task to submit: `type` and `payload` for workers, or `exec` for a command. */
export type TaskOptions = Camel<SubmitInput>;
export type Receipt = Camel<WireReceipt>;
export type Task = Camel<TaskView>;

function renameKeys(value: unknown, rename: (key: string) => string): unknown {
  if (Array.isArray(value)) return value.map((item) => renameKeys(item, rename));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => [
      rename(key),
      usersOwn.has(key) ? member : renameKeys(member, rename),
    ]),
  );
}

const toCamel = (key: string): string =>
  key.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
const toSnake = (key: string): string =>
  key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** The types say what the renaming does; it keeps every value. */
export const camelKeys = <T>(value: T): Camel<T> => renameKeys(value, toCamel) as Camel<T>;
export const submitFrom = (task: TaskOptions): SubmitInput =>
  renameKeys(task, toSnake) as SubmitInput;
