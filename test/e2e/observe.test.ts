/** What an operator sees of real daemons: who died and who saw it, what is wrong and what to do, the log as it is written. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Check } from '../../src/api/methods.ts';
import { connect } from '../../src/client/index.ts';
import { CliProcess, covey } from '../unit/cli-harness.ts';
import type { Running } from './daemons.ts';
import { Mesh, TEST_MS } from './mesh.ts';
import { daemons } from './setting.ts';

let mesh: Mesh;

beforeAll(async () => {
  mesh = await Mesh.up(4);
}, TEST_MS);

afterAll(() => mesh.end(), TEST_MS);

const run = (via: number, ...argv: string[]) => covey(argv, { socket: mesh.network.socket(via) });
const start = (via: number, ...argv: string[]) =>
  new CliProcess(argv, { socket: mesh.network.socket(via) });

async function checksOf(via: number): Promise<{ exit: number; checks: readonly Check[] }> {
  const { exit, stdout } = await run(via, 'doctor', '--json');
  return { exit, checks: (JSON.parse(stdout) as { checks: Check[] }).checks };
}

/** Asks the doctor again until it says this of a check. */
const untilCheck = (via: number, name: string, status: Check['status'], summary = '') =>
  mesh.network.waitFor(`${name} is ${status} at peer ${via}`, async () => {
    const { exit, checks } = await checksOf(via);
    const found = checks.find(({ check }) => check === name);
    if (found?.status !== status || !found.summary.includes(summary)) return undefined;
    return { ...found, exit };
  });

/** Who was never linked to a member has no evidence but its silence. */
const untilAllLinked = (via: number) =>
  mesh.network.waitFor(`peer ${via} is linked to all`, async () => {
    const { observes } = JSON.parse((await run(via, 'gossip', '--json')).stdout) as {
      observes: { linked: boolean }[];
    };
    return observes.length === 3 && observes.every(({ linked }) => linked) ? true : undefined;
  });

test(
  'a death is told with its evidence, and by whom it was seen, wherever one watches',
  async () => {
    const watches = [1, 2].map((via) => start(via, 'members', '-w'));
    const json = start(3, 'members', '-w', '--json');
    for (const watch of [...watches, json]) await watch.printed('stdout', 'test4');
    for (const via of [1, 2, 3]) await untilAllLinked(via);
    await mesh.network.kill(4);
    for (const watch of watches) await watch.printed('stdout', '-> dead');
    await json.printed('stdout', '"type":"dead"');
    await mesh.network.restart(4);
    for (const watch of [...watches, json]) await watch.printed('stdout', 'restarted, boot 2');
    for (const watch of [...watches, json]) watch.interrupt();
    for (const watch of watches) {
      const { exit, stdout } = await watch.result;
      expect(exit).toBe(0);
      expect(stdout).toMatch(
        /^\S+Z {2}test4 {2}\w+ -> dead {2}connection ended without goodbye, redial refused: seen by test[123](, test[123])* and test[123]$/m,
      );
    }
    const lines = (await json.result).stdout
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    const dead = lines.find(({ type }) => type === 'dead');
    expect(dead).toMatchObject({
      ...{ name: 'test4', cause: { kind: 'crash' } },
      member: { name: 'test4', status: 'dead' },
    });
    const { cause } = dead as { cause: { seen_by: { name: string }[] } };
    const seenBy = cause.seen_by;
    expect(seenBy.length).toBeGreaterThanOrEqual(2);
    expect(seenBy.every(({ name }) => /^test[123]$/.test(name))).toBe(true);
    await mesh.network.waitForAllAlive();
  },
  TEST_MS,
);

test(
  'the doctor finds nothing in a mesh that is well, and a link that is cut between two others',
  async () => {
    await mesh.network.waitForAllAlive();
    await untilCheck(3, 'links', 'ok');
    const well = await checksOf(3);
    const wrong = well.checks.filter(({ status }) => status === 'fail');
    expect({ exit: well.exit, wrong }).toEqual({ exit: 0, wrong: [] });
    mesh.network.partition([[1], [2]]);
    const cut = await untilCheck(3, 'links', 'fail');
    expect(cut.exit).toBe(1);
    expect(cut.summary).toContain('test1');
    expect(cut.summary).toContain('test2');
    expect(cut.todo).toMatch(/firewall/);
    mesh.network.heal();
    await untilCheck(3, 'links', 'ok');
  },
  TEST_MS,
);

