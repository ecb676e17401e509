/** The events hub: order, resuming, gaps, slow subscribers. */
import { expect, test } from 'vitest';
import { SUBSCRIPTIONS_MAX } from '../../src/api/limits.ts';
import type { NotificationName, NotificationParams } from '../../src/api/methods.ts';
import type { Session } from '../../src/control/backend.ts';
import { EventHub } from '../../src/control/events.ts';
import { EVENTS_KEPT_MAX } from '../../src/control/limits.ts';
import { SimClock } from '../../src/sim/clock.ts';

/** A session that takes `room` notifications, and then is full. */
class FakeSession implements Session {
  readonly id = 'fake';
  room = Number.POSITIVE_INFINITY;
  readonly heard: string[] = [];
  readonly #closed: (() => void)[] = [];
  readonly #drained: (() => void)[] = [];

  notify<N extends NotificationName>(name: N, params: NotificationParams<N>) {
    if (this.room <= 0) return 'full';
    this.room -= 1;
    if ('from' in params) this.heard.push(`${name} ${params.from}-${params.to}`);
    else if ('topic' in params) this.heard.push(`${params.seq} ${params.type}`);
    return 'sent';
  }

  onClosed(listener: () => void): () => void {
    this.#closed.push(listener);
    return () => undefined;
  }

  onDrained(listener: () => void): () => void {
    this.#drained.push(listener);
    return () => undefined;
  }

  drain(room: number): void {
    this.room = room;
    for (const listener of this.#drained) listener();
  }

  close(): void {
    for (const listener of this.#closed) listener();
  }

  take(): string[] {
    return this.heard.splice(0);
  }
}

function world() {
  const clock = new SimClock();
  const hub = new EventHub('boot-2', clock);
  const session = new FakeSession();
  const publish = (type: string, id?: string, topic: 'task' | 'member' = 'task'): void =>
    hub.publish({ topic, type, data: {}, ...(id === undefined ? {} : { id }) });
  return { clock, hub, session, publish };
}

test('a subscriber hears what it asked for, in order', async () => {
  const { clock, hub, session, publish } = world();
  publish('before');
  const answer = hub.subscribe(session, { topics: ['task'], ids: ['A', 'B'] });
  expect(answer).toEqual({ ok: true, value: { subscription: 'e1', boot: 'boot-2', seq: 1 } });
  publish('waiting', 'A');
  expect(session.take()).toEqual([]);
  await clock.runFor(1);
  publish('alive', 'A', 'member');
  publish('waiting', 'C');
  publish('active', 'B');
  expect(session.take()).toEqual(['2 waiting', '5 active']);
  expect(hub.unsubscribe(session, 'e1')).toBe(true);
  expect(hub.unsubscribe(session, 'e1')).toBe(false);
  publish('completed', 'A');
  expect(session.take()).toEqual([]);
});

test('task ids are understood in any spelling, and the ids of members as they are', async () => {
  const { clock, hub, session, publish } = world();
  const id = '00T3ZEJ0ASTPCYTFXMVV64EXZ21HFCEBQ5BSM32';
  const member = '12D3KooWDD9LNLDp8YRahm6w8icSaYmviG9y5a1NuTASaoRFbH4X';
  const ids = [id.toLowerCase().replace('0', 'o').replace('1', 'l'), member];
  hub.subscribe(session, { topics: ['task', 'member'], ids });
  await clock.runFor(1);
  publish('active', id);
  publish('alive', member, 'member');
  publish('alive', member.toLowerCase(), 'member');
  expect(session.take()).toEqual(['1 active', '2 alive']);
});

test('resuming repeats what was missed', async () => {
  const { clock, hub, session, publish } = world();
  for (const type of ['a', 'b', 'c']) publish(type);
  hub.subscribe(session, { topics: ['task'], after: { boot: 'boot-2', seq: 1 } });
  await clock.runFor(1);
  publish('d');
  expect(session.take()).toEqual(['2 b', '3 c', '4 d']);
});

test('resuming after an earlier boot begins with a gap', async () => {
  const { clock, hub, session, publish } = world();
  publish('a');
  hub.subscribe(session, { topics: ['task'], after: { boot: 'boot-1', seq: 77 } });
  await clock.runFor(1);
  expect(session.take()).toEqual(['gap 0-0', '1 a']);
});

test('what is no longer kept is a gap', async () => {
  const { clock, hub, session, publish } = world();
  for (let i = 0; i < EVENTS_KEPT_MAX + 5; i++) publish('x');
  hub.subscribe(session, { topics: ['task'], after: { boot: 'boot-2', seq: 2 } });
  await clock.runFor(1);
  const heard = session.take();
  expect(heard.slice(0, 2)).toEqual(['gap 3-5', '6 x']);
  expect(heard).toHaveLength(EVENTS_KEPT_MAX + 1);
});

test('a place that is yet to come is refused', () => {
  const { hub, session } = world();
  const after = { boot: 'boot-2', seq: 5 };
  const answer = hub.subscribe(session, { topics: ['task'], after });
  expect(answer).toMatchObject({ ok: false, error: { code: 'INVALID_PARAMS' } });
});

test('a slow subscriber is served what is kept when it has drained, and a gap for the rest', async () => {
  const { clock, hub, session, publish } = world();
  hub.subscribe(session, { topics: ['task'] });
  await clock.runFor(1);
  session.room = 1;
  for (const type of ['a', 'b', 'c']) publish(type);
  expect(session.take()).toEqual(['1 a']);
  session.drain(1);
  session.drain(10);
  expect(session.take()).toEqual(['2 b', '3 c']);
  session.room = 0;
  for (let i = 0; i < EVENTS_KEPT_MAX + 2; i++) publish('x');
  session.drain(Number.POSITIVE_INFINITY);
  expect(session.take().slice(0, 2)).toEqual(['gap 4-5', '6 x']);
  publish('live');
  expect(session.take()).toEqual([`${EVENTS_KEPT_MAX + 6} live`]);
});

test('subscriptions are limited, and end with their session', () => {
  const { hub, session } = world();
  for (let i = 0; i < SUBSCRIPTIONS_MAX; i++) hub.subscribe(session, { topics: ['task'] });
  const refused = hub.subscribe(session, { topics: ['task'] });
  expect(refused).toMatchObject({ ok: false, error: { code: 'SUBSCRIPTIONS_MAX' } });
  session.close();
  expect(hub.subscribe(session, { topics: ['task'] }).ok).toBe(true);
  expect(hub.unsubscribe(session, 'e1')).toBe(false);
});
