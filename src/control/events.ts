/**
 * The events of this daemon: numbered per boot, kept for a while, sent to subscribers. A subscription is a place in
 * that sequence. A client that reads slowly falls behind and is served from what is kept; what is no longer kept
 * it is told of as a `gap`, never nothing.
 */
import { SUBSCRIPTIONS_MAX } from '../api/limits.ts';
import type { EventTopic, MethodParams, MethodResult, NotificationParams } from '../api/methods.ts';
import { type CoveyError, coveyError } from '../base/errors.ts';
import { err, ok, type Result } from '../base/result.ts';
import { toRfc3339 } from '../base/rfc3339.ts';
import { canonicalTaskId } from '../base/task-id.ts';
import type { Clock } from '../ports/clock.ts';
import type { Session } from './backend.ts';
import { EVENTS_KEPT_MAX } from './limits.ts';

export interface PublishedEvent {
  readonly topic: EventTopic;
  readonly type: string;
  /** Of the task or member. Keep `data` small: it stays in memory until EVENTS_KEPT_MAX later events. */
  readonly id?: string;
  readonly data: Readonly<Record<string, unknown>>;
}

type KeptEvent = Omit<NotificationParams<'event'>, 'subscription'>;

interface Subscription {
  readonly id: string;
  readonly session: Session;
  readonly topics: ReadonlySet<EventTopic>;
  readonly ids: ReadonlySet<string> | undefined;
  /** The next event to look at. */
  nextSeq: number;
  /** The first event that must be reported lost, when the client resumed from another boot. */
  lostFrom: number | undefined;
  /** starting: its answer is not sent yet. behind: the session is full, `drained` goes on. */
  state: 'starting' | 'current' | 'behind';
}

export class EventHub {
  readonly #boot: string;
  readonly #clock: Clock;
  /** Event `seq` stands at `seq % EVENTS_KEPT_MAX`. */
  readonly #kept: KeptEvent[] = [];
  #lastSeq = 0;
  readonly #subscriptions = new Map<string, Subscription>();
  readonly #sessions = new Map<Session, Set<Subscription>>();
  #nextSubscription = 1;

  constructor(boot: string, clock: Clock) {
    this.#boot = boot;
    this.#clock = clock;
  }

  get lastSeq(): number {
    return this.#lastSeq;
  }

  publish(event: PublishedEvent): void {
    const seq = ++this.#lastSeq;
    const at = toRfc3339(this.#clock.wallMs());
    const { topic, type, id, data } = event;
    const kept: KeptEvent = { seq, at, topic, type, data: { ...data }, ...(id ? { id } : {}) };
    this.#kept[seq % EVENTS_KEPT_MAX] = kept;
    for (const subscription of this.#subscriptions.values()) {
      if (subscription.state === 'current') this.#serve(subscription);
    }
  }

  subscribe(
    session: Session,
    params: MethodParams<'events.subscribe'>,
  ): Result<MethodResult<'events.subscribe'>, CoveyError> {
    const held = this.#sessions.get(session)?.size ?? 0;
    if (held >= SUBSCRIPTIONS_MAX) {
      return err(coveyError('SUBSCRIPTIONS_MAX', { limit: SUBSCRIPTIONS_MAX }));
    }
    const { after } = params;
    const sameBoot = after?.boot === this.#boot;
    if (sameBoot && after.seq > this.#lastSeq) {
      const why = `Parameter 'after.seq' is ${after.seq}, the last event is ${this.#lastSeq}`;
      return err(coveyError('INVALID_PARAMS', { why }));
    }
    const subscription: Subscription = {
      id: `e${this.#nextSubscription++}`,
      session,
      topics: new Set(params.topics),
      // Task ids in any spelling; the PeerIds of members have one.
      ids: params.ids && new Set(params.ids.map((id) => canonicalTaskId(id) ?? id)),
      nextSeq: after === undefined ? this.#lastSeq + 1 : sameBoot ? after.seq + 1 : 1,
      // 0: something of the earlier boot, nobody knows how much.
      lostFrom: after !== undefined && !sameBoot ? 0 : undefined,
      state: 'starting',
    };
    this.#add(subscription);
    const seq = subscription.nextSeq - 1;
    // In a later turn, so that the answer with the subscription's name comes first.
    this.#clock.after(0, () => this.#serve(subscription));
    return ok({ subscription: subscription.id, boot: this.#boot, seq });
  }

  /** False when this session has no such subscription of events. */
  unsubscribe(session: Session, id: string): boolean {
    const subscription = this.#subscriptions.get(id);
    if (subscription?.session !== session) return false;
    this.#subscriptions.delete(id);
    this.#sessions.get(session)?.delete(subscription);
    return true;
  }

  #add(subscription: Subscription): void {
    const { session } = subscription;
    this.#subscriptions.set(subscription.id, subscription);
    const known = this.#sessions.get(session);
    if (known) {
      known.add(subscription);
      return;
    }
    this.#sessions.set(session, new Set([subscription]));
    session.onClosed(() => {
      for (const { id } of this.#sessions.get(session) ?? []) this.#subscriptions.delete(id);
      this.#sessions.delete(session);
    });
    session.onDrained(() => {
      for (const other of this.#sessions.get(session) ?? []) {
        if (other.state === 'behind') this.#serve(other);
      }
    });
  }

  /** Sends what the subscription has not seen, until its session is full. */
  #serve(subscription: Subscription): void {
    if (this.#subscriptions.get(subscription.id) !== subscription) return;
    subscription.state = 'behind';
    if (!this.#tellGap(subscription)) return;
    while (subscription.nextSeq <= this.#lastSeq) {
      const event = this.#kept[subscription.nextSeq % EVENTS_KEPT_MAX];
      if (event && matches(subscription, event)) {
        const params = { subscription: subscription.id, ...event };
        if (subscription.session.notify('event', params) !== 'sent') return;
      }
      subscription.nextSeq += 1;
    }
    subscription.state = 'current';
  }

  /** False when the session took no word of the gap. */
  #tellGap(subscription: Subscription): boolean {
    const firstKept = Math.max(1, this.#lastSeq - EVENTS_KEPT_MAX + 1);
    if (subscription.lostFrom === undefined && subscription.nextSeq >= firstKept) return true;
    const from = subscription.lostFrom ?? subscription.nextSeq;
    const to = Math.max(subscription.nextSeq, firstKept) - 1;
    const gap = { subscription: subscription.id, from, to };
    if (subscription.session.notify('gap', gap) !== 'sent') return false;
    subscription.lostFrom = undefined;
    subscription.nextSeq = to + 1;
    return true;
  }
}

const matches = (subscription: Subscription, event: KeptEvent): boolean =>
  subscription.topics.has(event.topic) &&
  (subscription.ids === undefined || (event.id !== undefined && subscription.ids.has(event.id)));
