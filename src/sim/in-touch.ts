/**
 * For how long nothing has stood between two hosts of a world, seen from outside: both daemons run and speak the
 * version of now, and every byte gets through.
 */
import { isUnderstood } from './speech.ts';
import type { World } from './world.ts';

export function inTouchForMs(world: World, a: string, b: string): number {
  const first = world.hosts.find(({ name }) => name === a);
  const second = world.hosts.find(({ name }) => name === b);
  if (first === undefined || second === undefined) return 0;
  if (!isUnderstood(first.spoken) || !isUnderstood(second.spoken)) return 0;
  const sinceMs = Math.max(
    first.runsSinceMs,
    second.runsSinceMs,
    world.hub.freeSinceMs(first.peerId, second.peerId),
  );
  return Math.max(0, world.clock.nowMs() - sinceMs);
}
