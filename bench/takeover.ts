/**
 * What one death costs the others: five simulated peers, of which one owns all tasks and is killed. Counts the frames
 * and bytes of the worst 100 ms after it, and the time until every task has a new owner and every lost attempt runs
 * again. Virtual time: the figures are exact, and modelled.
 *
 *   npm run bench:takeover -- [TASKS [ACTIVE]]   (2,000 and 40 unless said otherwise; ACTIVE of them run)
 */
import process from 'node:process';
import type { SubmitInput } from '../src/api/task.ts';
import { argvOf } from '../src/sim/commands.ts';
import { World } from '../src/sim/world.ts';
import { ownerOrder } from '../src/tasks/ownership.ts';

const PEERS = 5;
const TASKS = Number(process.argv[2] ?? 2_000);
/** Attempts that run when the owner dies, about a fifth of them on it. */
const ACTIVE = Math.min(TASKS, Number(process.argv[3] ?? 40));
/** Room for what is restarted. */
const SLOTS = Math.ceil((ACTIVE * 1.5) / (PEERS - 1));
const BATCH = 100;
const WINDOW_MS = 100;
const LIMIT_MS = 60_000;
const LONG_MS = 600_000;

const ABOUT = { kind: 'exec', attempts: 1, failures: 0 } as const;

interface Sent {
  readonly atMs: number;
  readonly bytes: number;
}

const sent: Sent[] = [];
const world: World = new World({
  seed: 'stampede',
  peers: PEERS,
  slots: SLOTS,
  listen: (_count, event, args) => {
    if (event !== 'net network.send') return;
    const bytes = args[3];
    if (bytes instanceof Uint8Array) sent.push({ atMs: world.clock.nowMs(), bytes: bytes.length });
  },
});

/** Ids whose first owner is the first peer. */
function idsOf(count: number): string[] {
  const stores = world.hosts.map((_, i) => world.peer(i).identity.storeId);
  const ids: string[] = [];
  while (ids.length < count) {
    const { submitter } = world.peer(0).tasks;
    for (const id of submitter.reserve(1_000).ids) {
      const home = submitter.homeOfId(id);
      if (ownerOrder(id, home)[0] === stores[0]) ids.push(id);
    }
  }
  return ids.slice(0, count);
}

const ownedBy = (i: number, ids: readonly string[]): number =>
  ids.filter((id) => world.peer(i).tasks.owner.owns(id)).length;

function worst(of: readonly Sent[]): { frames: number; bytes: number } {
  let frames = 0;
  let bytes = 0;
  let from = 0;
  let sum = 0;
  of.forEach((item, i) => {
    sum += item.bytes;
    for (let first = of[from]; first && item.atMs - first.atMs >= WINDOW_MS; first = of[from]) {
      sum -= first.bytes;
      from += 1;
    }
    frames = Math.max(frames, i - from + 1);
    bytes = Math.max(bytes, sum);
  });
  return { frames, bytes };
}

await world.run(async () => {
  await world.joinAll();
  await world.runFor(3_000);
  const ids = idsOf(TASKS);
  const exec = { argv: argvOf({ durationMs: LONG_MS, failures: 0, isDeaf: false }), cwd: '/' };
  for (let at = 0; at < ids.length; at += BATCH) {
    ids.slice(at, at + BATCH).forEach((id, i) => {
      const input: SubmitInput = { exec, id, ...(at + i < ACTIVE ? {} : { delay_ms: LONG_MS }) };
      world.submit(0, input, ABOUT);
    });
    await world.runFor(300);
  }
  await world.runFor(5_000);
  if (ownedBy(0, ids) !== ids.length) throw new Error('the first peer does not own all of them');
  const lost = world.runs.filter((run) => run.host === 'h1' && run.endedMs === undefined);
  const runsBefore = world.runs.length;
  sent.length = 0;
  await world.runFor(5_000);
  const quiet = worst(sent);
  sent.length = 0;
  const diedMs = world.clock.nowMs();
  world.crash(0);
  const restartedMs: number[] = [];
  let takenMs = Number.NaN;
  let seen = runsBefore;
  while (world.clock.nowMs() - diedMs < LIMIT_MS) {
    await world.runFor(10);
    for (const run of world.runs.slice(seen)) restartedMs.push(run.startedMs - diedMs);
    seen = world.runs.length;
    const taken = [1, 2, 3, 4].reduce((sum, i) => sum + ownedBy(i, ids), 0);
    if (Number.isNaN(takenMs) && taken === ids.length) takenMs = world.clock.nowMs() - diedMs;
    if (!Number.isNaN(takenMs) && restartedMs.length >= lost.length) break;
  }
  const settleMs = 10_000;
  await world.runFor(settleMs);
  restartedMs.sort((a, b) => a - b);
  process.stdout.write(
    `${JSON.stringify({
      peers: PEERS,
      tasks: ids.length,
      lost_attempts: lost.length,
      quiet_frames_100ms: quiet.frames,
      worst_frames_100ms: worst(sent).frames,
      worst_bytes_100ms: worst(sent).bytes,
      frames: sent.length,
      bytes: sent.reduce((sum, item) => sum + item.bytes, 0),
      taken_over_ms: takenMs,
      restarted_p50_ms: restartedMs[Math.floor(restartedMs.length / 2)],
      restarted_max_ms: restartedMs.at(-1),
      restarted: restartedMs.length,
    })}\n`,
  );
});
