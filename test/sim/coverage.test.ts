/** What a batch of worlds must reach, and the ways of reaching it: programs on control sockets, newcomers, strangers. */
import { describe, expect, it } from 'vitest';
import { ERROR_CODES } from '../../src/base/errors.ts';
import { encodeTaskId } from '../../src/base/task-id.ts';
import { argvOf } from '../../src/sim/commands.ts';
import { Coverage } from '../../src/sim/coverage.ts';
import { FAULT_NAMES } from '../../src/sim/faults.ts';
import { intrude } from '../../src/sim/intruder.ts';
import { Newcomer } from '../../src/sim/newcomer.ts';
import { drawOptions } from '../../src/sim/options.ts';
import { REQUESTS, type RequestName } from '../../src/sim/programs.ts';
import { SimRandom } from '../../src/sim/random.ts';
import { exitOfBatch, runSim, SIM_EXIT } from '../../src/sim/runs.ts';
import { REACHABLE } from '../../src/sim/sightings.ts';
import { SocketClient } from '../../src/sim/socket-client.ts';
import { World } from '../../src/sim/world.ts';

const about = { kind: 'exec', attempts: 1, failures: 0 } as const;
const job = (durationMs: number) => ({
  exec: { argv: argvOf({ durationMs, failures: 0, isDeaf: false }), cwd: '/work' },
});

async function story(peers: number, tell: (world: World) => Promise<void>): Promise<World> {
  const world = new World({ seed: 'coverage', peers, sockets: true });
  await world.run(async () => {
    await world.joinAll();
    await tell(world);
  });
  return world;
}

const connect = (world: World, i: number): SocketClient =>
  new SocketClient({
    clock: world.clock,
    sightings: world.sightings,
    connect: (handlers) => world.host(i).connect(handlers),
  });

const unknownId = encodeTaskId({
  createdMs: Date.UTC(2026, 0, 1),
  random: '0'.repeat(12),
  fingerprints: [],
});

function ask(world: World, name: RequestName, id = unknownId): Promise<unknown> {
  const client = connect(world, 0);
  const random = new SimRandom('a program');
  const visit = { client, random, id, unknownId, isWhole: true, connect: () => connect(world, 0) };
  return world.until(REQUESTS[name].run(visit), 30_000);
}

describe('a program at the control socket of a simulated daemon', () => {
  it('is told how a task stands, and why it is refused', async () => {
    const world = await story(1, async (one) => {
      const submitted = one.submit(0, job(5_000), about);
      await one.runFor(1_000);
      await ask(one, 'get', submitted.id);
      await ask(one, 'unknown_task');
    });
    const { states, codes } = world.sightings.reached();
    expect(states).toEqual({ active: 1 });
    expect(codes).toEqual({ NOT_FOUND: 1 });
  });

  const refusals: [RequestName, string][] = [
    ['no_json', 'PARSE_ERROR'],
    ['empty_batch', 'INVALID_REQUEST'],
    ['no_method', 'METHOD_NOT_FOUND'],
    ['wrong_params', 'INVALID_PARAMS'],
    ['old_id', 'ID_EXPIRED'],
    ['cursor', 'CURSOR_INVALID'],
    ['version', 'VERSION_MISMATCH'],
    ['not_a_worker', 'NOT_REGISTERED'],
    ['stale_attempt', 'STALE_ATTEMPT'],
    ['long_command', 'PAYLOAD_TOO_LARGE'],
    ['token', 'TOKEN_INVALID'],
    ['forget_itself', 'NOT_REMOVABLE'],
    ['forget_itself', 'NOT_REVOCABLE'],
    ['many_subscriptions', 'SUBSCRIPTIONS_MAX'],
    ['large_batch', 'BATCH_TOO_LARGE'],
    ['long_line', 'LINE_TOO_LONG'],
    ['many_requests', 'BUSY'],
    ['many_connections', 'TOO_MANY_CONNECTIONS'],
  ];

  it.each(refusals)('%s is refused with %s', async (name, code) => {
    const world = await story(1, async (one) => {
      await ask(one, name);
    });
    expect(Object.keys(world.sightings.reached().codes)).toContain(code);
  });

  it('hears nothing while the daemon is frozen, and is cut off when it is killed', async () => {
    await story(1, async (one) => {
      one.host(0).freeze();
      const client = connect(one, 0);
      let answer: unknown;
      const asked = client.call('system.status').then((told) => {
        answer = told;
      });
      await one.runFor(3_000);
      expect(answer).toBeUndefined();
      one.host(0).thaw();
      await one.until(asked, 1_000);
      expect(answer).toMatchObject({ result: { name: 'h1' } });
      one.crash(0);
      expect(await one.until(client.call('system.status'), 1_000)).toEqual({});
      client.end();
    });
  });
});

describe('who comes from outside', () => {
  it('a newcomer joins in the end, whatever its operator does wrong first', async () => {
    const world = await story(2, async (two) => {
      const random = new SimRandom('newcomers d');
      for (let n = 0; n < 8; n++) {
        const newcomer = new Newcomer(two, random);
        await two.until(newcomer.run(), 120_000);
      }
      expect(await two.runUntil(() => two.isWhole(), 60_000)).toBe(true);
    });
    const codes = Object.keys(world.sightings.reached().codes);
    // One more, who tries the token of another one.
    expect(world.hosts.length).toBeGreaterThanOrEqual(10);
    expect(codes).toContain('TOKEN_USED');
    expect(codes).toEqual(expect.arrayContaining(['LOOPBACK_ONLY', 'NO_ADDRESS', 'TOKEN_EXPIRED']));
  });

  it('a stranger is not let in, nor one that was revoked, nor whom that one has admitted', async () => {
    const world = await story(2, async (two) => {
      await two.until(intrude(two, new SimRandom('stranger'), 0, 1), 30_000);
      expect(await two.runUntil(() => two.isWhole(), 30_000)).toBe(true);
    });
    expect(world.sightings.reached().codes).toMatchObject({
      NOT_ALLOWED: 1,
      TOKEN_NOT_FOR_MERGE: 1,
      NOT_MERGEABLE: 1,
      MERGE_CUTS: 1,
      TOKEN_FOR_MERGE: 1,
      REVOKED: 1,
      ADMISSION_VOID: 1,
    });
  });
});

