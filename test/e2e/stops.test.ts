/** Orderly stops: a planned restart starts nothing twice, and who leaves takes nothing with it. */
import { appendFile, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type Covey, openConnection } from '../../src/client/index.ts';
import { Mesh, SETTLE_MS, TEST_MS } from './mesh.ts';
import { atEnd, daemons } from './setting.ts';

async function up(...args: Parameters<typeof Mesh.up>): Promise<Mesh> {
  const mesh = await Mesh.up(...args);
  atEnd(() => mesh.end());
  return mesh;
}

/** Keeps ten tasks unfinished until `stop`, which resolves when all have completed. */
function keepBusy(mesh: Mesh, client: Covey, submit: () => Promise<{ readonly id: string }>) {
  const ids: string[] = [];
  let isOver = false;
  const lane = async (): Promise<void> => {
    while (!isOver) {
      const { id } = await submit();
      ids.push(id);
      const { done } = await client.wait([id], { timeoutMs: SETTLE_MS });
      if (done[0]?.state === 'completed') continue;
      throw new Error(`not completed: ${JSON.stringify(await mesh.explain(1, id))}`);
    }
  };
  const ended = Promise.all(Array.from({ length: 10 }, lane));
  ended.catch(() => undefined); // whoever stops it hears of it
  const stop = (): Promise<unknown> => {
    isOver = true;
    return ended;
  };
  return { ids, stop };
}

test(
  'SIGTERM and restart of each daemon under load: no command starts twice',
  async () => {
    const mesh = await up(3, { slots: 2 });
    const ledger = mesh.ledger('starts');
    const client = await mesh.client(1);
    const { ids, stop } = keepBusy(mesh, client, () =>
      client.submit(ledger.command('sleep 0.$(($$ % 9))')),
    );
    for (const index of mesh.network.indices) {
      const before = ids.length;
      await mesh.network.waitFor('the load runs', () => ids.length > before + 10);
      await mesh.network.kill(index, 'SIGTERM');
      expect(await mesh.network.waitForExit(index)).toEqual({ code: 0, signal: null });
      await mesh.network.restart(index);
      await mesh.network.waitForAllAlive();
    }
    await stop();
    await mesh.expectOneStartEach(1, ledger, ids);
  },
  TEST_MS,
);

test(
  'SIGTERM and restart of each daemon under load: workers resume, and no task of theirs starts twice',
  async () => {
    const mesh = await up(3);
    const file = join(mesh.dir, 'worker-starts');
    let release: () => void = () => undefined;
    let restarted = new Promise<void>((resolve) => {
      release = resolve;
    });
    for (const index of mesh.network.indices) {
      const client = await mesh.client(index);
      await client.work(
        'long',
        async (_payload, { id, attempt }) => {
          await appendFile(file, `${id} ${attempt} ${process.pid} test${index}\n`);
          await restarted;
          return `done by ${index}`;
        },
        { concurrency: 2 },
      );
    }
    const client = await mesh.client(1);
    const ledger = mesh.ledger('worker-starts');
    const { ids, stop } = keepBusy(mesh, client, () => client.submit({ type: 'long' }));
    for (const index of mesh.network.indices) {
      await mesh.network.waitFor('all workers are busy', async () => {
        const views = await mesh.network.members(1);
        return views?.every((view) => view.load.active === 2);
      });
      // Every handler of this round outlives the restart of its daemon.
      await mesh.network.kill(index, 'SIGTERM');
      await mesh.network.restart(index);
      await mesh.network.waitForAllAlive();
      const done = release;
      restarted = new Promise<void>((resolve) => {
        release = resolve;
      });
      done();
    }
    release();
    restarted = Promise.resolve();
    await stop();
    await mesh.expectOneStartEach(1, ledger, ids);
    for (const id of ids) {
      const { attempts } = await mesh.get(2, id);
      // A placement that met a stopping peer was refused; one that too few stores heard of was taken back before its
      // start was ordered.
      const started = attempts.filter(
        ({ outcome, error }) => outcome !== 'refused' && error?.code !== 'not_enough_copies',
      );
      expect(started).toMatchObject([{ outcome: 'completed' }]);
    }
  },
  TEST_MS,
);

test(
  'a command that outlasts shutdown_timeout is interrupted, which counts neither as failure nor as loss',
  async () => {
    const mesh = await up(3, { config: { shutdown_timeout: '200ms' } });
    const ledger = mesh.ledger('interrupted');
    const gate = mesh.gate();
    const client = await mesh.client(1);
    const { id } = await client.submit(ledger.command(gate.wait));
    const [first] = await mesh.network.waitFor('the start', async () => {
      const starts = await ledger.starts();
      return starts.length > 0 && starts;
    });
    const runner = mesh.indexOf(first?.peer);
    await mesh.network.kill(runner, 'SIGTERM');
    const other = mesh.another(runner);
    await mesh.network.waitFor('it starts elsewhere', async () => (await ledger.starts())[1]);
    await gate.open();
    const task = await mesh.until(other, id, 'completed');
    expect(task).toMatchObject({
      failures: 0,
      losses: 0,
      attempts: [{ outcome: 'interrupted' }, { outcome: 'completed', possibly_double: false }],
    });
  },
  TEST_MS,
);

