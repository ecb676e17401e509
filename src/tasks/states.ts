/**
 * The states of a task and the ways between them, as a table: what an owner's own writes may do, one step at a time. A
 * copy that was away jumps over some, and concurrent finals that are joined are no step but a counted conflict.
 *
 * The simulator holds each step against it, and a batch of worlds must take every edge.
 */
import type { TaskState } from '../api/task.ts';

/**
 * `new`: nobody has stored it yet. What is over has no way out. Whatever is about to end is `waiting` for it, unless its
 * end comes with the end of its attempt; `delayed` goes further only by clocks that differ. A state that is missing here
 * does not compile.
 */
export const STATE_EDGES = {
  new: ['delayed', 'waiting', 'active'],
  delayed: ['waiting', 'active', 'failed'],
  waiting: ['active', 'failed', 'canceled', 'expired'],
  active: ['delayed', 'waiting', 'completed', 'failed', 'canceled'],
  completed: [],
  failed: [],
  canceled: [],
  expired: [],
} as const satisfies Readonly<Record<'new' | TaskState, readonly TaskState[]>>;

export type TaskEdge = readonly [keyof typeof STATE_EDGES, TaskState];

export const isStateEdge = (...[from, to]: TaskEdge): boolean =>
  (STATE_EDGES[from] as readonly TaskState[]).includes(to);

export const edgeName = (...[from, to]: TaskEdge): string => `${from} → ${to}`;
