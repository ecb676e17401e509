/**
 * Who owns a task: the home store that coordinates it now. A pure function of the record and of what this peer
 * sees of the members, so two peers with one view agree without a word.
 */
import { hash52 } from '../base/hash.ts';
import type { Shortage } from '../ports/room.ts';
import { homeOf, type StoreId } from '../records/record.ts';
import { currentAttempt, type Task } from './task.ts';

/**
 * Whether a store may own, the best first. scarce: its disk takes no starts, but ends. stopping: routed around. full: its
 * disk takes nothing. dead: dead, left, or unknown.
 */
export type OwnerStatus = (typeof PREFERENCE)[number] | 'dead';
const PREFERENCE = ['alive', 'scarce', 'stopping', 'full'] as const;

export interface OwnerView {
  status(store: StoreId): OwnerStatus;
}

/** Of a member neither dead nor left. */
export function ownerStatus(member: {
  readonly stopping: boolean;
  readonly shortage?: Shortage;
}): OwnerStatus {
  if (member.shortage === 'full') return 'full';
  return member.stopping ? 'stopping' : (member.shortage ?? 'alive');
}

/** Of the tasks that were looked at last: an owner is asked for many times while a task lives. */
const ORDERS_MAX = 4_096;
const orders = new Map<string, { readonly stores: string; readonly order: readonly StoreId[] }>();

/** By the list that a version of a record has of its home: a hundred thousand that wait are looked at again and again. */
const ordersOfHomes = new WeakMap<
  readonly StoreId[],
  { readonly id: string; readonly order: readonly StoreId[] }
>();

/**
 * The home in the order in which its stores own the task: by hash(id, storeId), the same everywhere. The list given must
 * not be changed later on.
 */
export function ownerOrder(id: string, stores: readonly StoreId[]): readonly StoreId[] {
  const ofHome = ordersOfHomes.get(stores);
  if (ofHome?.id === id) return ofHome.order;
  const order = knownOrder(id, stores);
  ordersOfHomes.set(stores, { id, order });
  return order;
}

function knownOrder(id: string, stores: readonly StoreId[]): readonly StoreId[] {
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

/** The first in this order that owns at all, of those that can do it best. */
export function firstOwner(order: readonly StoreId[], view: OwnerView): StoreId | undefined {
  for (const status of PREFERENCE) {
    const found = order.find((store) => view.status(store) === status);
    if (found !== undefined) return found;
  }
  return undefined;
}

/**
 * The owner, or undefined when no store of the home is live. While an attempt is open its owner stays the owner
 * until it is dead or has handed the attempt over: moving a running task for the sake of order would only risk a
 * second run. One whose disk is full can neither hand it over nor write its end: another one adopts the attempt.
 */
export function ownerOf(task: Task, view: OwnerView): StoreId | undefined {
  const open = currentAttempt(task);
  const held = open === undefined ? 'dead' : view.status(open.owner);
  if (open !== undefined && held !== 'dead' && held !== 'full') return open.owner;
  const first = firstOwner(ownerOrder(task.id, homeOf(task.record)), view);
  const isNoBetter = first === undefined || view.status(first) === 'full';
  return open !== undefined && held === 'full' && isNoBetter ? open.owner : first;
}
