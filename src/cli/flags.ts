/** Parsers of flag values, and the flags that several verbs share. Commander turns their errors into exit 2. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { ATTEMPTS_MAX, NAME_BYTES_MAX, PRIORITY_MAX } from '../api/limits.ts';
import { messageOf } from '../base/errors.ts';
import { err, ok, type Result } from '../base/result.ts';
import { parseDuration, parseSize } from '../base/units.ts';
import { printable } from './bytes.ts';
import type { Cli } from './context.ts';

export function duration(text: string): number {
  const parsed = parseDuration(text);
  if (!parsed.ok) throw new InvalidArgumentError(parsed.error);
  return parsed.value;
}

/** A duration within bounds, which are written as people write them. */
export function durationBetween(least: string, most: string): (text: string) => number {
  const [min, max] = [duration(least), duration(most)];
  return (text) => {
    const value = duration(text);
    if (value >= min && value <= max) return value;
    throw new InvalidArgumentError(`must be from ${least} to ${most}`);
  };
}

/** What a task may be told to wait for, or to take. */
const LONGEST = '366d';
export const delayFlag = durationBetween('0s', LONGEST);
export const timeoutFlag = durationBetween('1ms', LONGEST);

/** A queue, a type, a key: what the daemon takes for a name. */
export function nameFlag(text: string): string {
  if (text === '') throw new InvalidArgumentError('must not be empty');
  if (text.trim() !== text || printable(text) !== text)
    throw new InvalidArgumentError('must be printable, without a blank at its ends');
  if (Buffer.byteLength(text, 'utf8') > NAME_BYTES_MAX)
    throw new InvalidArgumentError(`must be at most ${NAME_BYTES_MAX} bytes`);
  return text;
}

export function size(text: string): number {
  const parsed = parseSize(text);
  if (!parsed.ok) throw new InvalidArgumentError(parsed.error);
  return parsed.value;
}

export const integer =
  (min: number, max: number) =>
  (text: string): number => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min || value > max) {
      throw new InvalidArgumentError(`must be a whole number from ${min} to ${max}`);
    }
    return value;
  };

type Pairs = Readonly<Record<string, string>>;

/** `k=v`, repeatable. */
export function pair(text: string, before: Pairs = {}): Pairs {
  const at = text.indexOf('=');
  if (at <= 0) throw new InvalidArgumentError(`'${text}' is not KEY=VALUE`);
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}

export const collect = (text: string, before: readonly string[] = []): readonly string[] => [
  ...before,
  text,
];

/** `K=V`, or `K` alone for the caller's own value. */
export function environmentOf(
  entries: readonly string[],
  own: Readonly<Record<string, string | undefined>>,
): Record<string, string> | string {
  const env: Record<string, string> = {};
  for (const entry of entries) {
    const at = entry.indexOf('=');
    const name = at < 0 ? entry : entry.slice(0, at);
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) return `'${name}' is not a variable name`;
    const value = at < 0 ? own[name] : entry.slice(at + 1);
    if (value === undefined) return `--env ${name}: the variable is not set here`;
    env[name] = value;
  }
  return env;
}

/** Where the command runs; a sentence when the directory that `covey` stands in was deleted. */
export function workingDirectory(cli: Cli, wanted: string | undefined): Result<string, string> {
  if (wanted?.startsWith('/') === false)
    return err('--cwd must be an absolute path: it is looked for on the peer that runs the task');
  if (wanted !== undefined) return ok(wanted);
  try {
    return ok(cli.io.cwd);
  } catch (thrown) {
    // The rest of Node's message says the same in fifteen words more.
    const why = messageOf(thrown).split(':', 1)[0] ?? '';
    return err(`the current directory cannot be named, was it deleted? (${why}); say --cwd DIR`);
  }
}

/** `fixed:1s`, `exponential:1s`, `exponential:1s:1m`. */
export function backoff(text: string): {
  type: 'fixed' | 'exponential';
  delay_ms: number;
  max_ms?: number;
} {
  const [type, delay, max, ...rest] = text.split(':');
  if ((type !== 'fixed' && type !== 'exponential') || delay === undefined || rest.length > 0) {
    throw new InvalidArgumentError('write fixed:DELAY or exponential:DELAY[:MAX], as in fixed:1s');
  }
  const base = { type, delay_ms: delayFlag(delay) } as const;
  return max === undefined ? base : { ...base, max_ms: delayFlag(max) };
}

export const jsonFlag = (command: Command): Command =>
  command.option('--json', 'print JSON (streams: one object a line)');

export const quietFlag = (command: Command): Command =>
  command.option('-q, --quiet', 'print ids only');

export interface ExecFlags {
  readonly cwd?: string;
  readonly env?: readonly string[];
  readonly shell?: boolean;
  readonly timeout?: number;
  readonly attempts?: number;
  readonly queue?: string;
  readonly priority?: number;
  readonly output?: 'full' | 'tail';
}

/** The flags of everything that runs a command. */
export function execFlags(command: Command): Command {
  return command
    .option('--cwd <dir>', 'working directory on the peer that runs it (default: the current one)')
    .addOption(
      new Option(
        '--env <K=V|K>',
        "a variable for the command, K alone: with the caller's value; repeatable",
      ).argParser(collect),
    )
    .option('--timeout <duration>', 'end an attempt that runs longer, as 30s', timeoutFlag)
    .option(
      '--attempts <n>',
      'starts at most, if the command fails, 1 to 100 (default: 1)',
      integer(1, ATTEMPTS_MAX),
    )
    .option('--queue <name>', "queue (default: 'default')", nameFlag)
    .option('--priority <n>', '0 first, to 1000000 (default: 0)', integer(0, PRIORITY_MAX))
    .addOption(outputOption());
}

/** Of everything that runs a command: what becomes of one that writes a lot. */
export const outputOption = (): Option =>
  new Option(
    '--output <what>',
    'full: all of stdout and stderr is kept, and a command that writes more than 1 MiB fails (default); tail: the last 64 KiB of each are kept, and it may write what it likes',
  ).choices(['full', 'tail']);

/** The fields of task.submit that `execFlags` set. */
export const submitFieldsOf = (flags: ExecFlags) => ({
  ...(flags.timeout === undefined ? {} : { run_timeout_ms: flags.timeout }),
  ...(flags.attempts === undefined ? {} : { attempts: flags.attempts }),
  ...(flags.queue === undefined ? {} : { queue: flags.queue }),
  ...(flags.priority === undefined ? {} : { priority: flags.priority }),
  ...(flags.output === undefined ? {} : { output: flags.output }),
});
