/**
 * `system.monitor`: the daemon's log for its clients. Logging never waits for them: a record goes into a buffer of each
 * subscription and is sent in a later turn. Who reads slowly, or asks for more than is sent in a second, is told what is
 * missing by a `gap`.
 */
import type { MethodParams, MethodResult } from '../api/methods.ts';
import { type CoveyError, coveyError } from '../base/errors.ts';
import type { LogRecord, LogTap } from '../base/log-tap.ts';
import { err, ok, type Result } from '../base/result.ts';
import { toRfc3339 } from '../base/rfc3339.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import type { Session } from './backend.ts';
import {
  BUSY_RETRY_AFTER_MS,
  GAP_MS,
  MONITOR_RATE,
  MONITOR_WAITING_MAX,
  MONITORS_MAX,
} from './limits.ts';

interface Waiting {
  readonly seq: number;
  readonly record: LogRecord;
}

interface Monitor {
  readonly id: string;
  readonly session: Session;
  readonly waiting: Waiting[];
  /** Of the last record that was for it, and of the last that it was sent or told to have missed. */
  lastSeq: number;
  toldSeq: number;
  /** Records that may still be taken, as of `atMs`. */
  allowance: number;
  atMs: number;
  timer: Timer | undefined;
  stop(): void;
}

export class Monitors {
  readonly #tap: LogTap;
  readonly #clock: Clock;
  readonly #monitors = new Map<string, Monitor>();
  #next = 1;

  constructor(tap: LogTap, clock: Clock) {
    this.#tap = tap;
    this.#clock = clock;
  }

  subscribe(
    session: Session,
    { level, backlog }: MethodParams<'system.monitor'>,
  ): Result<MethodResult<'system.monitor'>, CoveyError> {
    if (this.#monitors.size >= MONITORS_MAX) {
      const what = `${MONITORS_MAX} monitors of this daemon`;
      return err(coveyError('BUSY', { what, retry_after_ms: BUSY_RETRY_AFTER_MS }));
    }
    const before = this.#tap.last(level, backlog);
    const ends: (() => void)[] = [];
    const monitor: Monitor = {
      id: `m${this.#next++}`,
      session,
      waiting: [],
      lastSeq: 0,
      toldSeq: 0,
      allowance: MONITOR_RATE + before.length,
      atMs: this.#clock.nowMs(),
      timer: undefined,
      stop: () => {
        this.#monitors.delete(monitor.id);
        monitor.timer?.cancel();
        for (const end of ends) end();
      },
    };
    this.#monitors.set(monitor.id, monitor);
    for (const record of before) this.#hear(monitor, record);
    ends.push(this.#tap.listen(level, (record) => this.#hear(monitor, record)));
    ends.push(session.onDrained(() => this.#pump(monitor)));
    // Last: of a session that has ended it is called at once.
    ends.push(session.onClosed(() => monitor.stop()));
    return ok({ subscription: monitor.id });
  }

  /** False when this session has no such monitor. */
  unsubscribe(session: Session, id: string): boolean {
    const monitor = this.#monitors.get(id);
    if (monitor?.session !== session) return false;
    monitor.stop();
    return true;
  }

  #hear(monitor: Monitor, record: LogRecord): void {
    monitor.lastSeq += 1;
    const isTaken = this.#mayTake(monitor);
    if (isTaken) monitor.waiting.push({ seq: monitor.lastSeq, record });
    if (monitor.waiting.length > MONITOR_WAITING_MAX) monitor.waiting.shift();
    // In a later turn: whoever logs is in the middle of something. What is missing is told once for many.
    monitor.timer ??= this.#clock.after(isTaken ? 0 : GAP_MS, () => {
      monitor.timer = undefined;
      this.#pump(monitor);
    });
  }

  #mayTake(monitor: Monitor): boolean {
    const nowMs = this.#clock.nowMs();
    const earned = ((nowMs - monitor.atMs) / 1_000) * MONITOR_RATE;
    monitor.allowance = Math.min(
      Math.max(MONITOR_RATE, monitor.allowance),
      monitor.allowance + earned,
    );
    monitor.atMs = nowMs;
    if (monitor.allowance < 1) return false;
    monitor.allowance -= 1;
    return true;
  }

  /** Until all is sent, or its session is full: then `drained` goes on. */
  #pump(monitor: Monitor): void {
    const { id: subscription, session, waiting } = monitor;
    while (monitor.toldSeq < monitor.lastSeq) {
      const next = waiting[0];
      const missedTo = (next?.seq ?? monitor.lastSeq + 1) - 1;
      if (missedTo > monitor.toldSeq) {
        const gap = { subscription, from: monitor.toldSeq + 1, to: missedTo };
        if (session.notify('gap', gap) !== 'sent') return;
        monitor.toldSeq = missedTo;
        continue;
      }
      if (next === undefined) return;
      const { wallMs, level, message, fields } = next.record;
      const told = { seq: next.seq, at: toRfc3339(wallMs), level, message, fields };
      if (session.notify('monitor', { subscription, ...told }) !== 'sent') return;
      waiting.shift();
      monitor.toldSeq = next.seq;
    }
  }
}
