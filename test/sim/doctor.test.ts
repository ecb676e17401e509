/** `system.doctor`, `members.stats` and the ring's methods on whole peers in the simulated world, with real trouble. */
import { describe, expect, it } from 'vitest';
import type { MethodResult } from '../../src/api/methods.ts';
import { memberEventDataSchema } from '../../src/api/observe.ts';
import { submitSchema } from '../../src/api/task.ts';
import type { ControlBackend, Session } from '../../src/control/backend.ts';
import { createBackend } from '../../src/control/methods.ts';
import { argvOf } from '../../src/sim/commands.ts';
import { World } from '../../src/sim/world.ts';

type Doctor = MethodResult<'system.doctor'>;

class Client implements Session {
  readonly id = 'client';
  readonly events: Readonly<Record<string, unknown>>[] = [];

  notify(name: string, params: object): 'sent' {
    if (name === 'event') this.events.push({ ...params });
    return 'sent';
  }

  onClosed = () => () => undefined;
  onDrained = () => () => undefined;
}

class Mesh {
  readonly world: World;
  readonly backends: ControlBackend[] = [];
  readonly client = new Client();

  constructor(seed: string, peers: number) {
    this.world = new World({ seed, peers });
  }

  async begin(): Promise<void> {
    await this.world.joinAll();
    for (const [i] of this.world.hosts.entries()) this.serve(i);
  }

  serve(i: number): void {
    const options = { version: 'sim', pid: 1, socket: '/run/sim', leave: async () => [] };
    this.backends[i] = createBackend(this.world.peer(i), options);
  }

  backend(i: number): ControlBackend {
    const backend = this.backends[i];
    if (backend === undefined) throw new Error(`no peer ${i}`);
    return backend;
  }

  async doctor(i: number): Promise<Doctor> {
    const asked = this.backend(i)['system.doctor']({ timeout_ms: 5_000 }, this.client);
    const answer = await this.world.until(asked, 20_000);
    if (!answer.ok) throw new Error(answer.error.message);
    return answer.value;
  }

  id(i: number): string {
    return this.world.host(i).peerId;
  }
}

const tell = (seed: string, peers: number, story: (mesh: Mesh) => Promise<void>) => async () => {
  const mesh = new Mesh(seed, peers);
  await mesh.world.run(async () => {
    await mesh.begin();
    await story(mesh);
  });
};

const bad = ({ checks }: Doctor) =>
  checks.filter(({ status }) => status !== 'ok').map(({ check, status }) => `${check} ${status}`);
const summary = ({ checks }: Doctor, name: string) =>
  checks.find(({ check }) => check === name)?.summary;

describe('system.doctor', () => {
  it(
    'finds nothing in a mesh that is well, and has asked everybody',
    tell('doctor well', 4, async (mesh) => {
      await mesh.world.clock.runFor(5_000);
      const found = await mesh.doctor(0);
      expect(bad(found)).toEqual([]);
      expect(found.asked).toHaveLength(3);
      expect(found.silent).toEqual([]);
    }),
  );

  it(
    'tells a link that carries in one direction only',
    tell('doctor one way', 4, async (mesh) => {
      const { world } = mesh;
      world.hub.block(mesh.id(1), mesh.id(2));
      await world.clock.runFor(2_500);
      // That may pass.
      expect(summary(await mesh.doctor(0), 'links')).toContain('hear one another');
      await world.clock.runFor(4_000);
      const found = await mesh.doctor(0);
      expect(summary(found, 'links')).toBe('h2 hears h3, h3 does not hear h2');
      expect(found.checks.find(({ check }) => check === 'links')?.status).toBe('fail');
      world.hub.heal();
      await world.clock.runFor(10_000);
      expect(summary(await mesh.doctor(0), 'links')).toContain('hear one another');
    }),
  );

  it(
    'tells clocks that differ and clocks that were set',
    tell('doctor clocks', 3, async (mesh) => {
      await mesh.world.clock.runFor(1_000);
      mesh.world.host(1).setClock({ wallOffsetMs: 30_000 });
      await mesh.world.clock.runFor(2_000);
      const found = await mesh.doctor(0);
      expect(bad(found)).toEqual(['clocks warn']);
      expect(summary(found, 'clocks')).toMatch(
        /^h2 is (29|30)s ahead; h2: its clock was set by 30s/,
      );
    }),
  );

  it(
    'names the dead, and who does not answer',
    tell('doctor silent', 3, async (mesh) => {
      mesh.world.partition([[0], [2]]);
      await mesh.world.clock.runFor(3_000);
      const cut = await mesh.doctor(0);
      expect(cut.silent.map(({ name }) => name)).toEqual(['h3']);
      expect(bad(cut)).toContain('answers warn');
      mesh.world.hub.heal();
      mesh.world.crash(2);
      await mesh.world.clock.runFor(20_000);
      const dead = await mesh.doctor(0);
      expect(summary(dead, 'members')).toMatch(
        /^h3 is dead \(connection ended without goodbye, redial refused: seen by h[12] and h[12]\)$/,
      );
      expect(bad(dead)).toContain('copies warn');
    }),
  );
});

