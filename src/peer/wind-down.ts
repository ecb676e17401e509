/** The orderly end of work: take nothing, let commands end, end the rest, hand over what others must know. */
import type { Config } from '../api/config.ts';
import { type Clock, sleep } from '../ports/clock.ts';
import type { Tasks } from '../tasks/room.ts';
import { HANDOVER_TIMEOUT_MS, type HandOverDeps, handOverOwnership } from './hand-over.ts';

const POLL_MS = 50;
/** The grace of a command at a stop, whatever is configured: the supervisor's own patience runs. */
const KILL_GRACE_MS_MAX = 2_000;

export interface WindDownDeps {
  readonly clock: Clock;
  readonly config: Config;
  readonly tasks: Tasks;
  readonly handOver: HandOverDeps;
}

/** Attempts may end within `timeoutMs`; then commands are ended (interrupted) and workers told to hold what they run. */
export async function windDown(deps: WindDownDeps, timeoutMs: number): Promise<void> {
  const { clock, config, tasks, handOver } = deps;
  const { runner, owner, resumption } = tasks;
  const commandsRun = (): boolean => runner.runs().some((run) => !run.worker);
  const until = clock.nowMs() + timeoutMs;
  while (commandsRun() && clock.nowMs() < until) await sleep(clock, POLL_MS);
  for (const run of runner.runs()) {
    if (!run.worker)
      runner.stopRun(run.runId, 'shutdown', Math.min(config.kill_grace, KILL_GRACE_MS_MAX));
  }
  const killed = clock.nowMs() + config.kill_grace + HANDOVER_TIMEOUT_MS;
  while (commandsRun() && clock.nowMs() < killed) await sleep(clock, POLL_MS);
  // Placements that were under way are taken back: nobody may find them open, as if they had run here.
  const settled = clock.nowMs() + HANDOVER_TIMEOUT_MS;
  while (owner.isPlacing && clock.nowMs() < settled) await sleep(clock, POLL_MS);
  await resumption.holdWorkers(config.worker_hold);
  await handOverOwnership(handOver);
  await runner.drain(HANDOVER_TIMEOUT_MS);
}
