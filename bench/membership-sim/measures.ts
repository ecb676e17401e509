/** What is measured of a simulated mesh: how soon all know, what it costs, how soon two halves agree, and false verdicts. */
import { type Random, randomBelow, SeededRandom } from '../../src/base/random.ts';
import type { MemberStatus } from '../../src/membership/types.ts';
import { BenchMesh, type BenchPeer } from './mesh.ts';

/** A moment at which nothing is under way, between two strikes. */
const QUIET_MS = 3_000;
const KNOW_LIMIT_MS = 60_000;
const STEP_MS = 50;

export interface Known {
  readonly firstMs: number;
  readonly allMs: number;
  /** When each heard of it, sorted. */
  readonly eachMs: readonly number[];
}

const round = (value: number, digits = 1): number => Number(value.toFixed(digits));

/** Runs until each of `who` has seen the member enter the status. */
async function untilKnown(
  mesh: BenchMesh,
  who: readonly BenchPeer[],
  peerId: string,
  type: MemberStatus | 'joined',
  strike: () => Promise<void>,
): Promise<Known> {
  const waiting = new Set(who);
  const eachMs: number[] = [];
  const startMs = mesh.clock.nowMs();
  mesh.onEvent = (peer, event) => {
    if (event.type !== type || event.member.peerId !== peerId || !waiting.delete(peer)) return;
    eachMs.push(mesh.clock.nowMs() - startMs);
  };
  await strike();
  const isKnown = await mesh.clock.runUntil(() => waiting.size === 0, KNOW_LIMIT_MS);
  mesh.onEvent = () => undefined;
  if (!isKnown) throw new Error(`${waiting.size} never saw ${type}`);
  return { firstMs: eachMs[0] ?? 0, allMs: eachMs.at(-1) ?? 0, eachMs };
}

const pickOf = (random: Random, mesh: BenchMesh): BenchPeer => {
  // The founder invites those that join.
  const running = mesh.running.slice(1);
  const peer = running[randomBelow(random, running.length)];
  if (!peer) throw new Error('nobody runs');
  return peer;
};

export async function knowing(mesh: BenchMesh, times: number) {
  const random = new SeededRandom(`strikes ${mesh.seed}`);
  const crashes: Known[] = [];
  const leaves: Known[] = [];
  const joins: Known[] = [];
  for (let i = 0; i < times; i++) {
    await mesh.clock.runFor(QUIET_MS);
    const victim = pickOf(random, mesh);
    const rest = mesh.running.filter((peer) => peer !== victim);
    crashes.push(await untilKnown(mesh, rest, victim.peerId, 'dead', async () => victim.crash()));
    await victim.start();
    await mesh.clock.runFor(QUIET_MS);
    const newcomer = mesh.newcomer();
    const members = mesh.running;
    await newcomer.start();
    const join = () => mesh.join(newcomer);
    joins.push(await untilKnown(mesh, members, newcomer.peerId, 'joined', join));
    await mesh.clock.runFor(QUIET_MS);
    const left = () => newcomer.leave();
    leaves.push(await untilKnown(mesh, members, newcomer.peerId, 'left', left));
  }
  const worst = (all: readonly Known[]) => ({
    first_ms: round(Math.max(...all.map(({ firstMs }) => firstMs))),
    all_ms: round(Math.max(...all.map(({ allMs }) => allMs))),
  });
  const told = { crash: worst(crashes), leave: worst(leaves), join: worst(joins) };
  return { times, ...told, crash_each_ms: (crashes[0]?.eachMs ?? []).map((ms) => round(ms, 2)) };
}

/** Frames and bytes that each peer sends in a second; those of gossip are modelled. */
async function rates(mesh: BenchMesh, ms: number, run: () => Promise<void>) {
  const sum = () => {
    const { control, data, bulk, admit } = mesh.traffic.rates(mesh.clock.nowMs()).totals;
    const flows = [control, data, bulk, admit];
    return {
      frames: flows.reduce((all, flow) => all + flow.framesSent, mesh.hub.gossiped.frames),
      bytes: flows.reduce((all, flow) => all + flow.bytesSent, mesh.hub.gossiped.bytes),
      news: mesh.hub.gossiped.bytes,
    };
  };
  const before = sum();
  await run();
  const after = sum();
  const per = (ms / 1_000) * mesh.running.length;
  return {
    seconds: ms / 1_000,
    frames_per_s: round((after.frames - before.frames) / per),
    bytes_per_s: round((after.bytes - before.bytes) / per),
    news_bytes_per_s_modelled: round((after.news - before.news) / per),
  };
}

export const idle = (mesh: BenchMesh, ms: number) => rates(mesh, ms, () => mesh.clock.runFor(ms));

