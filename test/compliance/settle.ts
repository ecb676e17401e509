/**
 * Waiting for a condition in real time: every turn of the event loop at first, then every few
 * milliseconds.
 */
import { setTimeout as realSleep } from 'node:timers/promises';

export const SETTLE_MS_MAX = 10_000;

export async function settleReal(condition: () => boolean): Promise<void> {
  const deadlineMs = performance.now() + SETTLE_MS_MAX;
  while (!condition()) {
    if (performance.now() > deadlineMs) throw new Error('the condition did not come to hold');
    await realSleep(2);
  }
}
