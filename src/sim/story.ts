/**
 * The shortest useful story of a world that failed: what happened to the task or the member concerned, across all
 * peers, in the order of the one virtual clock, which is an order of cause and effect.
 */
import { short } from './copies.ts';
import type { Violation } from './evidence.ts';
import type { World } from './world.ts';

const LINES_MAX = 60;
/** Faults before and after the task's own events belong to its story. */
const MARGIN_MS = 2_000;

interface Line {
  readonly atMs: number;
  readonly text: string;
}

/** The tasks named in what went wrong, the first one first. */
export function concerned(
  world: World,
  violations: readonly Violation[],
  pending: readonly string[],
): string[] {
  const about = [...violations.map(({ detail }) => detail), ...pending];
  const ids = new Set([
    ...world.replicas().keys(),
    ...world.submits.flatMap(({ id }) => (id === undefined ? [] : [id])),
  ]);
  const named = new Map<string, number>();
  for (const id of ids) {
    const at = about.findIndex((text) => text.includes(short(id)) || text.includes(id));
    if (at >= 0) named.set(id, at);
  }
  return [...named].sort(([, a], [, b]) => a - b).map(([id]) => id);
}

function eventsOf(world: World, id: string): Line[] {
  const lines: Line[] = [];
  for (const { atMs, text, about } of world.journal) if (about === id) lines.push({ atMs, text });
  for (const run of world.runs) {
    if (run.taskId !== id) continue;
    const what = `${run.host} runs attempt ${run.attempt} (${run.runId})`;
    lines.push({ atMs: run.startedMs, text: what });
    const how = run.exitCode === undefined ? 'is ended' : `exits ${run.exitCode}`;
    if (run.endedMs !== undefined)
      lines.push({ atMs: run.endedMs, text: `${run.host}: ${run.runId} ${how}` });
  }
  const placed = new Set(world.runs.filter(({ taskId }) => taskId === id).map((run) => run.runId));
  for (const { host, runId, atMs } of world.knowledge.all())
    if (placed.has(runId)) lines.push({ atMs, text: `${host} knows that ${runId} was placed` });
  for (const told of world.told) {
    if (told.id !== id) continue;
    const { state, runId } = told.final ?? {};
    const text = told.final === undefined ? 'shows it, not final' : `shows ${state} by ${runId}`;
    lines.push({ atMs: told.atMs, text: `${told.host} ${text}` });
  }
  return lines;
}

/** Lines with their times; empty when nothing is concerned. */
export function storyOf(
  world: World,
  violations: readonly Violation[],
  pending: readonly string[],
): string[] {
  const [id] = concerned(world, violations, pending);
  const own = id === undefined ? [] : eventsOf(world, id);
  const times = own.map(({ atMs }) => atMs);
  const fromMs = Math.min(...times, Number.POSITIVE_INFINITY) - MARGIN_MS;
  const toMs = Math.max(...times, Number.NEGATIVE_INFINITY) + MARGIN_MS;
  const faults = world.journal.filter(
    ({ about, atMs }) =>
      about === undefined && (id === undefined || (atMs > fromMs && atMs < toMs)),
  );
  const lines = [...own, ...faults].sort((a, b) => a.atMs - b.atMs).slice(-LINES_MAX);
  return lines.map(({ atMs, text }) => `${atMs.toFixed(1).padStart(9)} ${text}`);
}
