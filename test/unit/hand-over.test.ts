/** What is handed over before a stop, and how long that may take. */
import { expect, it } from 'vitest';
import { ok } from '../../src/base/result.ts';
import { HANDOVER_MS_MAX, type HandOverDeps, handOverOwnership } from '../../src/peer/hand-over.ts';
import { sleep } from '../../src/ports/clock.ts';
import { SimClock } from '../../src/sim/clock.ts';

it('ends in time, however much waits here', async () => {
  const clock = new SimClock();
  const ids = Array.from({ length: 100_000 }, (_, i) => String(i));
  let asked = 0;
  const done = handOverOwnership({
    clock,
    owner: { handOver: async () => new Map([['store of b', ids]]) },
    sight: { directory: { peerOf: () => 'b' } },
    messenger: {
      call: async () => {
        asked += 1;
        await sleep(clock, 1_000);
        return ok({});
      },
    },
  } as unknown as HandOverDeps);
  let isOver = false;
  void done.then(() => {
    isOver = true;
  });
  await clock.runFor(HANDOVER_MS_MAX + 2_000);
  expect(isOver).toBe(true);
  expect(asked).toBeGreaterThan(5);
});
