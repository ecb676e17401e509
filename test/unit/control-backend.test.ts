/** The control methods on a real peer in the simulated world: what its sessions hear, hold, and are refused. */
import { describe, expect, it } from 'vitest';
import type { ConfigInput } from '../../src/api/config.ts';
import {
  METHODS,
  type MethodName,
  type NotificationName,
  type NotificationParams,
} from '../../src/api/methods.ts';
import { type SubmitInput, submitSchema } from '../../src/api/task.ts';
import type { CoveyError } from '../../src/base/errors.ts';
import type { Result } from '../../src/base/result.ts';
import type { ControlBackend, Session } from '../../src/control/backend.ts';
import { createBackend } from '../../src/control/methods.ts';
import { argvOf } from '../../src/sim/commands.ts';
import { SimSpool } from '../../src/sim/spool.ts';
import { World } from '../../src/sim/world.ts';
import { taskOf } from '../../src/tasks/task.ts';

/** A client that takes `room` notifications, and then is full until it reads. */
class Client implements Session {
  readonly id = 'client';
  room = Number.POSITIVE_INFINITY;
  readonly heard: { readonly name: string; readonly params: Readonly<Record<string, unknown>> }[] =
    [];
  readonly onEnd = new Set<() => void>();
  readonly onRead = new Set<() => void>();

  notify<N extends NotificationName>(name: N, params: NotificationParams<N>): 'sent' | 'full' {
    if (this.room <= 0) return 'full';
    this.room -= 1;
    this.heard.push({ name, params: { ...params } });
    return 'sent';
  }

  onClosed(listener: () => void): () => void {
    this.onEnd.add(listener);
    return () => this.onEnd.delete(listener);
  }

  onDrained(listener: () => void): () => void {
    this.onRead.add(listener);
    return () => this.onRead.delete(listener);
  }

  read(room: number): void {
    this.room = room;
    for (const listener of [...this.onRead]) listener();
  }

  of(name: string): Readonly<Record<string, unknown>>[] {
    return this.heard.flatMap((item) => (item.name === name ? [item.params] : []));
  }

  types(): unknown[] {
    return this.of('event').map(({ type }) => type);
  }
}

const job = (durationMs: number): SubmitInput => ({
  exec: { argv: argvOf({ durationMs, failures: 0, isDeaf: false }), cwd: '/' },
});
const STREAMS = ['stdout', 'stderr'] as const;
const elsewhere: ConfigInput = { copies: 1, copies_required: 1 };

class Story {
  readonly world: World;
  readonly backends: ControlBackend[] = [];
  readonly client = new Client();

  constructor(seed: string, peers: number, config?: ConfigInput) {
    this.world = new World({ seed, peers, ...(config === undefined ? {} : { config }) });
  }

  async begin(): Promise<void> {
    await this.world.joinAll();
    for (const [i] of this.world.hosts.entries()) {
      const options = { version: 'sim', pid: 1, socket: '/run/sim', leave: async () => [] };
      this.backends.push(createBackend(this.world.peer(i), options));
    }
  }

  /** Begins a call of a method of peer `i`, with parameters as they come from the schema. */
  async ask(i: number, method: MethodName, input: unknown): Promise<Record<string, unknown>> {
    const params = METHODS[method].params.parse(input);
    // Which parameters go with which method TypeScript cannot follow through a name.
    const handler = this.backends[i]?.[method as 'task.get'] as unknown as (
      params: unknown,
      session: Session,
    ) => Promise<Result<Record<string, unknown>, CoveyError>>;
    const answer = await handler(params, this.client);
    return answer.ok ? answer.value : { refused: answer.error.code };
  }

  call(i: number, method: MethodName, input: unknown): Promise<Record<string, unknown>> {
    return this.world.until(this.ask(i, method, input), 60_000);
  }

  async submit(i: number, input: SubmitInput): Promise<string> {
    const receipt = await this.world.until(
      this.world.peer(i).tasks.submit(submitSchema.parse(input)),
      10_000,
    );
    if (!receipt.ok) throw new Error(receipt.error.message);
    return receipt.value.id;
  }

