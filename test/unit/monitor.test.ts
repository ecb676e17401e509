/** The daemon's log for its clients: what is shown, what is kept out, and that a slow client is told what it missed. */
import { describe, expect, it } from 'vitest';
import type { NotificationName, NotificationParams } from '../../src/api/methods.ts';
import { BACKLOG_MAX, LogTap } from '../../src/base/log-tap.ts';
import { RecordingLogger } from '../../src/base/telemetry.ts';
import type { Session } from '../../src/control/backend.ts';
import { MONITOR_RATE, MONITOR_WAITING_MAX, MONITORS_MAX } from '../../src/control/limits.ts';
import { Monitors } from '../../src/control/monitor.ts';
import { SimClock } from '../../src/sim/clock.ts';

class Client implements Session {
  readonly id = 'client';
  room = Number.POSITIVE_INFINITY;
  readonly heard: string[] = [];
  readonly records: Readonly<Record<string, unknown>>[] = [];
  readonly #closed = new Set<() => void>();
  readonly #drained = new Set<() => void>();

  notify<N extends NotificationName>(name: N, params: NotificationParams<N>) {
    if (this.room <= 0) return 'full' as const;
    this.room -= 1;
    if ('message' in params) {
      this.heard.push(`${params.seq} ${params.message}`);
      this.records.push({ level: params.level, ...params.fields });
    } else if ('from' in params) this.heard.push(`${name} ${params.from}-${params.to}`);
    return 'sent' as const;
  }

  onClosed(listener: () => void): () => void {
    this.#closed.add(listener);
    return () => this.#closed.delete(listener);
  }

  onDrained(listener: () => void): () => void {
    this.#drained.add(listener);
    return () => this.#drained.delete(listener);
  }

  get listeners(): number {
    return this.#closed.size + this.#drained.size;
  }

  read(): void {
    this.room = Number.POSITIVE_INFINITY;
    for (const listener of [...this.#drained]) listener();
  }

  end(): void {
    for (const listener of [...this.#closed]) listener();
  }
}

function setting() {
  const clock = new SimClock();
  const inner = new RecordingLogger();
  const tap = new LogTap(inner, 'warn', () => clock.wallMs());
  const monitors = new Monitors(tap, clock);
  const client = new Client();
  const subscribe = (level: 'debug' | 'info' = 'info', backlog = 0) => {
    const answer = monitors.subscribe(client, { level, backlog });
    if (!answer.ok) throw new Error(answer.error.message);
    return answer.value.subscription;
  };
  return { clock, inner, tap, monitors, client, subscribe };
}

describe('the monitor', () => {
  it('shows what is logged from now on, of its level and above, and not within the call that logs', async () => {
    const { clock, tap, client, subscribe } = setting();
    tap.log('info', 'before');
    subscribe();
    tap.log('debug', 'detail');
    tap.log('warn', 'trouble', { peer: 'a', count: 2 });
    expect(client.heard).toEqual([]);
    await clock.runFor(1);
    expect(client.heard).toEqual(['1 trouble']);
    expect(client.records).toEqual([{ level: 'warn', peer: 'a', count: 2 }]);
  });

  it('can begin with the last records', async () => {
    const { clock, tap, client, subscribe } = setting();
    for (let i = 0; i < BACKLOG_MAX + 10; i++) tap.log(i % 2 === 0 ? 'info' : 'warn', `m${i}`);
    tap.log('debug', 'never kept');
    subscribe('info', 3);
    await clock.runFor(1);
    const last = [BACKLOG_MAX + 7, BACKLOG_MAX + 8, BACKLOG_MAX + 9];
    expect(client.heard).toEqual(last.map((number, i) => `${i + 1} m${number}`));
  });

  it('tells a client that does not read what it missed, and costs the daemon a bounded buffer', async () => {
    const { clock, tap, client, subscribe } = setting();
    subscribe();
    client.room = 1;
    const total = MONITOR_WAITING_MAX + 100;
    for (let i = 1; i <= total; i++) {
      tap.log('info', `m${i}`);
      await clock.runFor(10);
    }
    expect(client.heard).toEqual(['1 m1']);
    client.read();
    expect(client.heard).toHaveLength(2 + MONITOR_WAITING_MAX);
    expect(client.heard.slice(1, 3)).toEqual(['gap 2-100', '101 m101']);
    expect(client.heard.at(-1)).toBe(`${total} m${total}`);
  });

  it('takes so many a second and no more; the rest is one gap', async () => {
    const { clock, tap, client, subscribe } = setting();
    subscribe();
    for (let i = 1; i <= MONITOR_RATE + 50; i++) tap.log('info', `m${i}`);
    await clock.runFor(1_000);
    expect(client.heard).toHaveLength(MONITOR_RATE + 1);
    expect(client.heard.at(-1)).toBe(`gap ${MONITOR_RATE + 1}-${MONITOR_RATE + 50}`);
    tap.log('info', 'later');
    await clock.runFor(1);
    expect(client.heard.at(-1)).toBe(`${MONITOR_RATE + 51} later`);
  });

  it('keeps secrets out of the log, for every reader of it', async () => {
    const { clock, tap, inner, client, subscribe } = setting();
    subscribe('debug');
    const deep = { words: ['covey1-abcDEF_1'] };
    tap.log('warn', 'joins by covey1-abcDEF_1', { token: 'x', why: 'it was covey1-abc', deep });
    await clock.runFor(1);
    expect(client.heard).toEqual(['1 joins by [redacted]']);
    expect(client.records).toEqual([
      {
        level: 'warn',
        token: '[redacted]',
        why: 'it was [redacted]',
        deep: '{"words":["[redacted]"]}',
      },
    ]);
    expect(inner.lines[0]?.message).toBe('joins by [redacted]');
    expect(inner.lines[0]?.fields).toMatchObject({ token: '[redacted]', why: 'it was [redacted]' });
  });

  it('ends with its session or when it is told to, and leaves nothing behind', async () => {
    const { clock, tap, monitors, client, subscribe } = setting();
    const id = subscribe();
    expect(monitors.unsubscribe(new Client(), id)).toBe(false);
    expect(monitors.unsubscribe(client, id)).toBe(true);
    expect(client.listeners).toBe(0);
    for (let i = 0; i < MONITORS_MAX; i++) subscribe();
    expect(monitors.subscribe(client, { level: 'info', backlog: 0 })).toMatchObject({
      ok: false,
      error: { code: 'BUSY' },
    });
    client.end();
    expect(client.listeners).toBe(0);
    tap.log('warn', 'nobody listens');
    await clock.runFor(1_000);
    expect(client.heard).toEqual([]);
    subscribe();
  });
});

describe('values that are logged', () => {
  it('become scalars of a bounded size for those who listen', () => {
    const tap = new LogTap(new RecordingLogger(), 'info', () => 1);
    const ring: { self?: unknown } = {};
    ring.self = ring;
    tap.log('info', 'm', {
      big: 'x'.repeat(10_000),
      ring,
      big_int: 1n,
      nan: Number.NaN,
      none: null,
    });
    const [record] = tap.last('info', 1);
    expect(String(record?.fields.big)).toHaveLength(4_097);
    expect(record?.fields).toMatchObject({ nan: 'NaN', none: null });
    expect(() => JSON.stringify(record)).not.toThrow();
  });
});
