/** `covey submit`: a task with every field that the mesh knows; prints the receipt. */
import { readFile } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import {
  ATTEMPTS_MAX,
  LOSSES_MAX,
  PAYLOAD_BYTES_MAX,
  PRIORITY_MAX,
  STDIN_BYTES_MAX,
} from '../api/limits.ts';
import type { SubmitInput } from '../api/task.ts';
import { messageOf } from '../base/errors.ts';
import { err, ok, type Result } from '../base/result.ts';
import { canonicalTaskId } from '../base/task-id.ts';
import { encodeBytes, printable, shellWords } from './bytes.ts';
import type { Cli } from './context.ts';
import { EXIT } from './exit-codes.ts';
import {
  backoff,
  collect,
  delayFlag,
  environmentOf,
  integer,
  jsonFlag,
  nameFlag,
  outputOption,
  pair,
  quietFlag,
  timeoutFlag,
  workingDirectory,
} from './flags.ts';
import { fields } from './output.ts';
import { readAll } from './stdin.ts';
import { storeNames } from './store-names.ts';
import { submitPatiently, warnOfReceipt } from './submitting.ts';
import type { Verb } from './verb.ts';

interface SubmitFlags {
  readonly payload?: string;
  readonly stdin?: string;
  readonly cwd?: string;
  readonly env?: readonly string[];
  readonly shell?: boolean;
  readonly id?: string;
  readonly queue?: string;
  readonly priority?: number;
  readonly delay?: number;
  readonly runAt?: string;
  readonly attempts?: number;
  readonly lossesMax?: number;
  readonly onLost?: 'retry' | 'fail';
  readonly backoff?: { type: 'fixed' | 'exponential'; delay_ms: number; max_ms?: number };
  readonly queueTimeout?: number;
  readonly runTimeout?: number;
  readonly totalTimeout?: number;
  readonly dedupeKey?: string;
  readonly durability?: 'auto' | 'one' | 'quorum' | 'all';
  readonly onPartition?: 'wait' | 'available';
  readonly output?: 'full' | 'tail';
  readonly label?: Readonly<Record<string, string>>;
}

export const verb: Verb = {
  splitsAtDashes: true,
  configure(command) {
    command
      .usage('[options] TYPE [--payload JSON|@FILE|-]\n       covey submit [options] -- CMD ARGS…')
      .argument('[type]', "the type of task that a worker takes; or, after '--', a command")
      // For a hint at the '--' that was forgotten.
      .allowExcessArguments()
      .option('--payload <JSON|@FILE|->', 'payload for the worker: JSON, a file or stdin');
    commandFlags(command);
    timeFlags(command);
    retryFlags(command);
    placeFlags(command);
    quietFlag(jsonFlag(command));
  },
  async run(cli, command) {
    const flags = command.opts<SubmitFlags>();
    const task = await buildTask(cli, flags, command.args);
    if (!task.ok) return cli.usage(task.error);
    const receipt = await submitPatiently(cli, task.value);
    if (!receipt.ok) return cli.fail(receipt.error);
    await warnOfReceipt(cli, receipt.value);
    const { value } = receipt;
    if (cli.options.json === true) await cli.json(value);
    else if (cli.options.quiet === true) await cli.print(`${value.id}\n`);
    else {
      const list = fields(
        [
          ['id', value.id],
          ['stored on', await storeNames(cli, value.stored_on)],
          ['stand-ins', await storeNames(cli, value.stand_ins)],
          ['required', value.required],
          ['existing', value.existing ? 'yes' : undefined],
        ],
        cli.color,
      );
      await cli.print(list);
    }
    return EXIT.ok;
  },
};

const choice = (flags: string, description: string, values: readonly string[]): Option =>
  new Option(flags, description).choices(values);

