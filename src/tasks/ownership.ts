/**
 * Who owns a task: the home store that coordinates it now. A pure function of the record and of what this peer
 * sees of the members, so two peers with one view agree without a word.
 */
import { hash52 } from '../base/hash.ts';
import { homeOf, type StoreId } from '../records/record.ts';
import { currentAttempt, type Task } from './task.ts';

export interface OwnerView {
  /** alive: may own. stopping: alive, but routed around. dead: dead, left, or unknown. */
  status(store: StoreId): 'alive' | 'stopping' | 'dead';
}

/** Of the tasks that were looked at last: an owner is asked for many times while a task lives. */
const ORDERS_MAX = 4_096;
const orders = new Map<string, { readonly stores: string; readonly order: readonly StoreId[] }>();

/** The home in the order in which its stores own the task: by hash(id, storeId), the same everywhere. */
export function ownerOrder(id: string, stores: readonly StoreId[]): readonly StoreId[] {
  const text = stores.join();
  const known = orders.get(id);
  if (known?.stores === text) return known.order;
  const order = orderOf(id, stores);
  orders.delete(id);
  orders.set(id, { stores: text, order });
  for (const oldest of orders.keys()) {
    if (orders.size <= ORDERS_MAX) break;
    orders.delete(oldest);
  }
  return order;
}

function orderOf(id: string, stores: readonly StoreId[]): readonly StoreId[] {
  return [...stores]
    .map((store) => ({ store, rank: hash52(`owner:${id}:${store}`) }))
    .sort((a, b) => a.rank - b.rank || (a.store < b.store ? -1 : 1))
    .map((entry) => entry.store);
}

/**
 * The owner, or undefined when no store of the home is live. While an attempt is open its owner stays the owner
 * until it is dead or has handed the attempt over: moving a running task for the sake of order would only risk a
 * second run.
 */
export function ownerOf(task: Task, view: OwnerView): StoreId | undefined {
  const open = currentAttempt(task);
  if (open !== undefined && view.status(open.owner) !== 'dead') return open.owner;
  const order = ownerOrder(task.id, homeOf(task.record));
  return (
    order.find((store) => view.status(store) === 'alive') ??
    order.find((store) => view.status(store) !== 'dead')
  );
}
