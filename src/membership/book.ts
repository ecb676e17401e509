/**
 * The peer book: what membership keeps in `identity/`. Mesh id, epoch, allow-list entries of
 * admissions and used invites are durable before anybody hears of them; what was merely learned
 * from others is written a moment later, for anti-entropy brings it again.
 */
import { toHex } from '../base/hash.ts';
import { err, ok, type Result } from '../base/result.ts';
import type { Logger } from '../base/telemetry.ts';
import type { Clock } from '../ports/clock.ts';
import type { Identity, PeerId } from '../ports/identity.ts';
import { type AppendResult, prefixEnd, type Store, type StoreOp } from '../ports/store.ts';
import { decodeValue, encodeValue } from '../wire/codec.ts';
import { isWireMap, type WireMap } from '../wire/envelope.ts';
import { decodeFact, type Fact, factBytes, isKind, readFacts, type SelfRecord } from './fact.ts';
import { BOOK_FIRST_MS, BOOK_FLUSH_MS, INVITES_MAX, SEEN_STORES_MAX } from './limits.ts';
import { readInt, readText } from './read.ts';
import type { SeenStore } from './store-check.ts';
import { factKey } from './view.ts';

const MESH_KEY = 'membership/mesh';
const EPOCH_KEY = 'membership/epoch';
const FACTS = 'membership/fact/';
const STORES = 'membership/store/';
/** Not deleted with a mesh: records are kept when their peer joins another one. */
const FORMER = 'membership/former/';
const INVITES = 'membership/invite/';
const REDEEMED = 'membership/redeemed/';
const EXPIRED_KEPT_MS = 86_400_000;
const PAGE = 1_000;
const URGENT: readonly string[] = ['revocation', 'merge'];

export interface Invite {
  readonly expiresAtMs: number;
  /** It lets another mesh in, and no single peer. */
  readonly forMerge: boolean;
}

export interface MeshIdentity {
  readonly meshId: string;
  readonly root: PeerId;
}

const factOp = (fact: Fact): StoreOp => ({ put: FACTS + factKey(fact), value: factBytes(fact) });

export class Book {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #log: Logger;
  /** The one that was presented last at the end. */
  readonly #seenStores = new Map<string, SeenStore>();
  /** Key to what shall be written next, or nothing: it goes. One write for many changes. */
  #dirty = new Map<string, Uint8Array | undefined>();
  #flushing = false;
  #closed = false;

  constructor(store: Store, clock: Clock, log: Logger) {
    this.#store = store;
    this.#clock = clock;
    this.#log = log;
    for (const map of this.#maps(STORES)) {
      const seen = readSeenStore(map.value);
      if (seen) this.#seenStores.set(seen.storeId, seen);
    }
  }