function commandFlags(command: Command): void {
  const env = new Option(
    '--env <K=V|K>',
    "with a command: a variable, K alone: the caller's; repeatable",
  );
  command
    .option('--stdin <@FILE|->', 'with a command: its standard input, a file or stdin')
    .option('--cwd <dir>', 'with a command: its working directory (default: the current one)')
    .addOption(env.argParser(collect))
    .option('--shell', "with a command: its first word is a line for '/bin/sh -c'")
    .addOption(outputOption());
}

function timeFlags(command: Command): void {
  command
    .option(
      '--delay <duration>',
      'not before this time has passed, as 10m, at most 366d',
      delayFlag,
    )
    .option('--run-at <time>', 'not before this time, RFC 3339, as 2026-01-31T08:00:00Z')
    .option('--queue-timeout <duration>', 'expire it if it has not started by then', timeoutFlag)
    .option('--run-timeout <duration>', 'end an attempt that runs longer', timeoutFlag)
    .option('--total-timeout <duration>', 'end it, whatever it does, after this time', timeoutFlag);
}

function retryFlags(command: Command): void {
  const attempts = integer(1, ATTEMPTS_MAX);
  const losses = integer(0, LOSSES_MAX);
  command
    .option('--attempts <n>', 'starts at most, if it fails, 1 to 100 (default: 1)', attempts)
    .option('--backoff <spec>', 'between them: fixed:1s or exponential:1s[:1m]', backoff)
    .option(
      '--losses-max <n>',
      'attempts lost with their peer, at most, 0 to 100 (default: 3)',
      losses,
    )
    .addOption(
      choice('--on-lost <what>', 'when an attempt is lost (default: retry)', ['retry', 'fail']),
    );
}

function placeFlags(command: Command): void {
  const durability = ['auto', 'one', 'quorum', 'all'];
  command
    .option(
      '--id <id>',
      'an id that the method ids.reserve minted; the same task under it is submitted once',
    )
    .option('--queue <name>', "queue (default: 'default')", nameFlag)
    .option('--priority <n>', '0 first, to 1000000 (default: 0)', integer(0, PRIORITY_MAX))
    .option(
      '--dedupe-key <key>',
      'one unfinished task a key and queue; answers with that one',
      nameFlag,
    )
    .addOption(
      choice(
        '--durability <level>',
        'copies on disk before the receipt: one, quorum (more than half of them), all, or auto: as the daemon is configured (default: auto)',
        durability,
      ),
    )
    .addOption(
      choice(
        '--on-partition <what>',
        'where fewer than half of the members are in sight, what ran elsewhere: wait for it, or start it again, available (default: wait)',
        ['wait', 'available'],
      ),
    )
    .option(
      '--label <k=v>',
      "a label that 'covey get' shows; it decides nothing about the place; repeatable",
      pair,
    );
}

async function buildTask(
  cli: Cli,
  flags: SubmitFlags,
  args: readonly string[],
): Promise<Result<SubmitInput, string>> {
  const [type, ...surplus] = args;
  const argv = cli.afterDashes;
  if (type !== undefined && surplus.length > 0 && argv === undefined) {
    const meant = `covey submit -- ${shellWords(args)}`;
    return err(`one TYPE, please; a command stands after '--': did you mean: ${printable(meant)}`);
  }
  if (surplus.length > 0) return err("one TYPE, please; a command stands after '--'");
  if (type !== undefined && argv !== undefined) return err("either TYPE or '-- CMD', not both");
  if (flags.id !== undefined && canonicalTaskId(flags.id) === undefined) {
    return err(
      `--id: '${printable(flags.id)}' is not a task id; the method ids.reserve mints them`,
    );
  }
  if (flags.delay !== undefined && flags.runAt !== undefined) {
    return err('--delay and --run-at exclude each other');
  }
  const common = commonFields(flags);
  if (argv !== undefined && argv.length > 0) {
    if (flags.payload !== undefined) return err('--payload goes with TYPE; a command has --stdin');
    const exec = await execOf(cli, flags, argv);
    return exec.ok ? ok({ ...common, exec: exec.value }) : exec;
  }
  if (type === undefined) return err("a TYPE, or '--' and a command, is needed");
  for (const name of ['stdin', 'cwd', 'env', 'shell'] as const) {
    if (flags[name] !== undefined) return err(`--${name} goes with '-- CMD'`);
  }
  if (flags.payload === undefined) return ok({ ...common, type });
  const payload = await payloadOf(cli, flags.payload);
  return payload.ok ? ok({ ...common, type, payload: payload.value }) : payload;
}

