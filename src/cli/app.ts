/** `covey VERB …`: finds the verb, loads its module alone, parses, runs. Tests call `runCli` with their own streams. */
import type { Command, CommanderError } from 'commander';
import { printable } from './bytes.ts';
import type { Cli, CommonOptions } from './context.ts';
import { EXIT } from './exit-codes.ts';
import type { CliIo } from './io.ts';
import type { Verb } from './verb.ts';

interface Entry {
  readonly summary: string;
  readonly load: () => Promise<Verb>;
}

const entry = (summary: string, load: () => Promise<{ readonly verb: Verb }>): Entry => ({
  summary,
  load: async () => (await load()).verb,
});

/** In the order of `covey --help`. */
export const VERBS: Readonly<Record<string, Entry>> = {
  run: entry('run a command somewhere in the mesh, as if it ran here', () => import('./run.ts')),
  xargs: entry('run a command for every line of stdin', () => import('./xargs.ts')),
  submit: entry('submit a task and print its receipt', () => import('./submit.ts')),
  tasks: entry('list tasks of the whole mesh', () => import('./tasks.ts')),
  conflicts: entry('list tasks that came to more than one end', () => import('./conflicts.ts')),
  get: entry('show a task', () => import('./get.ts')),
  logs: entry('show the output of a task', () => import('./logs.ts')),
  wait: entry('wait until tasks are final', () => import('./wait.ts')),
  cancel: entry('cancel tasks', () => import('./cancel.ts')),
  retry: entry('submit final tasks again, as new ones', () => import('./retry.ts')),
  explain: entry('say why a task is where it is', () => import('./explain.ts')),
  members: entry('show the members of the mesh', () => import('./members.ts')),
  status: entry('show the daemon itself', () => import('./status.ts')),
  doctor: entry('look for what is wrong, and say what to do', () => import('./doctor.ts')),
  monitor: entry('show what the daemon logs, and its events, live', () => import('./monitor.ts')),
  gossip: entry('show who observes whom, and what is sent', () => import('./gossip.ts')),
  ring: entry('show the ring, or where a key belongs', () => import('./ring.ts')),
  invite: entry(
    'print a token that lets one new peer in, or another mesh',
    () => import('./invite.ts'),
  ),
  join: entry('join the mesh that a token is from', () => import('./join.ts')),
  mesh: entry('make two meshes one', () => import('./merge.ts')),
  leave: entry('hand everything over, leave the mesh and stop', () => import('./leave.ts')),
  forget: entry('remove a member that is dead or has left', () => import('./forget.ts')),
  access: entry('show and decide who may be in the mesh', () => import('./access.ts')),
  testnet: entry('a local network of real daemons, with faults', () => import('./testnet.ts')),
  sim: entry('whole meshes in virtual time, from a seed', () => import('./sim.ts')),
  version: entry('print the version', () => import('./version.ts')),
};

/** Options before the verb: `covey --peer testnet:2 members`. The value flags among them take the next word. */
const LEADING_VALUE_FLAGS: readonly string[] = ['--socket', '--peer'];
const LEADING_FLAGS: readonly string[] = ['--no-color'];

interface SplitLine {
  readonly leading: readonly string[];
  readonly verb: string | undefined;
  readonly rest: readonly string[];
}

export function splitAtVerb(argv: readonly string[]): SplitLine {
  let at = 0;
  for (; at < argv.length; at++) {
    const word = argv[at] ?? '';
    if (LEADING_VALUE_FLAGS.includes(word)) at++;
    else if (LEADING_FLAGS.includes(word)) continue;
    else if (!LEADING_VALUE_FLAGS.some((flag) => word.startsWith(`${flag}=`))) break;
  }
  return { leading: argv.slice(0, at), verb: argv[at], rest: argv.slice(at + 1) };
}

function addCommonFlags(command: Command): void {
  command
    .option('--socket <path>', 'control socket of the daemon (environment: COVEY_SOCKET)')
    .option(
      '--peer <testnet:I>',
      'peer I of the local test network (testnet:DIR:I: of the one in DIR)',
    )
    .option('--no-color', 'no colour (environment: NO_COLOR)');
}

async function topHelp(): Promise<string> {
  const { Command: Program } = await import('commander');
  const program = new Program('covey')
    .description('A masterless task mesh: submit work to any peer, the mesh runs it.')
    .usage('<verb> [options] [arguments]')
    .helpCommand(false);
  addCommonFlags(program);
  for (const [name, { summary }] of Object.entries(VERBS)) {
    program.command(name).description(summary).usage(' ');
  }
  return program.helpInformation().replace(/ +$/gm, '') + AFTER_TOP_HELP;
}

