/** What this peer tells of its load, on its heartbeats. */
import type { Config } from '../api/config.ts';
import type { WorkerRegistry } from '../executors/worker.ts';
import type { Load } from '../membership/types.ts';
import type { Replica } from '../records/replica.ts';
import type { Tasks } from '../tasks/room.ts';

export function loadOf(
  parts: { readonly tasks: Tasks; readonly workers: WorkerRegistry; readonly replica: Replica },
  config: Config,
  commandsMax: number,
): Load {
  const { tasks, replica } = parts;
  const workers: Record<string, { total: number; free: number }> = {};
  for (const type of parts.workers.types()) {
    workers[type] = {
      total: parts.workers.capacity(type).total,
      free: tasks.slots.free(`worker:${type}`),
    };
  }
  const isOpen = !tasks.isStopping && config.exec;
  const setAside = replica.aside.count;
  return {
    slots: config.exec ? commandsMax : 0,
    slotsFree: isOpen ? tasks.slots.execFree : 0,
    active: tasks.runner.activeCount,
    waiting: tasks.owner.waitingCount,
    workers,
    ...(setAside === 0 ? {} : { setAside }),
  };
}