  #read(key: string): WireMap | undefined {
    const bytes = this.#store.get(key);
    const decoded = bytes && decodeValue(bytes);
    return decoded?.ok && isWireMap(decoded.value) ? decoded.value : undefined;
  }

  *#pages(prefix: string): Generator<{ key: string; value: Uint8Array }> {
    for (let from = prefix; ; ) {
      const page = this.#store.range({ from, to: prefixEnd(prefix), limit: PAGE });
      yield* page;
      const last = page.at(-1);
      if (!last || page.length < PAGE) return;
      from = `${last.key} `;
    }
  }

  *#maps(prefix: string): Generator<{ key: string; value: WireMap }> {
    for (const { key, value } of this.#pages(prefix)) {
      const decoded = decodeValue(value);
      if (decoded.ok && isWireMap(decoded.value)) yield { key, value: decoded.value };
    }
  }

  mesh(): Result<MeshIdentity | undefined, string> {
    if (this.#store.get(MESH_KEY) === undefined) return ok(undefined);
    const map = this.#read(MESH_KEY);
    const meshId = readText(map?.mesh_id);
    const root = readText(map?.root);
    return meshId && root ? ok({ meshId, root }) : err('the mesh id in identity/ is unreadable');
  }

  epoch(): number {
    return readInt(this.#read(EPOCH_KEY)?.epoch) ?? 0;
  }

  /** The store of the last start; undefined before the first one, and after one of an earlier version. */
  lastStore(): string | undefined {
    return readText(this.#read(EPOCH_KEY)?.store_id);
  }

  facts(meshId: string, verify: Identity['verify']): Fact[] {
    const rows = [...this.#pages(FACTS)];
    const values = rows.map(({ value }) => {
      const decoded = decodeValue(value);
      return decoded.ok ? decoded.value : null;
    });
    return readFacts(values, new Set([meshId]), verify, (why, index) => {
      const key = rows[index]?.key ?? '';
      this.#log.log('warn', 'a fact of the peer book is ignored', { key, why });
    });
  }

  /**
   * What is still under way when the daemon stops must not write to a store that is being closed.
   */
  #append(batch: readonly StoreOp[]): Promise<AppendResult> {
    if (!this.#closed) return this.#store.append(batch);
    return Promise.resolve({ ok: false, code: 'failed', detail: 'the peer book is closed' });
  }

  /** Of a start with this store; with the one that this peer had before, if it has another one now. */
  saveEpoch(epoch: number, storeId: string, former?: string): Promise<AppendResult> {
    const op = { put: EPOCH_KEY, value: encodeValue({ epoch, store_id: storeId }) };
    if (former === undefined) return this.#append([op]);
    return this.#append([op, { put: FORMER + former, value: encodeValue({ store_id: former }) }]);
  }

  /** This peer's own record as it was written last. */
  ownRecord(peerId: PeerId, meshId: string, verify: Identity['verify']): SelfRecord | undefined {
    const bytes = this.#store.get(`${FACTS}record/${peerId}`);
    const fact = bytes && decodeFact(bytes, meshId, verify);
    return fact?.ok && isKind(fact.value, 'record') ? fact.value.statement : undefined;
  }

  /** Stores that this peer had, and that were not removed from the mesh yet. */
  formerStores(): string[] {
    return [...this.#maps(FORMER)].flatMap(({ value }) => readText(value.store_id) ?? []);
  }

  forgetFormer(storeId: string): void {
    void this.#append([{ del: FORMER + storeId }]);
  }

  saveFacts(facts: readonly Fact[]): Promise<AppendResult> {
    return this.#append(facts.map(factOp));
  }

  /** Another mesh: its id and first facts, in place of all that was known of the one before. */
  saveMesh(mesh: MeshIdentity, facts: readonly Fact[]): Promise<AppendResult> {
    this.#dirty.clear();
    const old: StoreOp[] = [];
    for (const prefix of [FACTS, STORES, INVITES, REDEEMED]) {
      for (const { key } of this.#pages(prefix)) old.push({ del: key });
    }
    this.#seenStores.clear();
    const value = encodeValue({ mesh_id: mesh.meshId, root: mesh.root });
    return this.#append([...old, { put: MESH_KEY, value }, ...facts.map(factOp)]);
  }

  /** Writes soon; repeated changes of one key are one write. */
  rememberFacts(facts: readonly Fact[]): void {
    // Whoever forgot its only neighbour in a crash would take itself for a mesh of one, and start alone what others run.
    const isFirst = facts.some((fact) => isKind(fact, 'record') && !this.#knows(fact));
    for (const fact of facts) this.#later(FACTS + factKey(fact), factBytes(fact));
    if (this.#closed) return;
    // A peer that forgot it in a crash would let the revoked one in, while nobody else is there to tell.
    // One that forgot a merge would turn away half of its mesh.
    const isUrgent = facts.some(({ statement: { kind } }) => URGENT.includes(kind));
    if (isUrgent) this.#clock.after(0, () => void this.#flushSoon());
    else if (isFirst) this.#clock.after(BOOK_FIRST_MS, () => void this.#flushSoon());
  }

  #knows(fact: Fact): boolean {
    const key = FACTS + factKey(fact);
    return this.#dirty.has(key) || this.#store.get(key) !== undefined;
  }

  seenStores(): SeenStore[] {
    return [...this.#seenStores.values()];
  }

  rememberStore(said: SeenStore): void {
    const known = this.#seenStores.get(said.storeId);
    // A hello may be older than what was seen of the same store since.
    const seen = { ...said, seq: Math.max(said.seq, known?.seq ?? 0) };
    this.#seenStores.delete(seen.storeId);
    this.#seenStores.set(seen.storeId, seen);
    this.#later(STORES + seen.storeId, seenBytes(seen));
    if (known === undefined) this.#forgetOldest(seen.peerId);
  }

  /** One that mints a store at each start would else have everybody remember all of them, for good. */
  #forgetOldest(peerId: PeerId): void {
    const its = this.seenStores().filter((seen) => seen.peerId === peerId);
    for (const { storeId } of its.slice(0, Math.max(0, its.length - SEEN_STORES_MAX))) {
      this.#seenStores.delete(storeId);
      this.#later(STORES + storeId, undefined);
    }
  }

  /**
   * A change of that store was seen. Written with whatever is written next: it only sharpens what the next hello is
   * compared with, and must not cost a sync of its own.
   */
  sawSeq(storeId: string, seq: number): void {
    const known = this.#seenStores.get(storeId);
    if (known === undefined || known.seq >= seq || this.#closed) return;
    const seen = { ...known, seq };
    this.#seenStores.set(storeId, seen);
    this.#dirty.set(STORES + storeId, seenBytes(seen));
  }

  #later(key: string, value: Uint8Array | undefined): void {
    if (this.#closed) return;
    this.#dirty.set(key, value);
    if (this.#flushing) return;
    this.#flushing = true;
    this.#clock.after(BOOK_FLUSH_MS, () => void this.#flushSoon());
  }

  async #flushSoon(): Promise<void> {
    this.#flushing = false;
    if (!this.#closed) await this.flush();
  }

  async flush(): Promise<void> {
    if (this.#dirty.size === 0) return;
    const batch = [...this.#dirty].map(([key, value]): StoreOp => {
      return value === undefined ? { del: key } : { put: key, value };
    });
    this.#dirty = new Map();
    const result = await this.#append(batch);
    if (!result.ok) this.#log.log('warn', 'the peer book was not written', { why: result.detail });
  }

  async close(): Promise<void> {
    const flushed = this.flush();
    this.#closed = true;
    await flushed;
  }

  // Invites, by the hash of their secret: the book lets nobody redeem.

  #invites(): { readonly key: string; readonly expiresAtMs: number }[] {
    return [...this.#maps(INVITES)].map(({ key, value }) => {
      return { key, expiresAtMs: readInt(value.expires_at_ms) ?? 0 };
    });
  }

  /** Those that may still be redeemed. */
  openInvites(nowWallMs: number): number {
    return this.#invites().filter(({ expiresAtMs }) => expiresAtMs >= nowWallMs).length;
  }

  invite(secretHash: string): Invite | undefined {
    const map = this.#read(INVITES + secretHash);
    const expiresAtMs = readInt(map?.expires_at_ms);
    return expiresAtMs === undefined ? undefined : { expiresAtMs, forMerge: map?.merge === true };
  }

  redeemedBy(secretHash: string): PeerId | undefined {
    return readText(this.#read(REDEEMED + secretHash)?.peer_id);
  }

  /** Also drops those that expired long ago, and of the expired ones as many as there is no room for. */
  saveInvite(secretHash: string, invite: Invite, nowWallMs: number): Promise<AppendResult> {
    const { expiresAtMs, forMerge } = invite;
    const known = this.#invites().sort((a, b) => a.expiresAtMs - b.expiresAtMs);
    const batch: StoreOp[] = [];
    for (const invited of known) {
      if (invited.expiresAtMs >= nowWallMs) break;
      // Kept a day longer, so that a late comer hears `expired` and not `used`.
      const isRoom = known.length - batch.length < INVITES_MAX;
      if (!isRoom || invited.expiresAtMs + EXPIRED_KEPT_MS < nowWallMs)
        batch.push({ del: invited.key });
    }
    const value = encodeValue({ expires_at_ms: expiresAtMs, ...(forMerge && { merge: true }) });
    return this.#append([...batch, { put: INVITES + secretHash, value }]);
  }

  /** The secret is gone and the facts are there, in one write. */
  saveRedeemed(secretHash: string, peerId: PeerId, facts: readonly Fact[]): Promise<AppendResult> {
    return this.#append([
      { del: INVITES + secretHash },
      { put: REDEEMED + secretHash, value: encodeValue({ peer_id: peerId }) },
      ...facts.map(factOp),
    ]);
  }
}

export const newMeshId = (bytes: Uint8Array): string => toHex(bytes);

const seenBytes = ({ storeId, peerId, bootCount, bootId, seq }: SeenStore): Uint8Array =>
  encodeValue({ store_id: storeId, peer_id: peerId, boot_count: bootCount, boot_id: bootId, seq });

function readSeenStore(map: WireMap): SeenStore | undefined {
  const storeId = readText(map.store_id);
  const peerId = readText(map.peer_id);
  const bootCount = readInt(map.boot_count);
  const bootId = readText(map.boot_id);
  const seq = readInt(map.seq);
  if (!storeId || !peerId || bootCount === undefined || !bootId || seq === undefined) return;
  return { storeId, peerId, bootCount, bootId, seq };
}
