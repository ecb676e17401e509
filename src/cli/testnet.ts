/** `covey testnet ACTION`: a local network of real daemons with faults; it lives until `covey testnet down`. */
import { type Command, Option } from 'commander';
import { err, ok, type Result } from '../base/result.ts';
import type { HubRequest } from '../testnet/hub.ts';
import { testnetSocket } from '../testnet/locate.ts';
import { PEERS_MAX, resolveDir } from '../testnet/state.ts';
import { askHub, endHub, networkStatus, startHub } from '../testnet/supervise.ts';
import type { PeerStatus } from '../testnet/testnet.ts';
import { printable } from './bytes.ts';
import type { Cli } from './context.ts';
import { EXIT } from './exit-codes.ts';
import { integer, jsonFlag } from './flags.ts';
import { table } from './output.ts';
import type { Verb } from './verb.ts';

const PEERS_DEFAULT = 5;

interface Flags {
  readonly dir?: string;
  readonly peers?: number;
  readonly slots?: number;
}

interface Call {
  readonly cli: Cli;
  readonly dir: string;
  readonly flags: Flags;
  readonly argument: string | undefined;
}

/** What failed, and whether the caller's words were the reason. */
interface Failure {
  readonly message: string;
  readonly usage: boolean;
}
type Outcome = Result<undefined, Failure>;

const failed = (message: string): Outcome => err({ message, usage: false });
const misused = (message: string): Outcome => err({ message, usage: true });
const DONE: Outcome = ok(undefined);

interface Action {
  readonly usage: string;
  readonly takesArgument: boolean;
  readonly run: (call: Call) => Promise<Outcome>;
}

const ACTIONS: Readonly<Record<string, Action>> = {
  up: {
    usage: 'up [-n 5] [--slots N]   start the daemons, join them, return',
    takesArgument: false,
    run: up,
  },
  status: {
    usage: 'status                  pid, state, socket, and the mesh as each peer sees it',
    takesArgument: false,
    run: status,
  },
  kill: { usage: 'kill I                  SIGKILL', takesArgument: true, run: onPeer('kill') },
  stop: {
    usage: 'stop I                  SIGSTOP: freezes it, connections stay',
    takesArgument: true,
    run: onPeer('stop'),
  },
  cont: { usage: 'cont I                  SIGCONT', takesArgument: true, run: onPeer('cont') },
  restart: {
    usage: 'restart I               start again with its data, after SIGTERM if it still runs',
    takesArgument: true,
    run: onPeer('restart'),
  },
  partition: {
    usage: 'partition 1,2/3,4,5     stop all bytes between the groups; nothing is closed',
    takesArgument: true,
    run: partition,
  },
  heal: {
    usage: 'heal                    let the bytes flow again',
    takesArgument: false,
    run: heal,
  },
  env: {
    usage: 'env I                   print the line for eval "$(covey testnet env I)"',
    takesArgument: true,
    run: env,
  },
  down: {
    usage: 'down                    end every process, remove every file',
    takesArgument: false,
    run: down,
  },
};

const helpText = (): string =>
  `\nActions:\n${Object.values(ACTIONS)
    .map((action) => `  ${action.usage}\n`)
    .join('')}`;

export const verb: Verb = {
  configure(command) {
    command
      .argument('<action>', Object.keys(ACTIONS).join(', '))
      .argument('[argument]', 'the peer, 1 … n, or the groups of a partition')
      .option('--dir <dir>', 'where the network lies (default: one directory per user)')
      .addOption(
        new Option(
          '-n, --peers <n>',
          `daemons to start, 1 to ${PEERS_MAX} (default: ${PEERS_DEFAULT})`,
        ).argParser(integer(1, PEERS_MAX)),
      )
      .option('--slots <n>', 'commands at once on each daemon', integer(0, 4_096))
      .addHelpText('after', helpText());
    jsonFlag(command);
  },
  async run(cli, command: Command) {
    const [name, argument] = command.args;
    const action = name !== undefined && Object.hasOwn(ACTIONS, name) ? ACTIONS[name] : undefined;
    if (!action) return cli.usage(`there is no action '${printable(name ?? '')}'`);
    if (action.takesArgument !== (argument !== undefined)) {
      return cli.usage(`write: covey testnet ${action.usage.split('  ')[0]}`);
    }
    const flags = command.opts<Flags>();
    if (name !== 'up' && (flags.peers !== undefined || flags.slots !== undefined)) {
      return cli.usage('--peers and --slots go with up');
    }
    const outcome = await action.run({ cli, dir: resolveDir(flags.dir), flags, argument });
    if (outcome.ok) return EXIT.ok;
    if (outcome.error.usage) return cli.usage(outcome.error.message);
    await cli.say(outcome.error.message);
    return EXIT.failure;
  },
};