test(
  'two of three leave, one told to and one by SIGINT, and are wiped: nothing is lost',
  async () => {
    const mesh = await up(3);
    const gate = mesh.gate();
    const ledger = mesh.ledger('left');
    const client = await mesh.client(3);
    const done = await client.submit(ledger.command('echo kept'));
    expect(await client.waitFor(done.id)).toMatchObject({ state: 'completed' });
    const blockers = await mesh.occupy(3, 3, gate);
    const waiting = await Promise.all(
      Array.from({ length: 20 }, () => client.submit(ledger.command())),
    );
    // The commands that run on the leaving peers may end in time.
    const leaving = mesh.network.call(1, 'mesh.leave', {}, SETTLE_MS);
    await mesh.network.waitFor('peer 1 is stopping', async () =>
      (await mesh.network.members(2))?.some((view) => view.name === 'test1' && view.stopping),
    );
    await gate.open();
    expect(await leaving).toEqual({ ok: true, value: { left: true, only_here: [] } });
    expect(await mesh.network.waitForExit(1)).toEqual({ code: 0, signal: null });
    await mesh.network.kill(2, 'SIGINT');
    expect(await mesh.network.waitForExit(2)).toEqual({ code: 0, signal: null });
    for (const index of [1, 2]) await rm(mesh.network.dataDir(index), { recursive: true });
    await mesh.untilMember(3, 1, 'left');
    await mesh.untilMember(3, 2, 'left');

    const ids = [...blockers, ...waiting.map(({ id }) => id), done.id];
    const outcome = await client.wait(ids, { timeoutMs: SETTLE_MS });
    expect(outcome.pending).toEqual([]);
    expect(outcome.done.filter(({ state }) => state !== 'completed')).toEqual([]);
    expect(await mesh.get(3, done.id)).toMatchObject({ stdout: 'kept\n' });
    await mesh.expectOneStartEach(3, ledger, [done.id, ...waiting.map(({ id }) => id)]);
  },
  TEST_MS,
);

test(
  'the last member that leaves with unfinished tasks exits 1 and says which; they wait for its return',
  async () => {
    const mesh = await up(1);
    const client = await mesh.client(1);
    const { id } = await client.submit({ exec: { argv: ['true'] }, delayMs: 3_600_000 });
    await mesh.network.kill(1, 'SIGINT');
    expect(await mesh.network.waitForExit(1)).toEqual({ code: 1, signal: null });
    const log = await readFile(join(mesh.network.dir, 'peer1.log'), 'utf8');
    expect(log).toContain(id);
    await mesh.network.restart(1);
    expect(await mesh.get(1, id)).toMatchObject({ state: 'delayed', reason: 'run_at' });
    expect(await mesh.network.call(1, 'mesh.leave', {}, SETTLE_MS)).toEqual({
      ok: true,
      value: { left: false, only_here: [id] },
    });
    expect(await mesh.network.waitForExit(1)).toEqual({ code: 1, signal: null });
  },
  TEST_MS,
);

test(
  'of two hosts one dies: the other goes on, and says that it is degraded',
  async () => {
    const mesh = await up(2);
    const ledger = mesh.ledger('two');
    const client = await mesh.client(1);
    const before = await client.submit(ledger.command());
    expect(before).toMatchObject({ required: 2, degraded: false });
    await client.waitFor(before.id);
    const waiting = await client.submit({ ...ledger.command(), delayMs: 2_000 });
    await mesh.network.kill(2);
    await mesh.untilMember(1, 2, 'dead');
    const after = await client.submit(ledger.command('echo alone'));
    expect(after).toMatchObject({ required: 1, degraded: true });
    expect(await client.waitFor(after.id)).toMatchObject({ state: 'completed', stdout: 'alone\n' });
    expect(await client.waitFor(waiting.id)).toMatchObject({ state: 'completed' });
    // Its return makes two copies of what was accepted meanwhile.
    await mesh.network.restart(2);
    await mesh.network.waitForAllAlive();
    await mesh.network.waitFor('peer 2 has it', async () => {
      const answer = await mesh.network.call(2, 'system.status', {});
      return answer.ok && answer.value.tasks.held === 3;
    });
    expect(await mesh.get(2, after.id)).toMatchObject({ state: 'completed', stdout: 'alone\n' });
    expect(await ledger.starts()).toHaveLength(3);
  },
  TEST_MS,
);

test(
  'SIGTERM while clients read and follow ends without an error, and no answer is INTERNAL',
  async () => {
    const daemon = await (await daemons()).start('one');
    const opened = await openConnection(String(daemon.ready.socket));
    if (!opened.ok) throw new Error(opened.error.message);
    const connection = opened.value;
    const submitted = await connection.call('task.submit', {
      exec: { argv: ['true'], cwd: '/' },
      delay_ms: 600_000,
    });
    if (!submitted.ok) throw new Error(submitted.error.message);
    const { id } = submitted.value;
    expect(await connection.call('task.logs', { id, follow: true })).toMatchObject({ ok: true });
    const codes = new Set<string>();
    const ended = daemon.kill('SIGTERM');
    let isClosed = false;
    void connection.closed.then(() => {
      isClosed = true;
    });
    while (!isClosed) {
      const answer = await connection.call('task.get', { id });
      codes.add(answer.ok ? 'ok' : answer.error.code);
    }
    const { code, signal, stderr } = await ended;
    expect({ code, signal }).toEqual({ code: 0, signal: null });
    expect(stderr).not.toMatch(/Error|Node\.js v/);
    for (const told of codes) expect(['ok', 'STOPPING', 'DISCONNECTED']).toContain(told);
    expect(codes).toContain('STOPPING');
  },
  TEST_MS,
);