test(
  'the doctor names the dead, and a member that does not answer, and takes no longer than it is told',
  async () => {
    await mesh.network.waitForAllAlive();
    await mesh.network.stop(4);
    const started = performance.now();
    const { stdout } = await run(1, 'doctor', '--timeout', '500ms');
    expect(performance.now() - started).toBeLessThan(8_000);
    expect(stdout).toMatch(/^WARN {2}answers +1 did not answer: test4: no answer in time$/m);
    await mesh.network.cont(4);
    await mesh.network.waitForAllAlive();
    await untilCheck(1, 'answers', 'ok');
    const client = await connect({ socket: mesh.network.socket(1) });
    const found = await client.doctor();
    expect(found.asked.map(({ name }) => name).sort()).toEqual(['test2', 'test3', 'test4']);
    expect((await client.members()).map(({ name }) => name).sort()).toContain('test4');
    await client.close();
  },
  TEST_MS,
);

test(
  'gossip and ring show every peer the same mesh',
  async () => {
    await mesh.network.waitForAllAlive();
    const { stdout } = await run(2, 'gossip');
    for (const name of ['test1', 'test3', 'test4'])
      expect(stdout).toMatch(new RegExp(`^${name} +(in|out)bound +\\S+ +fine `, 'm'));
    expect(stdout).toMatch(/^observers: +observes 3, is observed by 3$/m);
    expect(stdout).toMatch(/^control +\d+\.\d +\d+(\.\d)? /m);
    const rings = await Promise.all([1, 2, 3, 4].map((via) => run(via, 'ring')));
    expect(new Set(rings.map((ring) => ring.stdout)).size).toBe(1);
    const shares = [...(rings[0]?.stdout.matchAll(/(\d+\.\d+)%/g) ?? [])].map(([, n]) => Number(n));
    expect(shares).toHaveLength(4);
    expect(shares.reduce((sum, share) => sum + share, 0)).toBeCloseTo(100, 1);

    const client = await mesh.client(1);
    const { id, home } = await client.submit({ exec: { argv: ['true'] } });
    const key = await run(3, 'ring', id, '--json');
    const { preference } = JSON.parse(key.stdout) as { preference: { store_id: string }[] };
    expect(preference.map((item) => item.store_id)).toEqual(home);
  },
  TEST_MS,
);

async function invitation(from: Running): Promise<string> {
  const { stdout } = await covey(['invite'], { socket: String(from.ready.socket) });
  return stdout.trim();
}

test(
  'the monitor shows the log as it is written, of any level, without secrets; the doctor an address that nobody reaches',
  async () => {
    const made = await daemons();
    const one = await made.start('one', ['--name', 'one']);
    const socket = String(one.ready.socket);
    const process = new CliProcess(['monitor', '--log-level', 'debug'], { socket });
    await process.printed('stdout', 'INFO  ready');
    const token = await invitation(one);
    const [host = ''] = String((one.ready.addresses as string[])[0]).split(':');
    const nowhere = ['--advertise', `${host}:9`];
    const two = await made.start('two', ['--name', 'two', '--join', token, ...nowhere]);
    await process.printed('stdout', 'EVENT member joined (admitted by one)');
    await process.printed('stdout', 'a peer was admitted name=two');
    const doctor = async () => (await covey(['doctor'], { socket })).stdout;
    await expect
      .poll(doctor, { timeout: 30_000 })
      .toContain(`${host}:9 of two was not reached by one`);
    const { exit, stdout } = await covey(['doctor', '-q'], { socket });
    expect(exit).toBe(1);
    expect(stdout).toMatch(/^FAIL {2}addresses .*\(refused\)\n.*--advertise/m);
    await two.kill('SIGKILL');
    process.interrupt();
    const heard = await process.result;
    expect(heard.exit).toBe(0);
    expect(heard.stdout).toContain('DEBUG a client said hello');
    expect(heard.stdout).not.toContain(token.slice(0, 20));
    expect(heard.stdout).not.toContain('covey1-');
  },
  TEST_MS,
);
