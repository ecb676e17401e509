/** Partition 1,2/3,4,5 and heal: who may restart what, and that all agree afterwards. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Covey } from '../../src/client/index.ts';
import { type Gate, type Ledger, Mesh, SETTLE_MS, TEST_MS } from './mesh.ts';

const SMALL = [1, 2];
const LARGE = [3, 4, 5];
const ALL = [...SMALL, ...LARGE];
const SLOTS = 2;
let mesh: Mesh;

beforeAll(async () => {
  mesh = await Mesh.up(5, { slots: SLOTS });
}, TEST_MS);

afterAll(() => mesh.end(), TEST_MS);

/** Opens for the commands that run on one side. */
const sideGate = (small: Gate, large: Gate): string =>
  `case $COVEY_PEER in test1|test2) ${small.wait};; *) ${large.wait};; esac`;

/** Tasks of both kinds on every slot, and where each of them runs. */
async function occupyAll(client: Covey, ledger: Ledger, script: string) {
  const submit = async (onPartition: 'wait' | 'available'): Promise<string> =>
    (await client.submit({ ...ledger.command(script), onPartition })).id;
  const waits: string[] = [];
  const availables: string[] = [];
  for (let i = 0; i < ALL.length; i++) {
    waits.push(await submit('wait'));
    availables.push(await submit('available'));
  }
  const ran = new Map<string, number>();
  await mesh.network.waitFor('all slots are busy', async () => {
    for (const start of await ledger.starts()) ran.set(start.id, mesh.indexOf(start.peer));
    return ran.size === ALL.length * SLOTS;
  });
  return { waits, availables, ran };
}

/**
 * A home store that did not answer a creation at once was stood in for, perhaps by one of the other side, which would run
 * what it holds. Its copy goes home soon.
 */
async function untilNobodyStandsIn(idsAt: (index: number) => readonly string[]): Promise<void> {
  await mesh.network.waitFor('nobody stands in', async () => {
    for (const index of ALL) {
      const status = await mesh.network.call(index, 'system.status', {});
      if (!status.ok || status.value.tasks.held !== idsAt(index).length) return false;
    }
    return true;
  });
}

/** Every peer shows the task as completed, with the same accepted run and the same history. */
async function allAgree(ids: readonly string[]): Promise<boolean> {
  for (const id of ids) {
    const seen = await Promise.all(ALL.map((index) => mesh.get(index, id)));
    const accepted = seen.map(({ state, attempts }) => {
      const runs = attempts.filter((attempt) => attempt.accepted).map(({ run_id }) => run_id);
      const all = attempts.map(({ run_id }) => run_id).sort();
      return `${state} ${runs.join(' ')} of ${all.join(' ')}`;
    });
    if (new Set(accepted).size > 1 || !accepted[0]?.startsWith('completed ')) return false;
  }
  return true;
}

/** Each start is an attempt in the task's history, by number and host. */
async function expectStartsTold(ledger: Ledger, ids: readonly string[]): Promise<void> {
  for (const id of ids) {
    const { attempts } = await mesh.get(2, id);
    for (const { attempt, peer } of await ledger.startsOf(id)) {
      const told = attempts.filter((item) => item.attempt === attempt && item.runner_name === peer);
      expect({ id, attempt, peer, told: told.length }).toEqual({ id, attempt, peer, told: 1 });
    }
  }
}

test(
  'the small side runs what waits and restarts only what allows it; after heal all agree',
  async () => {
    const ledger = mesh.ledger('partition');
    const small = mesh.gate();
    const large = mesh.gate();
    const client = await mesh.client(4);
    const { waits, availables, ran } = await occupyAll(client, ledger, sideGate(small, large));
    const queued = await Promise.all(
      Array.from({ length: 6 }, () => client.submit(ledger.command())),
    );
    const waiting = queued.map(({ id }) => id);
    const homes = new Map<string, readonly string[]>();
    for (const id of [...waits, ...availables, ...waiting]) {
      homes.set(id, (await mesh.explain(4, id)).home);
    }
    const lies = (id: string, side: readonly number[]): boolean =>
      homes.get(id)?.some((name) => side.includes(mesh.indexOf(name))) ?? false;

    await untilNobodyStandsIn((index) => [...homes.keys()].filter((id) => lies(id, [index])));

    mesh.network.partition([SMALL, LARGE]);
    for (const index of LARGE) await mesh.untilMember(1, index, 'dead');
    for (const index of SMALL) await mesh.untilMember(3, index, 'dead');

    // Each side takes new work meanwhile; two of two is what the small one asks for.
    const smallClient = await mesh.client(1);
    const taken = await smallClient.submit(ledger.command('echo small'));
    expect(taken).toMatchObject({ required: 2, degraded: false });
    await small.open();
    expect(await smallClient.waitFor(taken.id)).toMatchObject({ state: 'completed' });
    // What waits and lies on the small side runs there.
    for (const id of waiting.filter((id) => lies(id, SMALL))) {
      await mesh.until(1, id, 'completed');
    }
    // What was active on the other side runs here again only where the task says so.
    const activeThere = availables.filter((id) => LARGE.includes(ran.get(id) ?? 0));
    for (const id of activeThere.filter((id) => lies(id, SMALL))) {
      await mesh.network.waitFor(`${id} starts on the small side`, async () =>
        (await ledger.startsOf(id)).some((start) => SMALL.includes(mesh.indexOf(start.peer))),
      );
    }
    await mesh.expectOneStartEachOf(
      3,
      ledger,
      waits.filter((id) => LARGE.includes(ran.get(id) ?? 0)),
    );
    // The large side restarts what was active on the small one, and says that it may run twice.
    const lost = waits.filter((id) => SMALL.includes(ran.get(id) ?? 0) && lies(id, LARGE));
    await large.open();
    for (const id of lost) {
      const task = await mesh.until(4, id, 'completed');
      const again = task.attempts.find((attempt) => attempt.attempt === 2);
      expect(again).toMatchObject({ outcome: 'completed', possibly_double: true });
    }

    mesh.network.heal();
    await mesh.network.waitForAllAlive();
    const ids = [...waits, ...availables, ...waiting, taken.id];
    const { pending } = await client.wait(ids, { timeoutMs: SETTLE_MS });
    expect(pending).toEqual([]);
    await mesh.network.waitFor('all agree on every task', () => allAgree(ids));
    await expectStartsTold(ledger, ids);
    // With an owner and a runner on one side nothing but partitions makes a second start.
    await mesh.expectOneStartEachOf(
      3,
      ledger,
      waits.filter((id) => LARGE.includes(ran.get(id) ?? 0)),
    );
  },
  TEST_MS,
);
