/** What a world has not yet brought to its end, in words: a run that does not come to its end says why. */
import { judgeCopies, short } from './copies.ts';
import type { World } from './world.ts';

/** Lines; empty when all is well. */
export function pendingOf(world: World): string[] {
  const lines: string[] = [];
  for (const host of world.hosts)
    if (host.state !== 'up') lines.push(`${host.name} is ${host.state}`);
  if (lines.length > 0) return lines;
  if (!world.isWhole()) lines.push('not every peer sees every other alive and linked');
  const hashes = new Set(world.hosts.map(({ peer }) => peer?.membership.viewHash()));
  if (hashes.size > 1) lines.push('the views differ');
  // All disks have room now, and each peer that said otherwise is to take it back: others give it no tasks.
  for (const { name, peer } of world.hosts)
    if (peer?.membership.self().shortage !== undefined)
      lines.push(`${name} says that its disk has no room`);
  // What waits for such a disk is in no replica yet, and may be a task that runs.
  for (const { name, disk } of world.hosts)
    if (disk.isStalled) lines.push(`the disk of ${name} stands still`);
  for (const run of world.runs) {
    if (run.endedMs === undefined)
      lines.push(`run ${run.runId} of ${run.taskId} on ${run.host} goes on`);
  }
  for (const { name, peer } of world.hosts) {
    for (const { id } of peer?.replica.unfinished() ?? [])
      if (!world.losses.isBeyond(id)) lines.push(`${name} holds ${short(id)} unfinished`);
  }
  lines.push(...unanswered(world));
  // The rest reads every record: only when nothing else is left.
  if (lines.length > 0) return lines;
  const { lost } = world.losses;
  const dropped = world.steps.notes.allDropped;
  const endWallMs = world.clock.wallMs();
  const about = { replicas: world.replicas(), stores: world.stores(), lost, dropped, endWallMs };
  return judgeCopies(about).map(({ detail }) => detail);
}

/** Clients that still wait for a daemon that has run on since they asked. */
function unanswered(world: World): string[] {
  const boots = new Map(world.hosts.map((host) => [host.name, host.boot]));
  // Nobody can tell the end of what so many disks have lost, nor of what one holds that was away, and may not run it.
  const isAside = (id: string) =>
    world.losses.destroyed.has(id) && world.hosts.some(({ peer }) => peer?.replica.aside.has(id));
  const isSure = (id: string) =>
    !world.losses.isBeyond(id) &&
    !isAside(id) &&
    world.steps.notes.dropped(id) === undefined &&
    world.submits.some((item) => item.id === id && item.outcome === 'acknowledged');
  const submits = world.asking
    .filter(({ answered, host, boot }) => !answered && boots.get(host) === boot)
    .map(({ number, host }) => `submit ${number} on ${host} was not answered`);
  const waits = world.waits
    .filter(
      ({ told, host, boot, id }) => told === undefined && boots.get(host) === boot && isSure(id),
    )
    .map(({ host, id }) => `the wait for ${id} on ${host} was not answered`);
  return [...submits, ...waits];
}
