/**
 * Membership under drawn faults: crashes, restarts, stops, pauses, partitions, wiped `store/`.
 * While faults go on nobody who was well is called dead by those who could hear it; when they end,
 * all see all again.
 */
import { describe, expect, it } from 'vitest';
import { randomBelow, SeededRandom } from '../../src/base/random.ts';
import { type Host, World } from './membership-world.ts';

const HOSTS = 5;
const STEPS = 12;

async function fault(world: World, random: SeededRandom, hosts: readonly Host[]): Promise<string> {
  const host = hosts[randomBelow(random, hosts.length)] as Host;
  if (!host.runs) {
    await host.start();
    return `start ${host.name}`;
  }
  const what = randomBelow(random, 6);
  if (what === 0) {
    host.crash();
    return `crash ${host.name}`;
  }
  if (what === 1) {
    await host.stop();
    return `stop ${host.name}`;
  }
  if (what === 2) {
    const pauseMs = 500 + randomBelow(random, 20_000);
    host.freezer.freeze();
    await world.clock.runFor(pauseMs);
    host.freezer.thaw();
    return `pause ${host.name} ${pauseMs}`;
  }
  if (what === 3) {
    const left = hosts.filter(() => randomBelow(random, 2) === 0);
    const right = hosts.filter((other) => !left.includes(other));
    world.hub.partition([left, right].map((side) => side.map(({ peerId }) => peerId)));
    return `partition ${left.map(({ name }) => name).join()}`;
  }
  if (what === 4) {
    world.hub.heal();
    return 'heal';
  }
  host.crash();
  host.storeId = `${host.storeId}x`.slice(-32);
  Object.assign(host, { bootIds: [], bootCount: 0 });
  await host.start();
  return `wipe ${host.name}`;
}

describe('membership under faults', () => {
  it.each(Array.from({ length: 20 }, (_, i) => `chaos ${i}`))('%s', async (seed) => {
    const world = new World(seed);
    const random = new SeededRandom(seed);
    const hosts = await world.mesh(HOSTS);
    const history: string[] = [];
    for (let step = 0; step < STEPS; step++) {
      history.push(await fault(world, random, hosts));
      await world.clock.runFor(randomBelow(random, 12_000));
    }
    world.hub.heal();
    for (const host of hosts) if (!host.runs) await host.start();
    const well = () => hosts.every((host) => host.sees(HOSTS));
    const done = world.timeUntil('all alive', well, 60_000);
    await done.catch((error: unknown) => {
      throw new Error(`${history.join('; ')}\n${String(error)}`);
    });
    const hashes = () => new Set(hosts.map((host) => host.membership.viewHash()));
    await world.timeUntil('views equal', () => hashes().size === 1, 20_000);
    for (const host of hosts) host.events = [];
    await world.clock.runFor(30_000);
    const news = hosts.flatMap((host) => host.events.map(({ type }) => type));
    expect(news.filter((type) => type !== 'updated')).toEqual([]);
  });
});