/** For commands that we advise: the network that was named stays the one that is meant. */
const dirFlag = ({ dir }: Flags): string => (dir === undefined ? '' : ` --dir ${resolveDir(dir)}`);

async function up({ cli, dir, flags }: Call): Promise<Outcome> {
  const started = await startHub({
    dir,
    peers: flags.peers ?? PEERS_DEFAULT,
    ...(flags.slots === undefined ? {} : { slots: flags.slots }),
  });
  if (!started.ok) {
    const isPlace = /^E[A-Z]+: /.test(started.error);
    return failed(isPlace ? `${started.error}; choose another place with --dir` : started.error);
  }
  const peers = started.value.peers.map(({ index, name, socket, host, relayPort, process }) => ({
    index,
    name,
    pid: process?.pid ?? null,
    socket,
    address: `${host}:${relayPort}`,
  }));
  if (cli.options.json === true) await cli.json({ dir, peers });
  else {
    const what =
      peers.length === 1
        ? `1 daemon runs in ${dir}.`
        : `${peers.length} daemons run in ${dir} and see each other alive.`;
    await cli.print(`${what}\n`);
    const at = dirFlag(flags);
    await cli.print(`  eval "$(covey testnet env 1${at})"   then: covey members\n`);
    await cli.print(`  covey testnet down${at}\n`);
  }
  return DONE;
}

async function status({ cli, dir, flags }: Call): Promise<Outcome> {
  const found = await networkStatus(dir);
  if (!found.ok) return failed(found.error);
  const { peers, supervised } = found.value;
  if (cli.options.json === true) {
    await cli.json({ dir, supervised, peers });
    return DONE;
  }
  const rows = peers.map((peer) => [
    peer.index,
    peer.name,
    peer.pid ?? undefined,
    peer.state,
    peer.address,
    membersText(peer),
    peer.socket,
  ]);
  const header = ['PEER', 'NAME', 'PID', 'STATE', 'ADDRESS', 'SEES', 'SOCKET'];
  await cli.print(table(header, rows, cli.color));
  if (!supervised) {
    await cli.say(`the supervisor is gone; clean up with 'covey testnet down${dirFlag(flags)}'`);
  }
  return DONE;
}

/** `4 alive, 1 dead`. */
function membersText({ members }: PeerStatus): string | undefined {
  if (members === null) return undefined;
  const counts = new Map<string, number>();
  for (const state of Object.values(members)) counts.set(state, (counts.get(state) ?? 0) + 1);
  return [...counts].map(([state, count]) => `${count} ${state}`).join(', ');
}

function indexOf(argument: string | undefined): number | undefined {
  return argument !== undefined && /^[1-9]\d{0,2}$/.test(argument) ? Number(argument) : undefined;
}

function onPeer(method: 'kill' | 'stop' | 'cont' | 'restart'): Action['run'] {
  return async (call) => {
    const index = indexOf(call.argument);
    if (index === undefined) return misused(`'${call.argument}' is not the number of a peer`);
    return ask(call, { method, params: { index } });
  };
}

async function ask({ cli, dir }: Call, request: HubRequest): Promise<Outcome> {
  const answer = await askHub(dir, request);
  if (!answer.ok) return failed(answer.error);
  if (cli.options.json === true) await cli.json({ ok: true });
  return DONE;
}

async function partition(call: Call): Promise<Outcome> {
  const groups = (call.argument ?? '').split('/').map((group) => group.split(',').map(indexOf));
  const known = groups.map((group) => group.filter((index) => index !== undefined));
  if (groups.length < 2 || known.flat().length !== groups.flat().length) {
    return misused(`'${call.argument}' is not a partition such as 1,2/3,4,5`);
  }
  return ask(call, { method: 'partition', params: { groups: known } });
}

function heal(call: Call): Promise<Outcome> {
  return ask(call, { method: 'heal', params: {} });
}

async function env({ cli, dir, argument }: Call): Promise<Outcome> {
  const index = indexOf(argument);
  if (index === undefined) return misused(`'${argument}' is not the number of a peer`);
  const socket = await testnetSocket(dir, index);
  if (!socket.ok) return failed(socket.error);
  if (cli.options.json === true) await cli.json({ COVEY_SOCKET: socket.value });
  else await cli.print(`export COVEY_SOCKET='${socket.value.replaceAll("'", "'\\''")}'\n`);
  return DONE;
}

async function down({ cli, dir }: Call): Promise<Outcome> {
  const ended = await endHub(dir);
  if (!ended.ok) return failed(ended.error);
  if (cli.options.json === true) await cli.json({ ok: true });
  return DONE;
}