const AFTER_TOP_HELP = `
'covey <verb> --help' shows every flag of a verb.
Durations: a number and one of ms, s, m, h, d, as 90s. Sizes: a number and one of B, KiB, MiB, GiB, as 64KiB.
Exit codes: 0 done, 1 failed, 2 usage, 69 no daemon, 75 try later, 77 not allowed; 'run', 'xargs', 'wait',
'doctor' and 'sim' say theirs.
`;

/** The verb's exit code; everything expected is told on stderr first. */
export async function runCli(argv: readonly string[], io: CliIo): Promise<number> {
  const { leading, verb: name, rest } = splitAtVerb(argv);
  if (name === undefined || name === 'help' || name === '--help' || name === '-h') {
    const last = leading.at(-1);
    if (name === undefined && last !== undefined && LEADING_VALUE_FLAGS.includes(last)) {
      await io.stderr.line(`covey: ${last} needs a value, and a verb after it`);
      await io.stderr.line("  See 'covey --help'.");
      return EXIT.usage;
    }
    const topic = name === 'help' ? rest[0] : undefined;
    if (topic !== undefined) return runVerb(topic, ['--help'], io);
    await (name === undefined ? io.stderr : io.stdout).write(await topHelp());
    return name === undefined ? EXIT.usage : EXIT.ok;
  }
  if (name === '--version' || name === '-V') return runVerb('version', [], io);
  return runVerb(name, [...leading, ...rest], io);
}

async function unknownVerb(word: string): Promise<string> {
  const said = printable(word);
  if (word.startsWith('-')) return `unknown option '${said}'; options of a verb stand after it`;
  const { nearestVerb } = await import('./nearest.ts');
  return `there is no verb '${said}'${nearestVerb(word, Object.keys(VERBS))}`;
}

async function runVerb(name: string, words: readonly string[], io: CliIo): Promise<number> {
  const found = Object.hasOwn(VERBS, name) ? VERBS[name] : undefined;
  if (found === undefined) {
    await io.stderr.line(`covey: ${await unknownVerb(name)}`);
    await io.stderr.line("  See 'covey --help'.");
    return EXIT.usage;
  }
  const verb = await found.load();
  const { Command: Program } = await import('commander');
  const program = new Program('covey').enablePositionalOptions().exitOverride();
  const command = program.command(name).description(found.summary);
  const written: Promise<void>[] = [];
  const output = {
    writeOut: (text: string) => void written.push(io.stdout.write(text)),
    writeErr: (text: string) => void written.push(io.stderr.write(text)),
    outputError: (text: string, write: (text: string) => void) =>
      write(
        text
          .replace(/^error: (command-argument value )?/, `covey ${name}: `)
          .replace(/ is invalid\. (?!Allowed)/, ' is invalid: '),
      ),
  };
  command
    .configureOutput(output)
    .exitOverride()
    .showHelpAfterError(`  See 'covey ${name} --help'.`);
  verb.configure(command);
  addCommonFlags(command);
  const { line, afterDashes } = cutAtDashes(words, verb.splitsAtDashes === true);
  let exit: number = EXIT.ok;
  command.action(async () => {
    exit = await runParsed(verb, name, command, afterDashes, io);
  });
  try {
    await program.parseAsync([name, ...line], { from: 'user' });
  } catch (thrown) {
    if (!isCommanderError(thrown)) throw thrown;
    exit = thrown.exitCode === 0 ? EXIT.ok : (verb.failureExit ?? EXIT.usage);
  }
  await Promise.all(written);
  return exit;
}

const isCommanderError = (thrown: unknown): thrown is CommanderError =>
  thrown instanceof Error && 'exitCode' in thrown && 'code' in thrown;

function cutAtDashes(words: readonly string[], cut: boolean) {
  const at = cut ? words.indexOf('--') : -1;
  return at < 0
    ? { line: words, afterDashes: undefined }
    : { line: words.slice(0, at), afterDashes: words.slice(at + 1) };
}

async function runParsed(
  verb: Verb,
  name: string,
  command: Command,
  afterDashes: readonly string[] | undefined,
  io: CliIo,
): Promise<number> {
  const { Cli: Context } = await import('./context.ts');
  const cli: Cli = new Context(io, name, command.opts<CommonOptions>(), {
    ...(afterDashes === undefined ? {} : { afterDashes }),
    ...(verb.failureExit === undefined ? {} : { failureExit: verb.failureExit }),
  });
  try {
    const exit = await verb.run(cli, command);
    if (io.stdout.failure !== undefined) {
      await cli.say(`the output could not be written: ${io.stdout.failure}`);
      return verb.failureExit ?? EXIT.failure;
    }
    return io.stdout.broken ? EXIT.brokenPipe : exit;
  } finally {
    cli.close();
  }
}