/** Of a hundred members one a minute crashes and comes back, leaves and comes back. */
export function churning(mesh: BenchMesh, ms: number) {
  const random = new SeededRandom(`churn ${mesh.seed}`);
  const everyMs = 60_000 / (mesh.running.length * 0.01);
  return rates(mesh, ms, async () => {
    const endMs = mesh.clock.nowMs() + ms;
    let gone: BenchPeer | undefined;
    for (let turn = 0; mesh.clock.nowMs() < endMs; turn++) {
      await mesh.clock.runFor(Math.min(everyMs / 2, endMs - mesh.clock.nowMs()));
      if (gone) {
        await gone.start();
        gone = undefined;
        continue;
      }
      gone = pickOf(random, mesh);
      if (turn % 4 === 0) gone.crash();
      else await gone.leave();
    }
    if (gone) await gone.start();
  });
}

/** Two halves take each other for dead, stay apart, and meet: how many rounds until all views are equal and whole. */
export async function partition(mesh: BenchMesh, apartMs: number, roundMs: number) {
  const peers = mesh.running;
  const half = Math.floor(peers.length / 2);
  const sides = [peers.slice(0, half), peers.slice(half)].map((side) => new Set(side));
  const startMs = mesh.clock.nowMs();
  mesh.hub.partition(sides.map((side) => [...side].map(({ peerId }) => peerId)));
  const isApart = () =>
    peers.every((peer) => {
      const other = sides.find((side) => !side.has(peer));
      const dead = peer.membership?.members().filter(({ status }) => status === 'dead');
      return dead?.length === other?.size;
    });
  let apartAfterMs = 0;
  while (!isApart()) {
    await mesh.clock.runFor(1_000);
    apartAfterMs = mesh.clock.nowMs() - startMs;
    if (apartAfterMs > 600_000) throw new Error('the halves never parted');
  }
  await mesh.clock.runFor(Math.max(0, apartMs - apartAfterMs));
  mesh.hub.heal();
  const healMs = mesh.clock.nowMs();
  const isWhole = () => {
    const [first] = peers;
    const hash = first?.membership?.viewHash();
    return (
      peers.every(({ membership }) => membership?.viewHash() === hash) &&
      peers.every(({ membership }) =>
        membership?.members().every(({ status }) => status === 'alive' || status === 'suspect'),
      )
    );
  };
  while (!isWhole()) {
    await mesh.clock.runFor(STEP_MS);
    if (mesh.clock.nowMs() - healMs > 600_000) throw new Error('the halves never agreed');
  }
  const agreedMs = mesh.clock.nowMs() - healMs;
  return {
    apart_s: round((healMs - startMs) / 1_000, 0),
    all_convicted_s: round(apartAfterMs / 1_000, 0),
    agreed_ms: agreedMs,
    rounds: round(agreedMs / roundMs, 2),
    rounds_allowed: Math.ceil(Math.log2(peers.length)) + 4,
  };
}

/** One of them gets little CPU: it stands still again and again, and runs for a moment in between. */
export async function starved(seed: string, n: number, ms: number, localHealth: boolean) {
  const mesh = new BenchMesh({ seed, n, localHealth });
  await mesh.gather();
  const random = new SeededRandom(`starved ${seed}`);
  const victim = mesh.peers[randomBelow(random, n)];
  const counts = { suspicions_of_healthy: 0, verdicts_on_healthy: 0, verdicts_on_starved: 0 };
  mesh.onEvent = (peer, { type, member, cause }) => {
    const isVictim = member.peerId === victim?.peerId;
    if (type === 'suspect' && peer === victim) counts.suspicions_of_healthy += 1;
    if (type !== 'dead' || cause?.via !== 'own') return;
    if (isVictim) counts.verdicts_on_starved += 1;
    else counts.verdicts_on_healthy += 1;
  };
  const endMs = mesh.clock.nowMs() + ms;
  while (mesh.clock.nowMs() < endMs) {
    victim?.freezer?.freeze();
    // From a busy run queue to the longest pause that must never convict.
    await mesh.clock.runFor(Math.floor(300 * 16.6 ** (randomBelow(random, 1_000) / 1_000)));
    victim?.freezer?.thaw();
    await mesh.clock.runFor(20 + randomBelow(random, 200));
  }
  return counts;
}

/** Packets are lost for a long time; TCP brings them late. */
export async function lossy(seed: string, n: number, loss: number, hours: number) {
  const mesh = new BenchMesh({ seed, n, loss });
  await mesh.gather();
  const counts = { suspicions: 0, deaths: 0 };
  mesh.onEvent = (_, { type }) => {
    if (type === 'suspect') counts.suspicions += 1;
    if (type === 'dead') counts.deaths += 1;
  };
  await mesh.clock.runFor(hours * 3_600_000);
  return { n, loss, hours, ...counts };
}
