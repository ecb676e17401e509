/** Covey's daemons, with no configuration but where they are: the default is `lan`. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Connection, openConnection } from '../../src/client/index.ts';
import { COVEYD } from '../../src/testnet/paths.ts';
import { firstLine, parseJson } from '../common/launch.ts';
import type { Backend, Place, Running, Setting } from './backend.ts';
import type { Status } from './views.ts';

const STATUS_OF_EVENT: Readonly<Record<string, Status>> = {
  joined: 'alive',
  alive: 'alive',
  suspect: 'suspect',
  dead: 'dead',
  left: 'left',
};

class CoveyNode implements Running {
  readonly place: Place;
  readonly launched: Running['launched'];
  readonly readyMs: number;
  readonly connection: Connection;

  constructor(base: Omit<Running, 'close' | 'countedBytes'>, connection: Connection) {
    this.place = base.place;
    this.launched = base.launched;
    this.readyMs = base.readyMs;
    this.connection = connection;
  }

  async countedBytes(): Promise<number | undefined> {
    const stats = await this.connection.call('members.stats', {});
    if (!stats.ok || stats.value.traffic === undefined) return undefined;
    const classes = Object.values(stats.value.traffic.since_start);
    return classes.reduce((sum, flow) => sum + flow.bytes_sent, 0);
  }

  close(): void {
    this.connection.close();
  }
}

/** Every change of a member as an event; the list once, for what was before the subscription. */
async function watch(setting: Setting, place: Place, socket: string): Promise<Connection> {
  const opened = await openConnection(socket, { clientName: 'bench', timeoutMs: 60_000 });
  if (!opened.ok) throw new Error(opened.error.message);
  const connection = opened.value;
  const told = new Set<string>();
  connection.on('event', ({ topic, type, data }) => {
    const status = STATUS_OF_EVENT[type];
    const { name } = data;
    if (topic !== 'member' || status === undefined || typeof name !== 'string') return;
    told.add(name);
    setting.views.note(place.name, name, status);
  });
  const subscribed = await connection.call('events.subscribe', { topics: ['member'] });
  if (!subscribed.ok) throw new Error(subscribed.error.message);
  const list = await connection.call('members.list', {});
  if (!list.ok) throw new Error(list.error.message);
  for (const { name, status } of list.value.members) {
    if (status !== 'removed' && !told.has(name)) setting.views.note(place.name, name, status);
  }
  return connection;
}

async function start(
  setting: Setting,
  place: Place,
  token: string | undefined,
): Promise<CoveyNode> {
  const { name, host, port, dir } = place;
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const socket = join(dir, 's');
  const args = ['--data-dir', join(dir, 'data'), '--socket', socket, '--name', name];
  args.push('--bind', `${host}:${port}`, '--dial-from', host, '--allow-root');
  if (token !== undefined) args.push('--join', token);
  const launched = await setting.owned.launch([COVEYD, ...args], { logFile: join(dir, 'log') });
  const ready = await firstLine(launched, name, (line) =>
    parseJson(line)?.event === 'ready' ? true : undefined,
  );
  const connection = await watch(setting, place, socket);
  return new CoveyNode({ place, launched, readyMs: ready.atMs }, connection);
}

export const COVEY: Backend = {
  name: 'covey',
  leftStatus: 'left',
  dialsFromItsAddress: true,
  start,
  tokens: async (first, count) => {
    if (!(first instanceof CoveyNode)) throw new Error('not a daemon of Covey');
    const tokens: string[] = [];
    while (tokens.length < count) {
      const answer = await first.connection.call('access.invite', {});
      if (!answer.ok) throw new Error(answer.error.message);
      tokens.push(answer.value.token);
    }
    return tokens;
  },
};
