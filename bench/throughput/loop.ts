/** A closed loop: as many tasks in flight as the phase says, counted while its window is open. */
import { setTimeout as delay } from 'node:timers/promises';
import { rounded, type Spread, spreadOf } from '../common/statistics.ts';
import type { Client, Phase, Submitted } from './system.ts';

/** What is in flight at the end of the window is waited for, that it does not burden the next phase. */
const DRAIN_MS = 30_000;
/** After a failure a slot waits, or a server that refuses would be asked in an endless loop. */
const AFTER_FAILURE_MS = 10;
const FAILURES_KEPT = 5;

export interface Counts {
  readonly acked_per_s: number;
  readonly done_per_s: number;
  readonly ack_ms: Spread;
  readonly end_to_end_ms: Spread;
  readonly failed: number;
  readonly failures: readonly string[];
  /** In flight when the patience after the window was over. */
  readonly left: number;
}

export interface Watch {
  nowMs(): number;
  /** Called right before the window opens and right after it closed. */
  opens(): Promise<void>;
  closes(): Promise<void>;
}

export async function runPhase(client: Client, phase: Phase, watch: Watch): Promise<Counts> {
  const loop = new Loop(client, watch);
  const slots = Array.from({ length: Math.ceil(phase.inFlight / (phase.bulk ?? 1)) }, () =>
    loop.slot(phase.bulk),
  );
  await delay(phase.warmMs);
  await watch.opens();
  loop.open();
  await delay(phase.ms);
  loop.close();
  await watch.closes();
  await Promise.race([Promise.all(slots), delay(DRAIN_MS, undefined, { ref: false })]);
  return loop.counts();
}

class Loop {
  readonly #client: Client;
  readonly #watch: Watch;
  readonly #ackMs: number[] = [];
  readonly #endMs: number[] = [];
  readonly #failures: string[] = [];
  #failed = 0;
  #inFlight = 0;
  #isOpen = false;
  #isOver = false;
  #openedMs = 0;
  #closedMs = 0;

  constructor(client: Client, watch: Watch) {
    this.#client = client;
    this.#watch = watch;
  }

  open(): void {
    this.#openedMs = this.#watch.nowMs();
    this.#isOpen = true;
  }

  close(): void {
    this.#isOpen = false;
    this.#isOver = true;
    this.#closedMs = this.#watch.nowMs();
  }

  async slot(bulk: number | undefined): Promise<void> {
    while (!this.#isOver) await this.#round(bulk);
  }

  counts(): Counts {
    const seconds = (this.#closedMs - this.#openedMs) / 1_000;
    return {
      acked_per_s: rounded(this.#ackMs.length / seconds, 1),
      done_per_s: rounded(this.#endMs.length / seconds, 1),
      ack_ms: spreadOf(this.#ackMs),
      end_to_end_ms: spreadOf(this.#endMs),
      failed: this.#failed,
      failures: this.#failures,
      left: this.#inFlight,
    };
  }

  async #round(bulk: number | undefined): Promise<void> {
    const count = bulk ?? 1;
    const startMs = this.#watch.nowMs();
    this.#inFlight += count;
    let submitted: readonly Submitted[];
    try {
      submitted =
        bulk === undefined ? [await this.#client.submit()] : await this.#client.submitBulk(bulk);
    } catch (thrown) {
      this.#inFlight -= count;
      this.#fail(thrown);
      await delay(AFTER_FAILURE_MS);
      return;
    }
    const ackMs = this.#watch.nowMs() - startMs;
    if (this.#isOpen) for (let i = 0; i < count; i += 1) this.#ackMs.push(ackMs);
    await Promise.all(submitted.map(({ done }) => this.#end(done, startMs)));
  }

  async #end(done: Promise<void>, startMs: number): Promise<void> {
    try {
      await done;
      if (this.#isOpen) this.#endMs.push(this.#watch.nowMs() - startMs);
    } catch (thrown) {
      this.#fail(thrown);
    }
    this.#inFlight -= 1;
  }

  #fail(thrown: unknown): void {
    this.#failed += 1;
    if (this.#failures.length < FAILURES_KEPT) this.#failures.push(String(thrown));
  }
}
