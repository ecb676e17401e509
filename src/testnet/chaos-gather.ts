/**
 * What a chaos run asks the mesh at its end: whether all is quiet, how every peer shows every task, and the history of
 * what was started twice. In blocks, so that the relays in this process are never kept waiting.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { TaskView } from '../api/task.ts';
import { messageOf } from '../base/errors.ts';
import { fingerprintOf, parseTaskId } from '../base/task-id.ts';
import {
  type ChaosEvidence,
  type EndNoted,
  finalOf,
  type HomeNoted,
  type ProgramRun,
  runsByTask,
  type Submit,
  short,
} from './chaos-evidence.ts';
import { commandsAlive } from './chaos-work.ts';
import type { TestNetwork } from './testnet.ts';

const BLOCK = 100;
const WAIT_MS = 2_000;
const CALL_MS = 10_000;
const AGAIN_MS = 500;
const SAY_EVERY_MS = 5_000;
/** Guardians and the kernel take a moment for the last processes. */
const LAST_COMMANDS_MS = 5_000;

function* blocksOf<T>(items: readonly T[]): Generator<readonly T[]> {
  for (let at = 0; at < items.length; at += BLOCK) yield items.slice(at, at + BLOCK);
}

/** The ids of these that are final at this peer, as it shows them. */
async function finalsAt(
  network: TestNetwork,
  index: number,
  ids: readonly string[],
): Promise<Map<string, TaskView>> {
  const views = new Map<string, TaskView>();
  for (const block of blocksOf(ids)) {
    let left: readonly string[] = block;
    for (;;) {
      const params = { ids: [...left], timeout_ms: WAIT_MS };
      const answer = await network.call(index, 'task.wait', params, WAIT_MS + CALL_MS);
      // `done` is cut where a line would become too long.
      if (!answer.ok || answer.value.done.length === 0) break;
      for (const view of answer.value.done) views.set(view.id, view);
      left = answer.value.pending;
      if (left.length === 0) break;
    }
  }
  return views;
}

/** Waits until every acknowledged task is final and every daemon sees all alive; answers what is not, in words. */
export async function waitForQuiet(
  network: TestNetwork,
  submits: readonly Submit[],
  boundMs: number,
  say: (text: string) => void,
): Promise<string[]> {
  const deadlineMs = performance.now() + boundMs;
  const lines: string[] = [];
  try {
    await network.waitForAllAlive(network.indices, boundMs);
  } catch (thrown) {
    lines.push(messageOf(thrown));
  }
  say('every daemon sees all alive, or time is up');
  let pending = submits.map(({ id }) => id);
  let saidMs = performance.now();
  for (;;) {
    const open = submits.filter(({ outcome }) => outcome === 'open');
    const sure = new Set(submits.filter(isAcknowledged).map(({ id }) => id));
    pending = pending.filter((id) => sure.has(id));
    const index = network.indices[Math.floor(Math.random() * network.size)] ?? 1;
    const finals = await finalsAt(network, index, pending);
    pending = pending.filter((id) => !finals.has(id));
    const isOver = performance.now() >= deadlineMs;
    if ((pending.length === 0 && open.length === 0) || isOver) {
      lines.push(...open.map(({ id, detail }) => `submit ${short(id)} has no answer: ${detail}`));
      break;
    }
    if (performance.now() - saidMs > SAY_EVERY_MS) {
      say(`${pending.length} tasks are not final yet, ${open.length} submits not answered`);
      saidMs = performance.now();
    }
    // What was open may have been acknowledged since.
    pending = [...new Set([...pending, ...open.map(({ id }) => id)])];
    await delay(AGAIN_MS);
  }
  for (const id of pending) lines.push(await explained(network, id));
  return lines;
}

const isAcknowledged = ({ outcome }: Submit): boolean => outcome === 'acknowledged';

async function explained(network: TestNetwork, id: string): Promise<string> {
  for (const index of network.indices) {
    const answer = await network.call(index, 'task.explain', { id }, CALL_MS);
    if (!answer.ok) continue;
    const { state, reason, history, owner } = answer.value;
    const told = history.map(({ at, what, by }) => `${at.slice(11)} ${by} ${what}`).join('; ');
    return `task ${id} is ${state} (${reason ?? ''}), owner ${owner ?? 'unknown'}: ${told}`;
  }
  return `task ${id} is known to nobody who answers`;
}

