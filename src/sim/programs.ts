/**
 * Local programs of a story: each connects to the control socket of some daemon, asks what it asks, some of it wrong,
 * and ends. What they are refused with is part of the coverage; a wrong request must never do more than be refused.
 */
import * as limits from '../api/limits.ts';
import { type Random, randomBelow, randomFloat } from '../base/random.ts';
import { encodeTaskId, parseTaskId } from '../base/task-id.ts';
import { HOUR_MS } from '../base/units.ts';
import { encodeToken, SECRET_BYTES } from '../membership/token.ts';
import { pick } from './options.ts';
import type { SocketClient } from './socket-client.ts';

/** Older than an id may be, however far a wall clock was set back. */
const OLD_MS = 10 * HOUR_MS;

export interface Visit {
  readonly client: SocketClient;
  readonly random: Random;
  /** Of a task that was acknowledged; of an unknown one while there is none. */
  readonly id: string;
  /** Well formed, and of no task. */
  readonly unknownId: string;
  /** Nothing is down or parted, as far as anybody sees. */
  readonly isWhole: boolean;
  /** More connections to the same daemon. */
  readonly connect: () => SocketClient;
}

interface Request {
  /** Of so many draws it is chosen once, roughly: what is large comes rarely. */
  readonly oneIn: number;
  readonly run: (visit: Visit) => Promise<unknown>;
}

const read = (run: Request['run']): Request => ({ oneIn: 1, run });
const wrong = (run: Request['run']): Request => ({ oneIn: 2, run });
const large = (run: Request['run']): Request => ({ oneIn: 40, run });

/** Another request under an id that has one. */
const other = { type: 'another', payload: 1 };

const foreignToken = (random: Random): string =>
  encodeToken({
    meshId: 'another mesh',
    inviter: 'nobody',
    addresses: ['127.77.9.9:26839'],
    secret: random.bytes(SECRET_BYTES),
    expiresAtMs: Number.MAX_SAFE_INTEGER,
  });

/** Asks for the same thing so often, without waiting in between. */
const often = (times: number, ask: () => Promise<unknown>): Promise<unknown> =>
  Promise.all(Array.from({ length: times }, ask));

