/** What an attempt needs of a peer, as a key by which slots are granted: a command in a directory, or a worker type. */
import { EXEC_TYPE, type TaskHeader } from './facts.ts';

/** `exec:CWD` or `worker:TYPE`. */
export type Demand = string;

export const demandOf = (header: TaskHeader): Demand =>
  header.type === EXEC_TYPE && header.argv !== undefined
    ? `exec:${header.cwd ?? '/'}`
    : `worker:${header.type}`;

export type DemandParts =
  | { readonly kind: 'exec'; readonly cwd: string }
  | { readonly kind: 'worker'; readonly type: string };

export function demandParts(demand: Demand): DemandParts | undefined {
  if (demand.startsWith('exec:/')) return { kind: 'exec', cwd: demand.slice(5) };
  if (demand.startsWith('worker:')) return { kind: 'worker', type: demand.slice(7) };
  return undefined;
}