describe('what membership does, and the ring', () => {
  it(
    'are told by every peer in the shapes that the schema promises',
    tell('observe', 3, async (mesh) => {
      const { world, client } = mesh;
      await world.clock.runFor(20_000);
      const stats = await mesh.backend(0)['members.stats']({}, client);
      if (!stats.ok) throw new Error(stats.error.message);
      expect(stats.value.observes.map(({ name }) => name).sort()).toEqual(['h2', 'h3']);
      const { control } = stats.value.traffic?.per_second ?? {};
      // A heartbeat a second to each of two, and comparisons of the views.
      expect(control?.frames_sent).toBeGreaterThan(1.8);
      expect(control?.frames_sent).toBeLessThan(4);
      const flows = stats.value.links.map((link) => link.per_second?.frames_sent ?? 0);
      expect(flows.every((frames) => frames > 0.9)).toBe(true);

      const rings = await Promise.all(
        [0, 1, 2].map((i) => mesh.backend(i)['ring.show']({}, client)),
      );
      const shown = rings.map((ring) => (ring.ok ? ring.value : undefined));
      expect(new Set(shown.map((ring) => ring?.checksum)).size).toBe(1);
      const shares = shown[0]?.members.map(({ share }) => share) ?? [];
      expect(shares.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 9);
    }),
  );

  it(
    'a task id has the stores that it names; one of them that is dead is told apart',
    tell('ring of a task', 4, async (mesh) => {
      const { world, client } = mesh;
      const exec = { argv: argvOf({ durationMs: 60_000, failures: 0, isDeaf: false }), cwd: '/' };
      const task = submitSchema.parse({ exec });
      const receipt = await world.until(world.peer(0).tasks.submit(task), 10_000);
      if (!receipt.ok) throw new Error(receipt.error.message);
      const { id: key, home } = receipt.value;
      const before = await mesh.backend(0)['ring.owner']({ key }, client);
      if (!before.ok) throw new Error(before.error.message);
      expect(before.value.preference.map((item) => item.store_id)).toEqual(home);
      expect(before.value.preference.every((item) => item.in_id === true)).toBe(true);
      expect(before.value.also_named).toEqual([]);
      const victim = [1, 2, 3].find((i) => home.includes(world.peer(i).identity.storeId)) ?? 1;
      const store = world.peer(victim).identity.storeId;
      world.crash(victim);
      await world.clock.runFor(20_000);
      const after = await mesh.backend(0)['ring.owner']({ key }, client);
      if (!after.ok) throw new Error(after.error.message);
      expect(after.value.also_named).toMatchObject([
        { store_id: store, in_id: true, reason: 'named by the id; it is dead' },
      ]);
      expect(after.value.preference).toHaveLength(3);
    }),
  );
});

describe('events of members', () => {
  it(
    'carry their cause in the shape that is published',
    tell('event data', 3, async (mesh) => {
      const { world, client } = mesh;
      await mesh.backend(0)['events.subscribe']({ topics: ['member'] }, client);
      world.crash(2);
      await world.clock.runFor(20_000);
      const dead = client.events.find(({ type }) => type === 'dead');
      const data = memberEventDataSchema.parse(dead?.data);
      expect(data.cause?.kind).toBe('crash');
      expect(data.cause?.seen_by.map(({ name }) => name).sort()).toEqual(['h1', 'h2']);
      expect(data.evidence).toMatch(
        /^connection ended without goodbye, redial refused: seen by h\d and h\d$/,
      );
    }),
  );
});