export const REQUESTS = {
  get: read(({ client, id }) => client.call('task.get', { id })),
  get_from_all: wrong(({ client, id }) => client.call('task.get', { id, read: 3 })),
  get_from_most: wrong(({ client, id }) => client.call('task.get', { id, read: 'quorum' })),
  list: read(({ client }) => client.call('task.list', { limit: 200 })),
  list_waiting: read(({ client }) => client.call('task.list', { state: 'waiting' })),
  explain: read(({ client, id }) => client.call('task.explain', { id })),
  logs: read(({ client, id }) => client.call('task.logs', { id })),
  find: read(({ client, id }) => client.call('task.find', { suffix: id.slice(-8) })),
  wait: read(({ client, id }) => client.call('task.wait', { ids: [id], timeout_ms: 2_000 })),
  status: read(async ({ client }) => {
    await client.call('system.hello', { client: 'program', versions: [1] });
    await client.call('system.status');
    await client.call('members.list');
    return client.call('access.list');
  }),
  events: read(async ({ client, id }) => {
    const { result } = await client.call('events.subscribe', { topics: ['task'], ids: [id] });
    await client.call('ring.owner', { key: id });
    return client.call('events.unsubscribe', { subscription: String(result?.subscription) });
  }),
  reserve: read(({ client }) => client.call('ids.reserve', { n: 2 })),
  logs_running: wrong(async ({ client }) => {
    const { result } = await client.call('task.list', { state: 'active', limit: 5 });
    const tasks = Array.isArray(result?.tasks) ? (result.tasks as { id: string }[]) : [];
    return Promise.all(tasks.map(({ id }) => client.call('task.logs', { id })));
  }),
  discover: large(({ client }) => client.call('rpc.discover')),
  follow: wrong(async ({ client, id }) => {
    const { result } = await client.call('task.logs', { id, follow: true });
    return client.call('events.unsubscribe', { subscription: String(result?.subscription) });
  }),

  no_json: wrong(({ client }) => client.raw('{"jsonrpc": ')),
  no_text: wrong(({ client }) => client.raw(new Uint8Array([0xff, 0xfe]))),
  no_request: wrong(({ client }) => client.raw('{"jsonrpc":"1.0","method":7}')),
  empty_batch: wrong(({ client }) => client.raw('[]')),
  no_method: wrong(({ client }) => client.call('task.sumbit')),
  wrong_params: wrong(({ client }) => client.call('task.get', { id: 7 })),
  unknown_task: wrong(({ client, unknownId }) => client.call('task.get', { id: unknownId })),
  cancel_unknown: wrong(({ client, unknownId: id }) => client.call('task.cancel', { id })),
  old_id: wrong(({ client, id, random }) =>
    client.call('task.submit', { ...other, id: aged(id, random) }),
  ),
  id_of_another: wrong(({ client, id, unknownId, isWhole }) =>
    // Where a home store is away it may take the second request for the first.
    isWhole && id !== unknownId ? client.call('task.submit', { ...other, id }) : client.raw('[]'),
  ),
  retry_unfinished: wrong(({ client, id }) => retryUnfinished(client, id)),
  forget_itself: wrong(async ({ client }) => {
    const { result } = await client.call('system.status');
    const peer = String(result?.peer_id ?? 'nobody');
    await client.call('access.revoke', { peer });
    return client.call('members.forget', { peer });
  }),
  cursor: wrong(({ client }) => client.call('task.list', { cursor: 'yesterday' })),
  version: wrong(({ client }) => client.call('system.hello', { client: 'new', versions: [99] })),
  not_a_worker: wrong(({ client, id }) => client.call('worker.renew', { ids: [id] })),
  stale_attempt: wrong(async ({ client, id }) => {
    await client.call('worker.register', { types: [{ type: 'unused', concurrency: 1 }] });
    return client.call('worker.progress', { id, attempt: 1, progress: 0.5 });
  }),
  long_command: wrong(({ client }) =>
    client.call('task.submit', { exec: { argv: ['x'.repeat(limits.ARGV_BYTES_MAX)] } }),
  ),
  bulk: wrong(({ client }) => client.call('task.submit_bulk', { tasks: [{}, { type: '' }] })),
  token: wrong(({ client }) => client.call('mesh.join', { token: 'covey1-nothing' })),
  foreign_token: wrong(({ client, random }) =>
    client.call('mesh.join', { token: foreignToken(random) }),
  ),
  many_subscriptions: large(({ client }) =>
    often(limits.SUBSCRIPTIONS_MAX + 1, () =>
      client.call('events.subscribe', { topics: ['task'] }),
    ),
  ),
  large_batch: wrong(({ client }) => client.raw(`[${'0,'.repeat(limits.BATCH_MAX)}0]`)),
  long_line: large(({ client }) => client.raw('x'.repeat(limits.LINE_BYTES_MAX + 1))),
  many_requests: large(({ client, id }) =>
    often(limits.UNANSWERED_REQUESTS_MAX + 1, () =>
      client.call('task.wait', { ids: [id], timeout_ms: 100 }),
    ),
  ),
  many_connections: large(async ({ connect }) => {
    const clients = Array.from({ length: limits.CONNECTIONS_MAX + 1 }, connect);
    await Promise.all(clients.map((client) => client.call('system.status')));
    for (const client of clients) client.end();
  }),
} as const satisfies Readonly<Record<string, Request>>;

export type RequestName = keyof typeof REQUESTS;

const RETRIED_MS_MAX = 60_000;

/** The same id, made hours ago. */
function aged(id: string, random: Random): string {
  const parts = parseTaskId(id);
  if (parts === undefined) throw new Error(`${id} is not a task id`);
  const bits = Math.floor(randomFloat(random) * 2 ** 40).toString(16);
  const createdMs = parts.createdMs - OLD_MS;
  return encodeTaskId({ ...parts, createdMs, random: bits.padStart(12, '0') });
}

/** It may end meanwhile: then there is a second task, which nobody would cancel if its command never ended. */
async function retryUnfinished(client: SocketClient, id: string): Promise<unknown> {
  const { result } = await client.call('task.get', { id });
  const isOpen = ['delayed', 'waiting', 'active'].includes(String(result?.state));
  const [, durationMs = '0'] = Array.isArray(result?.argv) ? (result.argv as string[]) : [];
  return isOpen && Number(durationMs) <= RETRIED_MS_MAX
    ? client.call('task.retry', { id })
    : undefined;
}

/** One request, by its frequency. */
export function drawRequest(random: Random): RequestName {
  const names = Object.keys(REQUESTS) as RequestName[];
  for (;;) {
    const name = pick(random, names) ?? 'get';
    if (randomBelow(random, REQUESTS[name].oneIn) === 0) return name;
  }
}