  /** A task that lies at peer 1 alone, and takes ten seconds. */
  async foreign(): Promise<string> {
    for (;;) {
      const id = await this.submit(0, job(10_000));
      if (this.world.peer(0).replica.get(id) === undefined) return id;
    }
  }

  runOf(i: number, id: string): string {
    const record = this.world.peer(i).replica.get(id);
    const run = record && taskOf(record).attempts[0]?.start.run_id;
    if (run === undefined) throw new Error(`${id} has not run`);
    return run;
  }

  async finished(i: number): Promise<string> {
    const id = await this.submit(i, job(10));
    await this.call(i, 'task.wait', { ids: [id], timeout_ms: 30_000 });
    return id;
  }
}

function story(
  seed: string,
  peers: number,
  tell: (story: Story) => Promise<void>,
  config?: ConfigInput,
): () => Promise<void> {
  return async () => {
    const one = new Story(seed, peers, config);
    await one.world.run(async () => {
      await one.begin();
      await tell(one);
    });
  };
}

describe('following the output of a task', () => {
  it(
    'sends all of both streams, and the end, to a client that paused; its session holds nothing then',
    story('paused', 1, async (one) => {
      const { client, world } = one;
      const id = await one.finished(0);
      const run = one.runOf(0, id);
      const text = new Uint8Array(3_000_000).fill(120);
      for (const stream of STREAMS) world.peer(0).ports.spool.append(run, stream, text);
      client.room = 2;
      await one.call(0, 'task.logs', { id, follow: true });
      await world.runFor(1_000);
      expect(client.of('log')).toHaveLength(2);
      client.read(Number.POSITIVE_INFINITY);
      await world.runFor(5_000);
      expect(client.of('log_end')).toMatchObject([{ state: 'completed' }]);
      const got = { stdout: 0, stderr: 0 };
      for (const { stream, data } of client.of('log'))
        got[stream as 'stdout' | 'stderr'] += String(data).length;
      // The run's own line comes first.
      expect(got).toEqual({ stdout: 3_000_000 + run.length + 1, stderr: 3_000_000 });
      expect([client.onEnd.size, client.onRead.size]).toEqual([0, 0]);
    }),
  );

  it(
    'ends with the result when the runner cannot read its spool',
    story('spool', 1, async (one) => {
      const { client, world } = one;
      const id = await one.finished(0);
      const { spool } = world.peer(0).ports;
      if (!(spool instanceof SimSpool)) throw new Error('not the simulated spool');
      spool.breakRun(one.runOf(0, id));
      await one.call(0, 'task.logs', { id, follow: true });
      await world.runFor(5_000);
      expect(client.of('log')).toMatchObject([{ stream: 'stdout', data: `${one.runOf(0, id)}\n` }]);
      expect(client.of('log_end')).toMatchObject([{ state: 'completed' }]);
    }),
  );

  it(
    'leaves nothing behind when it is given up or its session ends',
    story('given up', 1, async (one) => {
      const { client, world } = one;
      const id = await one.submit(0, job(600_000));
      const { subscription } = await one.call(0, 'task.logs', { id, follow: true });
      await one.call(0, 'task.logs', { id, follow: true });
      await world.runFor(100);
      expect([client.onEnd.size, client.onRead.size]).toEqual([2, 2]);
      await one.call(0, 'events.unsubscribe', { subscription });
      await world.runFor(5_000);
      expect([client.onEnd.size, client.onRead.size]).toEqual([1, 1]);
      for (const listener of [...client.onEnd]) listener();
      await world.runFor(5_000);
      expect(client.onRead.size).toBe(0);
    }),
  );
});

