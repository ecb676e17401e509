/** What is done to a mesh, and the milliseconds until the task starts again; undefined when it did not in time. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Stage } from './stage.ts';

/** What has not started again by then never will, as far as this bench goes. */
export const RESTART_MS_MAX = 60_000;
const PAUSE_MS = 5_000;
/** Enough for a submit on a busy host; and the owner shall not start the task in the moment in which it is killed. */
const DELAY_MS = 1_000;
const DUE_AFTER_KILL_MS = 50;
/** A restart that a pause has caused would show by then. */
const AFTER_PAUSE_MS = 10_000;

export interface Struck {
  readonly restartMs: number | undefined;
  /** Starts of a task that was to go on where it ran. */
  readonly needless: number;
}

type Strike = (stage: Stage, round: number) => Promise<Struck>;

async function since(
  beganMs: number,
  started: Promise<{ readonly atMs: number } | undefined>,
): Promise<Struck> {
  const start = await started;
  return { restartMs: start === undefined ? undefined : start.atMs - beganMs, needless: 0 };
}

const worker: Strike = async (stage, round) => {
  const { id, runner } = await stage.running(stage.ownerOfRound(round));
  const beganMs = performance.now();
  await stage.programs.kill(runner);
  const struck = await since(beganMs, stage.restarted(id, RESTART_MS_MAX));
  await stage.launchProgram(runner);
  stage.programs.finish(id);
  return struck;
};

const killDaemons =
  (both: boolean): Strike =>
  async (stage, round) => {
    const { id, owner, runner } = await stage.running(stage.ownerOfRound(round));
    const victims = both ? [owner, runner] : [runner];
    const beganMs = performance.now();
    await Promise.all(victims.map((peer) => stage.network.kill(peer)));
    const struck = await since(beganMs, stage.restarted(id, RESTART_MS_MAX));
    await stage.mend(...victims);
    stage.programs.finish(id);
    return struck;
  };

/**
 * A task whose time comes right after the death of its owner starts elsewhere; one that already runs at a third peer goes
 * on there.
 */
const owner: Strike = async (stage, round) => {
  const victim = stage.ownerOfRound(round);
  const going = await stage.running(victim);
  const dueMs = performance.now() + DELAY_MS;
  const id = await stage.submit(victim, { type: `not-${victim}`, delay_ms: DELAY_MS });
  await delay(dueMs - DUE_AFTER_KILL_MS - performance.now());
  const beganMs = performance.now();
  await stage.network.kill(victim);
  const struck = await since(beganMs, stage.programs.start(id, 1, RESTART_MS_MAX));
  await stage.mend(victim);
  const needless = stage.programs.startsOf(going.id).length - 1;
  stage.programs.finish(going.id);
  stage.programs.finish(id);
  return { ...struck, needless };
};

/** Daemon and worker program, as when the host stands still. */
async function frozen<T>(stage: Stage, peer: number, during: () => Promise<T>): Promise<T> {
  stage.programs.signal(peer, 'SIGSTOP');
  await stage.network.stop(peer);
  const value = await during();
  stage.programs.signal(peer, 'SIGCONT');
  await stage.network.cont(peer);
  return value;
}

const freeze: Strike = async (stage, round) => {
  const { id, runner } = await stage.running(stage.ownerOfRound(round));
  const beganMs = performance.now();
  const struck = await frozen(stage, runner, () =>
    since(beganMs, stage.restarted(id, RESTART_MS_MAX)),
  );
  await stage.mend();
  stage.programs.finish(id);
  return struck;
};

const pause: Strike = async (stage, round) => {
  const { id, runner } = await stage.running(stage.ownerOfRound(round));
  await frozen(stage, runner, () => delay(PAUSE_MS));
  await stage.mend();
  const again = await stage.restarted(id, AFTER_PAUSE_MS);
  stage.programs.finish(id);
  return { restartMs: undefined, needless: again === undefined ? 0 : 1 };
};

export const STRIKES = {
  worker,
  runner: killDaemons(false),
  owner,
  both: killDaemons(true),
  freeze,
  pause,
} satisfies Readonly<Record<string, Strike>>;

export type StrikeName = keyof typeof STRIKES;