/** How every peer shows every task; what they disagree about is asked again until they agree or time is up. */
export async function gatherViews(
  network: TestNetwork,
  submits: readonly Submit[],
  boundMs: number,
): Promise<Map<string, Map<string, TaskView>>> {
  const deadlineMs = performance.now() + boundMs;
  const views = new Map<string, Map<string, TaskView>>();
  let asked = submits.filter(({ outcome }) => outcome !== 'refused').map(({ id }) => id);
  for (;;) {
    for (const index of network.indices) {
      const { name } = network.identity(index);
      const known = views.get(name) ?? new Map<string, TaskView>();
      views.set(name, known);
      const finals = await finalsAt(network, index, asked);
      for (const id of asked) {
        const view = finals.get(id) ?? (await viewAt(network, index, id));
        if (view !== undefined) known.set(id, view);
      }
    }
    asked = asked.filter((id) => {
      const shown = [...views.values()].map((byId) => byId.get(id));
      return new Set(shown.map((view) => view && finalOf(view))).size > 1;
    });
    if (asked.length === 0 || performance.now() >= deadlineMs) return views;
    await delay(AGAIN_MS);
  }
}

/** Of a task that is not final, or nowhere. */
async function viewAt(
  network: TestNetwork,
  index: number,
  id: string,
): Promise<TaskView | undefined> {
  const answer = await network.call(index, 'task.get', { id }, CALL_MS);
  return answer.ok ? answer.value : undefined;
}

/** Of what was started more than once: every end of an attempt in its history, and every store of its home. */
export async function gatherHistories(
  network: TestNetwork,
  runs: readonly ProgramRun[],
  { stores, wallAtBootMs }: Pick<ChaosEvidence, 'stores' | 'wallAtBootMs'>,
): Promise<Pick<ChaosEvidence, 'histories' | 'homes'>> {
  const histories = new Map<string, readonly EndNoted[]>();
  const homes = new Map<string, readonly HomeNoted[]>();
  for (const [id, list] of runsByTask(runs)) {
    if (list.length < 2) continue;
    for (const index of network.indices) {
      const answer = await network.call(index, 'task.explain', { id }, CALL_MS);
      if (!answer.ok) continue;
      const { history } = answer.value;
      const uptimeOf = (at: string): number => Date.parse(at) - wallAtBootMs;
      const ends = history.flatMap(({ what, by, at }) => {
        const [, n, outcome] = /^attempt (\d+) (?!placed)(\w+)/.exec(what) ?? [];
        if (n === undefined || outcome === undefined) return [];
        return [{ n: Number(n), outcome, by, atMs: uptimeOf(at) }];
      });
      histories.set(id, ends);
      const added = history.flatMap(({ what, at }) => {
        const store = storeCalled(stores, / was added to the home$/.exec(what) ? what : '');
        return store === undefined ? [] : [{ store, sinceMs: uptimeOf(at) }];
      });
      homes.set(id, [...firstHomeOf(stores, id), ...added]);
      break;
    }
  }
  return { histories, homes };
}

/** The id names its first home. */
function firstHomeOf(stores: ChaosEvidence['stores'], id: string): HomeNoted[] {
  const named = parseTaskId(id)?.fingerprints ?? [];
  return [...stores.keys()]
    .filter((store) => named.includes(fingerprintOf(store)))
    .map((store) => ({ store, sinceMs: 0 }));
}

/** By the first word: the name of a peer stands for the store that it has now, a former store for itself. */
function storeCalled(stores: ChaosEvidence['stores'], text: string): string | undefined {
  const [word = ''] = text.split(' ');
  return stores.has(word) ? word : [...stores].findLast(([, peer]) => peer === word)?.[0];
}

/** Commands that still run though nothing is to be done; they get a moment for their end. */
export async function strays(dir: string): Promise<string[]> {
  const deadlineMs = performance.now() + LAST_COMMANDS_MS;
  for (;;) {
    const alive = await commandsAlive(dir);
    if (alive.length === 0 || performance.now() >= deadlineMs)
      return alive.map(({ pid, taskId }) => `process ${pid} of ${short(taskId)} still runs`);
    await delay(AGAIN_MS);
  }
}
