/**
 * Whole copies between two partners that were found to differ. Other than sharing, this trusts nothing that was
 * remembered of the partner: it has just said that it holds something else.
 */
import type { CoveyError } from '../base/errors.ts';
import { ok, type Result } from '../base/result.ts';
import { takes } from '../ports/room.ts';
import { encodeValue, type WireValue } from '../wire/codec.ts';
import type { WireMap } from '../wire/envelope.ts';
import type { Messaging } from '../wire/messaging.ts';
import { type Copy, readCopies } from './copies.ts';
import { contentHash, encodeRecord, type RecordState } from './record.ts';
import type { Replica } from './replica.ts';
import { ASK_IDS_MAX, type Sharing } from './sharing.ts';
import { decodeTombstone } from './tombstone.ts';

/** Records on their way to one partner at once: its disk writes what comes together in one go. */
const PUSHES_AT_ONCE = 64;
/** They end with the record that passes this: 16 MiB may wait to be written to one peer. */
const PUSH_BYTES_MAX = 4 * 1_024 * 1_024;
/** Questions under way at once; each is answered with 2 MiB and one record at most. */
const ASKS_AT_ONCE = 4;

export interface Exchanged {
  readonly pulled: number;
  readonly pushed: number;
}

export interface Sent {
  readonly pushed: number;
  /** The peer's disk took something, or did not say that it is full. */
  readonly hasRoom: boolean;
}

/** What became of one record: the partner has it, has no room for it, or did not answer or refused it. */
type Pushed = 'taken' | 'no_room' | 'not_taken';

interface Copies {
  readonly copies: readonly Copy[];
  /** Ids of the question that the answer has come to; the rest is to be asked again. */
  readonly answered: number;
  readonly stones: WireValue | undefined;
}

export class Exchange {
  readonly #replica: Replica;
  readonly #sharing: Sharing;
  readonly #messaging: Messaging;

  constructor(deps: { replica: Replica; sharing: Sharing; messaging: Messaging }) {
    this.#replica = deps.replica;
    this.#sharing = deps.sharing;
    this.#messaging = deps.messaging;
  }

  /** Joins what the peer holds of these, answers the number of records taken. */
  async pull(peer: string, ids: readonly string[]): Promise<number> {
    // What this disk has no room for would be fetched and thrown away again in every round.
    if (!takes(this.#replica.room, 'extend')) return 0;
    // Records that are not here come with their payload, others have it already.
    const missing = ids.filter((id) => this.#replica.get(id) === undefined);
    const { pulled } = await this.#fetch(peer, missing, true);
    return pulled;
  }

  /**
   * Brings both copies of each record to their join, here first: what the peer's copy lacks is then known, and it
   * gets nothing if it lacks nothing.
   */
  async merge(peer: string, ids: readonly string[]): Promise<Exchanged> {
    const { pulled, theirs, refused } = await this.#fetch(peer, ids, false);
    // Two creations under one id: the other payload may be the one that stands.
    const again = await this.#fetch(peer, refused, true);
    const stale = ids.filter((id) => {
      const mine = this.#replica.get(id);
      const copy = theirs.get(id);
      return mine !== undefined && (copy === undefined || contentHash(copy) !== contentHash(mine));
    });
    const { pushed } = await this.push(peer, stale, theirs);
    return { pulled: pulled + again.pulled, pushed };
  }

  /**
   * Sends whole records, without the payload that the peer's own copy has; answers how many it has taken. Ends where
   * the peer has room for none of them: it would be sent all that it lacks in every round until its disk is freed.
   */
  async push(
    peer: string,
    ids: readonly string[],
    theirs: ReadonlyMap<string, RecordState> = new Map(),
  ): Promise<Sent> {
    let pushed = 0;
    for (let at = 0; at < ids.length; ) {
      const bodies = new Map<string, WireMap>();
      let bytes = 0;
      for (; at < ids.length && bodies.size < PUSHES_AT_ONCE && bytes < PUSH_BYTES_MAX; at++) {
        const id = ids[at] ?? '';
        const body = this.#bodyOf(id, theirs.get(id)?.blobDigest);
        if (body === undefined) continue;
        bodies.set(id, body);
        bytes += encodeValue(body).length;
      }
      const sent = [...bodies].map(([id, body]) => this.#pushOne(peer, id, body));
      const done = await Promise.all(sent);
      pushed += done.filter((how) => how === 'taken').length;
      const hasRoom = done.includes('taken') || !done.includes('no_room');
      if (!hasRoom) return { pushed, hasRoom };
    }
    return { pushed, hasRoom: true };
  }

  #bodyOf(id: string, theirBlob: string | undefined): WireMap | undefined {
    const record = this.#replica.get(id);
    if (record === undefined) return undefined;
    const hasBlob = record.blobDigest === '' || record.blobDigest === theirBlob;
    const blob = hasBlob ? undefined : this.#replica.blob(id);
    const copy = { record: encodeRecord(record), ...(blob === undefined ? {} : { blob }) };
    return { ...copy, fresh: false, stand_in: false };
  }

  async #pushOne(peer: string, id: string, body: WireMap): Promise<Pushed> {
    const answer = await this.#messaging.call(peer, 'rec.put', body, { frameClass: 'bulk' });
    if (!answer.ok) return answer.error.code === 'STORE_FULL' ? 'no_room' : 'not_taken';
    const stone = decodeTombstone(answer.value.tombstone);
    if (stone !== undefined) await this.#replica.bury(id, stone);
    return stone === undefined ? 'taken' : 'not_taken';
  }

  async #fetch(
    peer: string,
    ids: readonly string[],
    blobs: boolean,
  ): Promise<{ pulled: number; theirs: Map<string, RecordState>; refused: string[] }> {
    const theirs = new Map<string, RecordState>();
    const refused: string[] = [];
    let pulled = 0;
    const left = [...ids];
    const one = async (): Promise<void> => {
      while (left.length > 0) {
        const asked = left.splice(0, ASK_IDS_MAX);
        const answer = await this.#ask(peer, asked, blobs);
        if (!answer.ok) return;
        left.push(...asked.slice(answer.value.answered));
        await this.#sharing.buryAll(answer.value.stones);
        // At once: the disk writes what comes together in one go.
        await Promise.all(
          answer.value.copies.map(async (copy) => {
            const { id } = copy.record;
            theirs.set(id, copy.record);
            const done = await this.#sharing.accept({ ...copy, fresh: false, standIn: false });
            if (done.ok) pulled += 1;
            else if (!blobs && copy.record.blobDigest !== '') refused.push(id);
          }),
        );
      }
    };
    await Promise.all(Array.from({ length: ASKS_AT_ONCE }, one));
    return { pulled, theirs, refused };
  }

  async #ask(
    peer: string,
    ids: readonly string[],
    blobs: boolean,
  ): Promise<Result<Copies, CoveyError>> {
    const answer = await this.#messaging.call(
      peer,
      'rec.ask',
      { ids, blobs },
      { frameClass: 'bulk' },
    );
    if (!answer.ok) return answer;
    const { copies, answered, stones } = answer.value;
    const count = typeof answered === 'number' ? answered : ids.length;
    return ok({ copies: readCopies(copies), answered: Math.max(1, count), stones });
  }
}
