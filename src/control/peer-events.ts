/**
 * What the subscribers of this daemon hear: changes of members, of the tasks whose records lie here, and the ends of
 * those that they follow elsewhere.
 */
import type { MemberEventData, MethodParams, MethodResult } from '../api/methods.ts';
import { type CoveyError, coveyError } from '../base/errors.ts';
import { err, type Result } from '../base/result.ts';
import { canonicalTaskId } from '../base/task-id.ts';
import type { MemberEvent } from '../membership/types.ts';
import type { Peer } from '../peer/peer.ts';
import type { RecordState } from '../records/record.ts';
import { isTaskRecord, taskOf } from '../tasks/task.ts';
import { standingOf } from '../tasks/view.ts';
import type { Session } from './backend.ts';
import { EventHub, type PublishedEvent } from './events.ts';
import { BUSY_RETRY_AFTER_MS, FOLLOWED_IDS_MAX } from './limits.ts';

/** What rooms tell one another of members: links, loads, silences. It changes nothing that a client is shown. */
const INTERNAL: ReadonlySet<MemberEvent['type']> = new Set([
  'linked',
  'unlinked',
  'updated',
  'heard',
  'condemned',
]);

/** The ids of one subscription that are watched at their homes. */
interface Followed {
  readonly session: Session;
  /** Ids whose end has not come. */
  left: number;
  stop(): void;
}

export class PeerEvents {
  readonly #peer: Peer;
  readonly #hub: EventHub;
  /** By subscription; each entry has ids left, all together at most FOLLOWED_IDS_MAX. */
  readonly #followed = new Map<string, Followed>();
  #followedIds = 0;
  /** Ends from elsewhere that were published: each subscription that follows the id hears of the same record. */
  readonly #published = new WeakSet<RecordState>();

  constructor(peer: Peer) {
    this.#peer = peer;
    this.#hub = new EventHub(peer.identity.bootId, peer.ports.clock);
    this.#publishMembers();
    this.#publishTasks();
  }

  async subscribe(
    session: Session,
    params: MethodParams<'events.subscribe'>,
  ): Promise<Result<MethodResult<'events.subscribe'>, CoveyError>> {
    // Once each, however it is spelt; what is no task id is for the hub alone.
    const ids = new Set((params.ids ?? []).flatMap((text) => canonicalTaskId(text) ?? []));
    const elsewhere = [...ids].filter((id) => this.#peer.replica.get(id) === undefined);
    if (this.#followedIds + elsewhere.length > FOLLOWED_IDS_MAX) {
      const what = `${FOLLOWED_IDS_MAX} ids are followed for the clients of this daemon`;
      return err(coveyError('BUSY', { what, retry_after_ms: BUSY_RETRY_AFTER_MS }));
    }
    const subscribed = this.#hub.subscribe(session, params);
    if (subscribed.ok && elsewhere.length > 0)
      this.#follow(subscribed.value.subscription, session, elsewhere);
    return subscribed;
  }

  /** False when this session has no such subscription of events. */
  unsubscribe(session: Session, subscription: string): boolean {
    const followed = this.#followed.get(subscription);
    if (followed?.session === session) followed.stop();
    return this.#hub.unsubscribe(session, subscription);
  }

  #publish(event: PublishedEvent): void {
    // A closed peer sees an empty store, and members that it no longer listens to.
    if (!this.#peer.isClosed) this.#hub.publish(event);
  }

  #publishMembers(): void {
    this.#peer.membership.onEvent((event) => {
      if (INTERNAL.has(event.type)) return;
      const data = { ...this.#memberData(event) };
      this.#publish({ topic: 'member', type: event.type, id: event.member.peerId, data });
    });
  }

  #memberData({ member, was, evidence, cause }: MemberEvent): MemberEventData {
    const { name, incarnation } = member;
    const nameOf = (id: string): string => this.#peer.membership.member(id)?.name ?? id.slice(-8);
    const told = cause && {
      kind: cause.kind,
      seen_by: cause.seenBy.map((id) => ({ peer_id: id, name: nameOf(id) })),
      via: cause.via,
      ...(cause.silenceMs === undefined ? {} : { silence_ms: cause.silenceMs }),
      ...(cause.phi === undefined ? {} : { phi: Math.round(10 * cause.phi) / 10 }),
      ...(cause.bootCount === undefined ? {} : { boot_count: cause.bootCount }),
      ...(cause.returns === undefined ? {} : { returns: cause.returns }),
    };
    const why = { ...(evidence === undefined ? {} : { evidence }), ...(told && { cause: told }) };
    return { name, incarnation, ...(was === undefined ? {} : { was }), ...why };
  }

  #publishTasks(): void {
    const { visibility } = this.#peer.tasks;
    const now = (): number => this.#peer.ports.clock.wallMs();
    const standing = (record: RecordState) => {
      const task = taskOf(record);
      const attempt = task.attempts.at(-1)?.start.n ?? 0;
      return { ...standingOf(task, now()), attempt, queue: task.header.queue };
    };
    visibility.onTold((id, before) => {
      const record = visibility.get(id);
      if (record === undefined || !isTaskRecord(record)) return;
      const { state, reason, attempt, queue } = standing(record);
      // Compared with what could be told before, not with what was told last: that would have to be kept for each task.
      const known = before === undefined ? undefined : standing(before);
      if (known?.state === state && known.attempt === attempt) return;
      // Why a task waits is known at its owner alone; a state of its own is no reason.
      const because = reason === undefined || state === 'waiting' ? {} : { reason };
      this.#publish({ topic: 'task', type: state, id, data: { attempt, queue, ...because } });
    });
  }

  /** Ids that lie elsewhere: their ends are watched at their homes and published here. */
  #follow(subscription: string, session: Session, ids: readonly string[]): void {
    const giveUp = this.#peer.tasks.reader.watch(ids, (record) => {
      this.#publishEnd(record);
      followed.left -= 1;
      this.#followedIds -= 1;
      if (followed.left === 0) followed.stop();
    });
    const forget = session.onClosed(() => followed.stop());
    const followed: Followed = {
      session,
      left: ids.length,
      stop: () => {
        if (!this.#followed.delete(subscription)) return;
        this.#followedIds -= followed.left;
        giveUp();
        forget();
      },
    };
    this.#followedIds += ids.length;
    this.#followed.set(subscription, followed);
  }

  #publishEnd(record: RecordState): void {
    const { final, attempts } = taskOf(record);
    // A copy that came here since is told of by its own change.
    if (final === undefined || this.#peer.replica.get(record.id) !== undefined) return;
    if (this.#published.has(record)) return;
    this.#published.add(record);
    const data = { attempt: attempts.at(-1)?.start.n ?? 0, reason: final.reason };
    this.#publish({ topic: 'task', type: final.state, id: record.id, data });
  }
}
