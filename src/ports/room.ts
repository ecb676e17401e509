/**
 * Room on a disk, and what is still taken when it gets scarce. A task that was accepted must be able to end: so new
 * ones are refused while there is room for the ends of those that are here.
 */
import { MIB } from '../base/units.ts';

/**
 * What a batch is for, most dispensable first.
 *
 * - `create`: a client's new record, whose sender is told and may go elsewhere; and what can be done without.
 * - `extend`: what brings work rather than ends it: the start of an attempt, a copy new to this store.
 * - `settle`: everything else: ends, cancels, joins with what is here, tombstones, what is deleted.
 */
export type Purpose = 'create' | 'extend' | 'settle';

/** `ample` takes everything, `low` no creations, `scarce` nothing but what settles, `full` nothing. */
export type Room = 'ample' | 'low' | 'scarce' | 'full';

export interface Space {
  /** Of the file system, for this user. */
  readonly freeBytes: number;
  readonly totalBytes: number;
  /** Inside of the store's own file, left by what was deleted. */
  readonly reusableBytes: number;
}

/**
 * Creations stop at the reserve, starts and new copies at half of it. The other half holds the results of 16 attempts
 * of the largest size (1 MiB), each written twice: what is replaced can be used again only after the commit.
 */
export const RESERVE_BYTES_MAX = 64 * MIB;
/** A small disk keeps this part of it instead, and not less than a few results and some thousand ends take. */
export const RESERVE_SHARE = 1 / 16;
export const RESERVE_BYTES_MIN = 16 * MIB;
/** With less nothing is taken: LMDB must not meet a full disk (host/store.ts). */
export const FREE_BYTES_MIN = MIB;
/** More is asked for when room comes back, so that what is taken does not change with every commit. */
const RETURN_FACTOR = 1.25;
/**
 * What was deleted leaves pages that are used again, but not in one piece: a large value may need new ones all the
 * same. So they count for no more than this many times of what is really free.
 */
const REUSABLE_MAX = 3;

const LEVELS: readonly Room[] = ['ample', 'low', 'scarce', 'full'];

export function reserveBytes(space: Space): number {
  const share = Math.floor(space.totalBytes * RESERVE_SHARE);
  return Math.min(RESERVE_BYTES_MAX, Math.max(RESERVE_BYTES_MIN, share));
}

/** What there is room for, from what there was room for and how much is free now. */
export function roomAfter(before: Room, space: Space): Room {
  const { freeBytes, reusableBytes } = space;
  if (freeBytes < FREE_BYTES_MIN) return 'full';
  const bytes = freeBytes + Math.min(reusableBytes, REUSABLE_MAX * freeBytes);
  const reserve = reserveBytes(space);
  const needed = [reserve, reserve / 2, 0];
  const level = needed.findIndex((min, i) => {
    const isBetter = i < LEVELS.indexOf(before);
    return bytes >= min * (isBetter ? RETURN_FACTOR : 1);
  });
  return LEVELS[level] ?? 'full';
}

const REFUSED: Readonly<Record<Room, readonly Purpose[]>> = {
  ample: [],
  low: ['create'],
  scarce: ['create', 'extend'],
  full: ['create', 'extend', 'settle'],
};

/** Too little room for starts, or for anything: what the other members have to know of a disk. */
export type Shortage = 'scarce' | 'full';
export const shortageOf = (room: Room): Shortage | undefined =>
  room === 'scarce' || room === 'full' ? room : undefined;

export const takes = (room: Room, purpose: Purpose): boolean => !REFUSED[room].includes(purpose);