describe('the events of tasks', () => {
  it(
    'tell each end once, whatever is written of the task later',
    story(
      'told once',
      1,
      async (one) => {
        await one.call(0, 'events.subscribe', { topics: ['task'] });
        const ids = [await one.finished(0), await one.finished(0), await one.finished(0)];
        // The sweep writes of the oldest that they may go, and lets them go.
        await one.world.runFor(30_000);
        expect(ids.filter((id) => one.world.peer(0).replica.get(id) !== undefined)).toHaveLength(1);
        expect(one.client.types().filter((type) => type === 'completed')).toHaveLength(3);
        const states = one.client.of('event').map(({ id, type }) => `${id} ${type}`);
        expect(new Set(states).size).toBe(states.length);
      },
      { retention_count: 1 },
    ),
  );

  it(
    'come for an id in another spelling, from wherever it lies, once for all who follow it',
    story('spelling', 2, (one) => followed(one), elsewhere),
  );

  it(
    'of ids that lie elsewhere are watched for no longer than the subscription lasts',
    story(
      'unsubscribed',
      2,
      async (one) => {
        const { reader } = one.world.peer(0).tasks;
        const watched = new Set<object>();
        const watch = reader.watch.bind(reader);
        reader.watch = (ids, done) => {
          const giveUp = watch(ids, done);
          const mark = {};
          watched.add(mark);
          return () => {
            watched.delete(mark);
            giveUp();
          };
        };
        const id = await one.foreign();
        const topics = ['task'];
        const first = await one.call(0, 'events.subscribe', { topics, ids: [id] });
        await one.call(0, 'events.subscribe', { topics, ids: [id] });
        // One listener of the hub itself, for the whole session.
        expect([watched.size, one.client.onEnd.size]).toEqual([2, 3]);
        await one.call(0, 'events.unsubscribe', { subscription: first.subscription });
        expect([watched.size, one.client.onEnd.size]).toEqual([1, 2]);
        for (const listener of [...one.client.onEnd]) listener();
        expect(watched.size).toBe(0);
      },
      elsewhere,
    ),
  );
});

/** Two subscriptions of one session hear of a task of the other peer's. */
async function followed(one: Story): Promise<void> {
  const id = await one.foreign();
  for (const spelling of [id.toLowerCase(), id]) {
    await one.call(0, 'events.subscribe', { topics: ['task'], ids: [spelling] });
  }
  await one.world.runFor(30_000);
  const ends = one.client.of('event').map(({ subscription, type }) => `${subscription} ${type}`);
  expect(ends).toEqual(['e1 completed', 'e2 completed']);
}

describe('task.wait', () => {
  it(
    'takes two spellings of an id for one task',
    story('two spellings', 1, async (one) => {
      const id = await one.submit(0, job(500));
      const since = one.world.clock.nowMs();
      const answer = await one.call(0, 'task.wait', {
        ids: [id, id.toLowerCase()],
        timeout_ms: 20_000,
      });
      expect(answer).toMatchObject({ done: [{ id, state: 'completed' }], pending: [] });
      expect(one.world.clock.nowMs() - since).toBeLessThan(5_000);
    }),
  );
});

describe('a peer that has closed', () => {
  it(
    'refuses every method, those under way too, and tells no event',
    story('closed', 2, async (one) => {
      const { client, world } = one;
      const id = await one.finished(0);
      const running = await one.submit(0, job(600_000));
      await one.call(0, 'events.subscribe', { topics: ['task'] });
      await one.call(0, 'task.logs', { id: running, follow: true });
      const wait = one.ask(0, 'task.wait', { ids: [running], timeout_ms: 40_000 });
      const stop = world.peer(0).stop(100);
      let isClosed = false;
      void stop.then(() => {
        isClosed = true;
      });
      await world.runUntil(() => isClosed, 60_000);
      const told = client.of('event').length;
      const calls: Partial<Record<MethodName, unknown>> = {
        'ids.reserve': { n: 1 },
        'task.submit': job(1),
        'task.get': { id },
        'task.cancel': { id },
        'task.logs': { id },
        'task.list': {},
        'task.wait': { ids: [id], timeout_ms: 1_000 },
        'task.explain': { id },
        'events.subscribe': { topics: ['task'] },
        'system.status': {},
        'members.list': {},
        'access.list': {},
        'worker.register': { types: [{ type: 't', concurrency: 1 }] },
      };
      for (const [method, params] of Object.entries(calls))
        expect([method, await one.call(0, method as MethodName, params)]).toEqual([
          method,
          { refused: 'STOPPING' },
        ]);
      await world.runFor(60_000);
      expect(await wait).toEqual({ refused: 'STOPPING' });
      expect(client.of('event')).toHaveLength(told);
      expect(world.fatals).toEqual([]);
    }),
  );
});
