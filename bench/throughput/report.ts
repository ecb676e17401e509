/** The ratios that the bench is for, and what is asked of them. */
import { rounded } from '../common/statistics.ts';
import { atLeast, atMost, type Target } from '../common/targets.ts';
import type { PhaseFigures } from './load.ts';

export interface RunFigures {
  readonly settings: Readonly<Record<string, unknown>>;
  readonly phases: Readonly<Record<string, PhaseFigures>>;
  readonly best_done_per_s: number;
}

type Systems = Readonly<Record<string, RunFigures>>;

export const best = (phases: RunFigures['phases']): number =>
  Math.max(0, ...Object.values(phases).map(({ done_per_s }) => done_per_s));

export interface Ratios {
  readonly ratio_bullmq: number | null;
  readonly ratio_nats_r3: number | null;
}

/** Of one run: best done/s over best done/s. */
export function ratiosOf({ covey, bullmq, nats }: Systems): Ratios {
  const over = (other: RunFigures | undefined): number | null =>
    covey === undefined || other === undefined || other.best_done_per_s === 0
      ? null
      : rounded(covey.best_done_per_s / other.best_done_per_s, 3);
  return { ratio_bullmq: over(bullmq), ratio_nats_r3: over(nats) };
}

const quotient = (a: number | null | undefined, b: number | null | undefined): number | null =>
  typeof a === 'number' && typeof b === 'number' && b > 0 ? a / b : null;

export function targetsOf({ covey, bullmq, nats }: Systems, ratios: Ratios): Target[] {
  const one = (system: RunFigures | undefined) => system?.phases.in_flight_1;
  const ackOver = quotient(one(covey)?.ack_ms.p50, one(nats)?.ack_ms.p50);
  const endOver = quotient(one(covey)?.end_to_end_ms.p50, one(bullmq)?.end_to_end_ms.p50);
  const cpu = covey?.phases.in_flight_256?.cpu_us_per_task;
  return [
    atLeast("done/s over BullMQ's, appendfsync always", ratios.ratio_bullmq, 1, 2),
    atLeast("done/s over NATS R3's, results stored", ratios.ratio_nats_r3, 1, 1.5),
    atMost('CPU µs per task, all processes, 256 in flight', cpu, 180, 95),
    atMost("acknowledgement p50 over NATS R3's, 1 in flight", ackOver, 2, 1.2),
    atMost("end to end p50 over BullMQ's, 1 in flight", endOver, 3, 1.5),
  ];
}