type ExecInput = NonNullable<SubmitInput['exec']>;

async function execOf(
  cli: Cli,
  flags: SubmitFlags,
  argv: readonly string[],
): Promise<Result<ExecInput, string>> {
  const env = environmentOf(flags.env ?? [], cli.io.env);
  if (typeof env === 'string') return err(env);
  const stdin =
    flags.stdin === undefined
      ? undefined
      : await readSource(cli, flags.stdin, '--stdin', STDIN_BYTES_MAX);
  if (stdin !== undefined && !stdin.ok) return stdin;
  const cwd = workingDirectory(cli, flags.cwd);
  if (!cwd.ok) return cwd;
  return ok({
    argv: [...argv],
    cwd: cwd.value,
    ...(Object.keys(env).length === 0 ? {} : { env }),
    ...(stdin === undefined ? {} : { stdin: encodeBytes(stdin.value) }),
    ...(flags.shell === true ? { shell: true } : {}),
  });
}

/** Bytes of `-` (stdin) or `@FILE`. */
async function readSource(
  cli: Cli,
  source: string,
  flag: string,
  bytesMax: number,
): Promise<Result<Buffer, string>> {
  if (source === '-') return readAll(cli.io.stdin, bytesMax);
  if (!source.startsWith('@')) return err(`${flag} takes @FILE or -`);
  try {
    const bytes = await readFile(source.slice(1));
    return bytes.length <= bytesMax
      ? ok(bytes)
      : err(`${flag}: ${printable(source.slice(1))} is longer than ${bytesMax} bytes`);
  } catch (thrown) {
    return err(`${flag}: ${printable(source.slice(1))} cannot be read: ${messageOf(thrown)}`);
  }
}

async function payloadOf(cli: Cli, source: string): Promise<Result<unknown, string>> {
  let text = source;
  if (source === '-' || source.startsWith('@')) {
    const bytes = await readSource(cli, source, '--payload', 4 * PAYLOAD_BYTES_MAX);
    if (!bytes.ok) return bytes;
    text = bytes.value.toString('utf8');
  }
  try {
    return ok(JSON.parse(text) as unknown);
  } catch (thrown) {
    return err(`the payload is not JSON: ${messageOf(thrown)}`);
  }
}

const optional = <K extends string, V>(key: K, value: V | undefined): { [P in K]?: V } =>
  value === undefined ? {} : ({ [key]: value } as { [P in K]: V });

function commonFields(flags: SubmitFlags): SubmitInput {
  return {
    ...optional('id', flags.id),
    ...optional('queue', flags.queue),
    ...optional('priority', flags.priority),
    ...optional('delay_ms', flags.delay),
    ...optional('run_at', flags.runAt),
    ...optional('attempts', flags.attempts),
    ...optional('losses_max', flags.lossesMax),
    ...optional('on_lost', flags.onLost),
    ...optional('backoff', flags.backoff),
    ...optional('queue_timeout_ms', flags.queueTimeout),
    ...optional('run_timeout_ms', flags.runTimeout),
    ...optional('total_timeout_ms', flags.totalTimeout),
    ...optional('dedupe_key', flags.dedupeKey),
    ...optional('durability', flags.durability),
    ...optional('on_partition', flags.onPartition),
    ...optional('output', flags.output),
    ...optional('labels', flags.label),
  };
}
