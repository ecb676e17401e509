/**
 * What runs here, told to the stores of its home; and which of these runs nobody waits for any more. Message:
 * `run.report` (request).
 *
 * A run outlives its task where its host was out of reach for so long that the task ended elsewhere, was dropped and
 * was forgotten, tombstones and all: nobody can know then that it is stale. So a run whose task no store of its home
 * has known for a while is given up. Its end would find no place either. Before that everybody in reach is asked: a stand-in
 * may hold the only copies there are, and its home may have no room for them.
 */
import type { Clock } from '../ports/clock.ts';
import { decodeRecord } from '../records/record.ts';
import { ASK_IDS_MAX } from '../records/sharing.ts';
import type { WireValue } from '../wire/codec.ts';
import { isWireMap, type WireMap } from '../wire/envelope.ts';
import type { Messaging } from '../wire/messaging.ts';
import type { RunOrder } from './order.ts';

/** Long enough for handoff and repair to bring a copy back to stores that lost theirs. */
export const ORPHAN_MS = 60_000;
/** So many stores of its home must say that they do not know it, or all if there are fewer: what W stores held is theirs. */
const DENIALS = 2;

type Reported = Pick<RunOrder, 'id' | 'runId' | 'home'>;

export interface ReportDeps {
  readonly clock: Clock;
  readonly messaging: Messaging;
  readonly peerOfStore: (store: string) => string | undefined;
  /** Members with a link, this one not among them. */
  readonly peersInReach: () => readonly string[];
}

export interface RoundOfReports {
  /** Known to be over, and by whom. */
  readonly stale: readonly (readonly [runId: string, teller: string])[];
  /** Of tasks that nobody has known for a while. */
  readonly orphans: readonly string[];
}

interface Heard {
  denials: number;
  isKnown: boolean;
}

export class RunReport {
  readonly #deps: ReportDeps;
  /** By run: since when all that answer have denied its task. */
  readonly #deniedSinceMs = new Map<string, number>();

  constructor(deps: ReportDeps) {
    this.#deps = deps;
  }

  /** Asks every store of their homes that can be reached. */
  async round(runs: readonly Reported[]): Promise<RoundOfReports> {
    const stale: (readonly [string, string])[] = [];
    const heard = new Map(runs.map(({ runId }) => [runId, { denials: 0, isKnown: false }]));
    const asked = [...this.#byPeer(runs)].map(async ([peer, list]) => {
      const answer = await this.#deps.messaging.call(peer, 'run.report', {
        runs: list.map(({ id, runId }) => ({ id, run_id: runId })),
      });
      if (!answer.ok) return;
      for (const runId of namesIn(answer.value, 'stale')) stale.push([runId, peer]);
      const denied = new Set(namesIn(answer.value, 'unknown'));
      for (const { runId } of list) note(heard.get(runId), denied.has(runId));
    });
    await Promise.all(asked);
    return { stale, orphans: await this.#unheld(this.#orphansOf(runs, heard)) };
  }

  /** Those of which nobody in reach holds the task. Who does not answer may hold it: it is asked again. */
  async #unheld(orphans: readonly Reported[]): Promise<string[]> {
    const asked = orphans.slice(0, ASK_IDS_MAX);
    if (asked.length === 0) return [];
    const ids = asked.map(({ id }) => id);
    const held = new Set<string>();
    const unsure = new Set<string>();
    await Promise.all(
      this.#deps.peersInReach().map(async (peer) => {
        const body = { ids, blobs: false };
        const options = { frameClass: 'bulk' } as const;
        const answer = await this.#deps.messaging.call(peer, 'rec.ask', body, options);
        const count = answer.ok && answer.value.answered;
        for (const id of ids.slice(typeof count === 'number' ? count : 0)) unsure.add(id);
        for (const id of answer.ok ? idsIn(answer.value) : []) held.add(id);
      }),
    );
    for (const { id, runId } of asked) if (held.has(id)) this.#deniedSinceMs.delete(runId);
    return asked.filter(({ id }) => !held.has(id) && !unsure.has(id)).map(({ runId }) => runId);
  }

  #byPeer(runs: readonly Reported[]): Map<string, Reported[]> {
    const byPeer = new Map<string, Reported[]>();
    for (const run of runs) {
      for (const peer of new Set(run.home.map((store) => this.#deps.peerOfStore(store)))) {
        if (peer === undefined) continue;
        const list = byPeer.get(peer);
        if (list === undefined) byPeer.set(peer, [run]);
        else list.push(run);
      }
    }
    return byPeer;
  }

  #orphansOf(runs: readonly Reported[], heard: ReadonlyMap<string, Heard>): Reported[] {
    const nowMs = this.#deps.clock.nowMs();
    const denied = runs.filter(({ runId, home }) => {
      const { denials = 0, isKnown = true } = heard.get(runId) ?? {};
      return !isKnown && denials >= Math.min(DENIALS, home.length);
    });
    const names = new Set(denied.map(({ runId }) => runId));
    for (const runId of this.#deniedSinceMs.keys())
      if (!names.has(runId)) this.#deniedSinceMs.delete(runId);
    for (const runId of names)
      if (!this.#deniedSinceMs.has(runId)) this.#deniedSinceMs.set(runId, nowMs);
    return denied.filter(
      ({ runId }) => nowMs - (this.#deniedSinceMs.get(runId) ?? nowMs) >= ORPHAN_MS,
    );
  }
}

function note(heard: Heard | undefined, isDenied: boolean): void {
  if (heard === undefined) return;
  if (isDenied) heard.denials += 1;
  else heard.isKnown = true;
}

function idsIn({ copies }: WireMap): string[] {
  return (Array.isArray(copies) ? (copies as WireValue[]) : []).flatMap((item) =>
    isWireMap(item) ? (decodeRecord(item.record)?.id ?? []) : [],
  );
}

function namesIn(answer: WireMap, field: 'stale' | 'unknown'): string[] {
  const names = answer[field];
  return Array.isArray(names) ? (names as WireValue[]).map(String) : [];
}
