/** What a simulated host runs and what its daemon shows, noted for the checkers when it changes. */
import type { Peer } from '../peer/peer.ts';
import { taskOf } from '../tasks/task.ts';
import type { OutsideRun, ShownFinal } from './evidence.ts';
import type { HostDeps } from './host.ts';
import { runIdsOf } from './losses.ts';
import type { SimRun } from './processes.ts';
import type { Actor } from './steps.ts';

export function watchPeer(peer: Peer, host: string, boot: number, deps: HostDeps): void {
  const { steps, sightings } = deps;
  sightings.listenTo(peer);
  const actor: Actor = {
    host,
    storeId: peer.identity.storeId,
    shown: new Map(),
    minoritySinceMs: undefined,
  };
  peer.membership.onEvent(({ type, member, cause }) => {
    if (type === 'dead' && cause?.kind === 'silence' && cause.via === 'own')
      steps.convicted(host, member.name);
    const statuses = peer.membership.members().map(({ status }) => status);
    steps.members(actor, statuses);
  });
  peer.replica.onGone((record) => {
    steps.gone(actor, record);
    deps.onForgotten(host, runIdsOf([record]));
  });
  peer.replica.onVisible((after, before) => {
    steps.visible(actor, after, before);
    const known = runIdsOf([before]);
    // Not by the clocks: a copy of a store that lives may have written dots beyond its own.
    for (const runId of runIdsOf([after])) if (!known.has(runId)) deps.onKnown(host, runId);
  });
  const shown = new Map<string, string>();
  peer.tasks.visibility.onTold((id) => {
    const record = peer.tasks.visibility.get(id);
    if (record === undefined || record.kind !== 'task') return;
    const { final, conflicts } = taskOf(record);
    const shownFinal: ShownFinal | undefined =
      final === undefined
        ? undefined
        : { state: final.state, runId: final.run_id, digest: final.digest };
    const text = JSON.stringify([shownFinal, conflicts]);
    if (shown.get(id) === text) return;
    shown.set(id, text);
    if (final !== undefined) steps.told(actor, id);
    deps.onTold({ atMs: deps.clock.nowMs(), host, boot, id, final: shownFinal, conflicts });
  });
}

/** What is noted from outside, by whom: each run once, and its end when it comes. */
export function bookOfRuns(host: string, note: (run: OutsideRun) => void): (run: SimRun) => void {
  const runs = new Map<string, OutsideRun>();
  return ({ runId, request, startedMs, endedMs, exitCode, outlived }) => {
    const known = runs.get(runId);
    if (known !== undefined) {
      known.endedMs = endedMs;
      known.exitCode = exitCode;
      known.outlived = outlived;
      return;
    }
    const run: OutsideRun = {
      taskId: request.env.COVEY_TASK_ID ?? '',
      attempt: Number(request.env.COVEY_ATTEMPT),
      runId,
      host,
      kind: 'exec',
      startedMs,
      endedMs,
      exitCode,
    };
    runs.set(runId, run);
    note(run);
  };
}
