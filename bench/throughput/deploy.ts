/** The servers of each system at the settings that serve it best, and what its programs need to reach them. */
import { mkdir, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { connect as dial } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from '../../src/testnet/ports.ts';
import type { TestNetwork } from '../../src/testnet/testnet.ts';
import type { Setting } from '../common/bench.ts';
import { inspectorOf, meshUp } from '../common/mesh.ts';
import type { Nats } from './outside.ts';
import type { SystemName, Where } from './system.ts';

/** Worker programs, and what each has in its hands: `concurrency`, for NATS messages fetched ahead. */
export interface Tuning {
  readonly workers: number;
  readonly each: number;
}

export interface Deployment {
  /** Of the servers, by name. */
  readonly pids: Readonly<Record<string, number>>;
  readonly client: Where;
  worker(index: number, tuning: Tuning): Where;
  /** Tried one after the other; the best is measured. */
  readonly tunings: readonly Tuning[];
  readonly settings: Readonly<Record<string, unknown>>;
  /** Of the first daemon. */
  readonly inspector: string | undefined;
  end(): Promise<void>;
}

export interface DeployOptions {
  readonly peers: number;
  readonly inspected: boolean;
}

type Setup = Setting & DeployOptions;

export const DEPLOY: Readonly<Record<SystemName, (setup: Setup) => Promise<Deployment>>> = {
  covey,
  bullmq,
  nats,
};

const START_MS_MAX = 30_000;
const POLL_MS = 25;
const NATS_SERVERS = 3;

async function covey({ dir, peers, inspected }: Setup): Promise<Deployment> {
  const network = await meshUp({ peers, dir, inspected });
  return coveyOn(network, inspected ? await inspectorOf(network, 1) : undefined);
}

/** A worker program beside each daemon, the submitting one at the first. */
export function coveyOn(network: TestNetwork, inspector?: string): Deployment {
  const { size } = network;
  const pids = network.indices.map((index): [string, number] => [
    `coveyd-${index}`,
    network.pid(index),
  ]);
  return {
    pids: Object.fromEntries(pids),
    client: { system: 'covey', socket: network.socket(1), concurrency: 0 },
    worker: (index, { each }) => ({
      system: 'covey',
      socket: network.socket(1 + (index % size)),
      concurrency: each,
    }),
    tunings: [{ workers: size, each: 1_000 }],
    settings: {
      daemons: size,
      copies: 3,
      copies_required: 2,
      durability: 'auto: on two stores, synced',
    },
    inspector,
    end: () => network.down({ graceMs: 0 }),
  };
}

const REDIS_OPTIONS: Readonly<Record<string, string>> = {
  port: '0',
  appendonly: 'yes',
  appendfsync: 'always',
  save: '""',
  // A rewrite of the log in the middle of a run would only cost it.
  'auto-aof-rewrite-percentage': '0',
  'maxmemory-policy': 'noeviction',
};

async function bullmq({ owned, dir, found }: Setup): Promise<Deployment> {
  const { redis, bullmq: packages } = found;
  if (redis === undefined || packages === undefined) throw new Error('Redis or BullMQ is absent');
  await mkdir(dir, { recursive: true });
  const socket = join(dir, 'redis.sock');
  const lines = Object.entries({ ...REDIS_OPTIONS, dir, unixsocket: socket });
  const file = join(dir, 'redis.conf');
  await writeFile(file, lines.map(([key, value]) => `${key} ${value}\n`).join(''));
  const libraries = join(redis, '../../lib/x86_64-linux-gnu');
  const server = await owned.launch([redis, file], {
    logFile: join(dir, 'redis.log'),
    env: { LD_LIBRARY_PATH: libraries },
  });
  await untilItAnswers('Redis', { path: socket });
  const where: Where = { system: 'bullmq', packages, socket, concurrency: 0 };
  return {
    pids: { redis: server.pid },
    client: where,
    worker: (_, { each }) => ({ ...where, concurrency: each }),
    tunings: [
      { workers: 1, each: 64 },
      { workers: 1, each: 256 },
      { workers: 1, each: 1_000 },
      { workers: 2, each: 256 },
      { workers: 3, each: 256 },
    ],
    settings: { ...REDIS_OPTIONS, connection: 'Unix socket', finished_jobs: 'kept' },
    inspector: undefined,
    end: async () => {
      server.child.kill('SIGKILL');
      await server.exited;
    },
  };
}

async function nats({ owned, dir, found }: Setup): Promise<Deployment> {
  const { 'nats-server': program, nats: packages } = found;
  if (program === undefined || packages === undefined) throw new Error('NATS is absent');
  const places: { client: number; cluster: number }[] = [];
  for (let i = 0; i < NATS_SERVERS; i += 1) {
    places.push({ client: await freePort('127.0.0.1'), cluster: await freePort('127.0.0.1') });
  }
  const routes = places.map(({ cluster }) => `nats://127.0.0.1:${cluster}`).join(', ');
  const servers = await Promise.all(
    places.map(async ({ client, cluster }, i) => {
      const home = join(dir, `n${i + 1}`);
      await mkdir(home, { recursive: true });
      const text = `server_name: n${i + 1}
listen: "127.0.0.1:${client}"
jetstream { store_dir: "${home}/store" }
cluster { name: bench, listen: "127.0.0.1:${cluster}", routes: [${routes}] }
`;
      await writeFile(join(home, 'conf'), text);
      return await owned.launch([program, '-c', join(home, 'conf')], {
        logFile: join(home, 'log'),
      });
    }),
  );
  for (const { client } of places) await untilItAnswers('NATS', { port: client });
  const ports = places.map(({ client }) => client);
  const settings = await natsStreams(packages, ports[0] ?? 0);
  const at = (index: number, fetch: number): Where => {
    const port = ports[index % ports.length] ?? 0;
    return { system: 'nats', packages, port, fetch };
  };
  return {
    pids: Object.fromEntries(servers.map(({ pid }, i) => [`nats-${i + 1}`, pid])),
    client: at(0, 0),
    worker: (index, { each }) => at(index, each),
    tunings: [
      { workers: 1, each: 500 },
      { workers: 2, each: 500 },
      { workers: 3, each: 250 },
      { workers: 3, each: 1_000 },
    ],
    settings,
    inspector: undefined,
    end: async () => {
      for (const { child } of servers) child.kill('SIGKILL');
      await Promise.all(servers.map(({ exited }) => exited));
    },
  };
}

/** One stream of tasks and one of results, each on all three; the cluster needs its leader first. */
async function natsStreams(packages: string, port: number): Promise<Record<string, unknown>> {
  const library = createRequire(join(packages, 'package.json'))('nats') as Nats;
  const connection = await library.connect({ servers: `127.0.0.1:${port}` });
  const stream = { num_replicas: NATS_SERVERS, storage: 'file' };
  const tasks = { ...stream, name: 'TASKS', subjects: ['tasks'], retention: 'workqueue' };
  const results = { ...stream, name: 'RESULTS', subjects: ['results'], retention: 'limits' };
  const consumer = { durable_name: 'workers', ack_policy: 'explicit', max_ack_pending: 20_000 };
  const deadlineMs = performance.now() + START_MS_MAX;
  for (;;) {
    try {
      const manager = await connection.jetstreamManager();
      await manager.streams.add(tasks);
      await manager.streams.add(results);
      await manager.consumers.add('TASKS', consumer);
      break;
    } catch (thrown) {
      if (performance.now() > deadlineMs) throw thrown;
      await delay(POLL_MS);
    }
  }
  await connection.close();
  return { servers: NATS_SERVERS, tasks, results, consumer };
}

async function untilItAnswers(
  what: string,
  address: { readonly path: string } | { readonly port: number },
): Promise<void> {
  const deadlineMs = performance.now() + START_MS_MAX;
  for (;;) {
    const answered = await new Promise<boolean>((resolve) => {
      const socket = dial(address);
      socket.on('connect', () => resolve(true)).on('error', () => resolve(false));
      socket.on('connect', () => socket.destroy());
    });
    if (answered) return;
    if (performance.now() > deadlineMs) throw new Error(`${what} does not answer`);
    await delay(POLL_MS);
  }
}
