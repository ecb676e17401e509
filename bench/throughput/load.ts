/**
 * The submitting program: `load.ts WHERE`. Each line of its input is a phase with the processes to watch; each answer the
 * figures of it. Says when its window opens and closes. Ends with its input.
 */
import { createInterface } from 'node:readline';
import { cpuSeconds } from '../common/proc.ts';
import { rounded } from '../common/statistics.ts';
import { clientOf } from './clients.ts';
import { type Counts, runPhase } from './loop.ts';
import type { Phase, Where } from './system.ts';

export interface PhaseOrder {
  readonly phase: Phase;
  /** By name; those that work for the tasks, this program too. */
  readonly pids: Readonly<Record<string, number>>;
}

export interface PhaseFigures extends Counts {
  /** Microseconds of processor time for each task that was done, of each process and of all. */
  readonly cpu_us: Readonly<Record<string, number>>;
  readonly cpu_us_per_task: number;
}

const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);

async function usage(pids: PhaseOrder['pids']): Promise<ReadonlyMap<string, number>> {
  const all = Object.entries({ ...pids, client: process.pid });
  return new Map(
    await Promise.all(
      all.map(async ([name, pid]): Promise<[string, number]> => [name, await cpuSeconds(pid)]),
    ),
  );
}

async function perform({ phase, pids }: PhaseOrder): Promise<PhaseFigures> {
  let before: ReadonlyMap<string, number> = new Map();
  let after: ReadonlyMap<string, number> = new Map();
  const counts = await runPhase(client, phase, {
    nowMs: () => performance.now(),
    opens: async () => {
      say({ event: 'open' });
      before = await usage(pids);
    },
    closes: async () => {
      after = await usage(pids);
      say({ event: 'close' });
    },
  });
  const done = (counts.done_per_s * phase.ms) / 1_000;
  const spent = [...after].map(([name, seconds]): [string, number] => [
    name,
    rounded(((seconds - (before.get(name) ?? 0)) * 1_000_000) / Math.max(1, done), 1),
  ]);
  const all = spent.reduce((sum, [, us]) => sum + us, 0);
  return { ...counts, cpu_us: Object.fromEntries(spent), cpu_us_per_task: rounded(all, 1) };
}

const where = JSON.parse(process.argv[2] ?? '') as Where;
const client = await clientOf(where);
say({ event: 'ready' });
for await (const line of createInterface({ input: process.stdin })) {
  say({ event: 'figures', figures: await perform(JSON.parse(line) as PhaseOrder) });
}
process.exit(0);