describe('coverage', () => {
  it('expects what the tables of the product name', () => {
    expect(REACHABLE.codes).toEqual(Object.keys(ERROR_CODES));
    expect(REACHABLE.states).toEqual(
      expect.arrayContaining([
        'active',
        'delayed(backoff)',
        'waiting(no_worker)',
        'failed(losses)',
      ]),
    );
    expect(REACHABLE.edges).toEqual(expect.arrayContaining(['new → active', 'active → completed']));
  });

  it('names what no seed has reached, of every kind', () => {
    const coverage = new Coverage();
    const result = {
      options: drawOptions('one'),
      outcome: 'held',
      violations: [],
      pending: [],
      hash: '',
      events: 0,
      virtualMs: 3_600_000,
      counts: { crash: 2 },
      finals: { completed: 1 },
      reached: {
        codes: { BUSY: 1 },
        states: { active: 3 },
        edges: { 'new → active': 1 },
        members: { 'dead(crash)': 1 },
        member_edges: { 'suspect → dead': 2 },
      },
    } as const;
    coverage.add(result);
    const missing = coverage.missing();
    const all = FAULT_NAMES.length + Object.values(REACHABLE).flat().length;
    expect(missing).toHaveLength(all - 6);
    expect(missing).toEqual(
      expect.arrayContaining([
        'fault stop',
        'code REVOKED',
        'state completed',
        'edge new → delayed',
        'member dead(silence)',
        'member edge dead → removed',
      ]),
    );
    expect(coverage.toJson()).toMatchObject({ virtual_hours: 1, codes: { BUSY: 1, INTERNAL: 0 } });
    // A full batch may not miss anything, and a smaller one may.
    expect(exitOfBatch(SIM_EXIT.held, coverage)).toBe(SIM_EXIT.held);
    expect(exitOfBatch(SIM_EXIT.held, coverage, 2)).toBe(SIM_EXIT.held);
    expect(exitOfBatch(SIM_EXIT.held, coverage, 1)).toBe(12);
    expect(exitOfBatch(SIM_EXIT.safety, coverage, 1)).toBe(12);
  });

  it('of a full batch of real worlds decides about its exit code', async () => {
    const request = {
      seeds: ['one', 'two'],
      peers: 1,
      minutes: undefined,
      faults: [],
      mode: undefined,
      overrides: { tasks: 1, storyMs: 1_000, requests: 0 },
    };
    const lines: string[] = [];
    const say = (line: string) => void lines.push(line);
    const output = { say, trace: undefined, json: false, log: false, twice: false, shrink: false };
    expect(await runSim(request, output, 3)).toBe(SIM_EXIT.held);
    expect(await runSim(request, output, 2)).toBe(SIM_EXIT.crash);
    expect(lines.at(-1)).toMatch(/^coverage: 2 seeds, .*not reached: fault crash/);
  });

  it('reaches everything only with every count', () => {
    const coverage = new Coverage();
    const every = (names: readonly string[]) => Object.fromEntries(names.map((name) => [name, 1]));
    coverage.add({
      options: drawOptions('all'),
      outcome: 'held',
      violations: [],
      pending: [],
      hash: '',
      events: 0,
      virtualMs: 1,
      counts: every(FAULT_NAMES),
      finals: {},
      reached: {
        codes: every(REACHABLE.codes),
        states: every(REACHABLE.states),
        edges: every(REACHABLE.edges),
        members: every(REACHABLE.members),
        member_edges: every(REACHABLE.member_edges),
      },
    });
    expect(coverage.missing()).toEqual([]);
    expect(exitOfBatch(SIM_EXIT.held, coverage, 1)).toBe(SIM_EXIT.held);
  });
});

describe('faults of a host', () => {
  it('suspended, its commands stand still, and go on with what was left of their time', async () => {
    const world = await story(1, async (one) => {
      one.submit(0, job(2_000), about);
      await one.runUntil(() => one.runs.length === 1, 5_000);
      await one.runFor(1_000);
      one.host(0).suspend();
      await one.runFor(60_000);
      expect(one.runs[0]?.endedMs).toBeUndefined();
      one.host(0).resume();
      expect(await one.runUntil(() => one.pending().length === 0, 10_000)).toBe(true);
    });
    const [run] = world.runs;
    expect(run?.exitCode).toBe(0);
    expect((run?.endedMs ?? 0) - (run?.startedMs ?? 0)).toBeCloseTo(62_000, -1);
  });

  it('with a slow clock fires no timer before its time by that clock', async () => {
    const world = new World({ seed: 'drift', peers: 1 });
    await world.run(async () => {
      const clock = world.clock.forOwner('a host', {});
      const startMs = clock.nowMs();
      let firedMs = 0;
      clock.after(1_000, () => {
        firedMs = clock.nowMs() - startMs;
      });
      clock.setRate(0.8);
      await world.runFor(1_100);
      expect(firedMs).toBe(0);
      await world.runFor(200);
      expect(firedMs).toBeGreaterThanOrEqual(1_000);
      expect(firedMs).toBeLessThan(1_001);
    });
  });
});
