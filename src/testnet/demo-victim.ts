/** Which daemon to kill: one that at this moment runs a batch and owns another that waits. */
import { readFile } from 'node:fs/promises';
import { uptime } from 'node:os';
import { parseStarts } from './demo-verdict.ts';
import { descendantsOf } from './processes.ts';
import type { TestNetwork } from './testnet.ts';

/** The newest tasks of a state; the mesh holds a few dozen unfinished ones at a time. */
const LIST_LIMIT = 200;

/** Peer → how many batches it runs or owns. */
type Counts = ReadonlyMap<number, number>;

/** Of the candidates that do both, the one that owns most; undefined when none does. */
export function chooseVictim(
  candidates: readonly number[],
  running: Counts,
  owned: Counts,
): number | undefined {
  return candidates
    .filter((index) => (running.get(index) ?? 0) > 0 && (owned.get(index) ?? 0) > 0)
    .sort((a, b) => (owned.get(b) ?? 0) - (owned.get(a) ?? 0))[0];
}

/** A view may name a peer by its name, PeerId or store id; none of them can be taken for another's. */
function countPeers(network: TestNetwork, named: readonly (string | undefined)[]): Counts {
  const counts = new Map<number, number>();
  for (const index of network.indices) {
    const { name, peerId, storeId } = network.identity(index);
    const own: readonly (string | undefined)[] = [name, peerId, storeId];
    counts.set(index, named.filter((candidate) => own.includes(candidate)).length);
  }
  return counts;
}

async function candidateNow(
  network: TestNetwork,
  asked: number,
  candidates: readonly number[],
): Promise<number | undefined> {
  const [active, waiting] = await Promise.all([
    network.call(asked, 'task.list', { state: 'active', limit: LIST_LIMIT }),
    network.call(asked, 'task.list', { state: 'waiting', limit: LIST_LIMIT }),
  ]);
  if (!active.ok || !waiting.ok) return undefined;
  const views = await Promise.all(
    waiting.value.tasks.map(({ id }) => network.call(asked, 'task.get', { id })),
  );
  const owners = views.map((view) =>
    view.ok && view.value.state === 'waiting' ? view.value.owner : undefined,
  );
  const runners = active.value.tasks.map((task) => task.runner);
  return chooseVictim(candidates, countPeers(network, runners), countPeers(network, owners));
}

/** Whether a batch of the starts file lives among the processes of this daemon. */
async function runsBatch(network: TestNetwork, index: number, starts: string): Promise<boolean> {
  const started = new Set(parseStarts(await readFile(starts, 'utf8')).map((start) => start.pid));
  const children = await descendantsOf([network.pid(index)]);
  return children.some((child) => started.has(child.pid));
}

/**
 * Kills a daemon in the middle of its work; undefined when none is there at the moment. What the daemons
 * answered may be over by now, so the victim is frozen first, and killed only if one of its batches still
 * runs: frozen, it can neither report that batch nor hand out another.
 */
export async function killInMidWork(
  network: TestNetwork,
  options: { readonly asked: number; readonly starts: string },
): Promise<{ readonly index: number; readonly killedAtMs: number } | undefined> {
  const candidates = network.indices.filter((index) => index !== options.asked);
  const index = await candidateNow(network, options.asked, candidates);
  if (index === undefined) return undefined;
  await network.stop(index);
  if (!(await runsBatch(network, index, options.starts))) {
    await network.cont(index);
    return undefined;
  }
  const killedAtMs = uptime() * 1_000;
  await network.kill(index, 'SIGKILL');
  return { index, killedAtMs };
}
