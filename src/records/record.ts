/**
 * A record of the available path, and its join.
 *
 * A record is an immutable header, a grow-only home and a grow-only set of *facts*. A fact is written once by one
 * home store under that store's next dot (storeId, seq) and never changes: an attempt, its end, a cancel intent, a
 * final. What a record *means* is derived from the set by pure functions of its kind; nothing is ever replaced.
 *
 * The clock is a version vector derived from the dots: per store the highest seq among the facts (dotted version
 * vectors, Preguiça et al. 2010, where every event keeps its own dot). States travel whole, or as all facts that
 * the receiver's clock does not cover, so "seq at or below the clock" always means "has it".
 *
 * Do not let a fact be edited in place, not even by its author: two copies of one dot with different values have
 * no order, and the join below then only promises that all replicas pick the same one.
 */
import { digestOf } from '../base/hash.ts';
import {
  decodeValue,
  encodeToKeep,
  encodeValue,
  WIRE_ITEMS_MAX,
  type WireValue,
} from '../wire/codec.ts';
import { isWireMap, type WireMap } from '../wire/envelope.ts';

export type StoreId = string;
export type RecordKind = 'task' | 'key';
/** Ids of keys begin with it; no task id does. */
export const KEY_PREFIX = 'key-';

export interface Fact {
  readonly store: StoreId;
  readonly seq: number;
  /** `t` names the type of the fact; the rest belongs to the kind of the record. */
  readonly value: WireMap;
}

/** Per store the highest seq seen. */
export type VersionVector = Readonly<Record<StoreId, number>>;

export interface RecordState {
  readonly id: string;
  readonly kind: RecordKind;
  /** Orders concurrent creations of one id: the smaller stamp wins, whatever else differs. */
  readonly stamp: number;
  /** Immutable, in the encoding of the kind. */
  readonly header: Uint8Array;
  /** Large immutable part (payload, stdin), kept apart so that a change never rewrites it; empty if none. */
  readonly blobDigest: string;
  /** The home chosen at creation; later additions are facts. Sorted. */
  readonly firstHome: readonly StoreId[];
  /** Sorted by (store, seq). */
  readonly facts: readonly Fact[];
  /** Fields of later versions, as they came: part of the creation, as the header is. Absent: none. */
  readonly later?: WireMap;
}

/** Of the fields of later versions; a record with more is not read. */
export const LATER_BYTES_MAX = 16_384;

/** Facts of one record: attempts at their limit (PLACED_MAX of the tasks room) with what belongs to each, and room. */
export const FACTS_MAX = 4_000;

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
const compareDots = (a: Fact, b: Fact): number => compareText(a.store, b.store) || a.seq - b.seq;

function unionFacts(a: readonly Fact[], b: readonly Fact[]): readonly Fact[] {
  const out: Fact[] = [];
  let added = false;
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    const left = a[i];
    const right = b[j];
    const order = left === undefined ? 1 : right === undefined ? -1 : compareDots(left, right);
    if (order < 0 && left !== undefined) {
      out.push(left);
      i += 1;
    } else if (order > 0 && right !== undefined) {
      out.push(right);
      added = true;
      j += 1;
    } else if (left !== undefined && right !== undefined) {
      const chosen = smallerFact(left, right);
      if (chosen !== left) added = true;
      out.push(chosen);
      i += 1;
      j += 1;
    }
  }
  return added ? out : a;
}

const generationOf = (fact: Fact): number => (typeof fact.value.g === 'number' ? fact.value.g : 0);

/**
 * A key would collect an id for every task that ever used it. Its facts carry a generation; those more than one
 * behind the newest are dropped, by everybody alike: the newest generation only rises, so what is dropped in one
 * order of joins is dropped in every order, and the join stays a join. Answers `kept` itself if that is the result.
 */
function newest(kind: RecordKind, facts: readonly Fact[], kept: readonly Fact[]): readonly Fact[] {
  if (kind !== 'key' || facts === kept) return facts;
  const top = facts.reduce((highest, fact) => Math.max(highest, generationOf(fact)), 0);
  const left = facts.filter((fact) => generationOf(fact) >= top - 1);
  const isSame = left.length === kept.length && left.every((fact, i) => fact === kept[i]);
  return isSame ? kept : left;
}

/** One dot, one value: only a store that reused a dot breaks that, and then all replicas must agree all the same. */
const smallerFact = (a: Fact, b: Fact): Fact =>
  a === b || compareBytes(factBytes(a), factBytes(b)) <= 0 ? a : b;

export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

/** The creation that stands: smaller stamp, then smaller header, then smaller blob digest, then what says more. */
function creationOrder(a: RecordState, b: RecordState): number {
  return (
    a.stamp - b.stamp ||
    (a.header === b.header ? 0 : compareBytes(a.header, b.header)) ||
    compareText(a.blobDigest, b.blobDigest) ||
    compareCreations(creationBytes(a), creationBytes(b))
  );
}

/** A copy that came by a version which dropped fields gives way to one that still has them. */
const compareCreations = (a: Uint8Array, b: Uint8Array): number =>
  a === b ? 0 : b.length - a.length || compareBytes(a, b);

/**
 * The one join of the available path: total, commutative, associative, idempotent. Answers `a` itself when `b`
 * adds nothing, so that callers can tell by identity whether anything must be written.
 */
export function joinRecords(a: RecordState, b: RecordState): RecordState {
  if (a === b) return a;
  const facts = newest(a.kind, unionFacts(a.facts, b.facts), a.facts);
  const base = creationOrder(a, b) <= 0 ? a : b;
  const home = unionSorted(a.firstHome, b.firstHome);
  if (base === a && facts === a.facts && home === a.firstHome) return a;
  return { ...base, firstHome: home, facts };
}

function unionSorted(a: readonly string[], b: readonly string[]): readonly string[] {
  if (a === b) return a;
  const all = new Set(a);
  for (const item of b) all.add(item);
  return all.size === a.length ? a : [...all].sort(compareText);
}

export function clockOf(record: RecordState): VersionVector {
  const clock: Record<StoreId, number> = {};
  for (const fact of record.facts) {
    if (fact.seq > (clock[fact.store] ?? 0)) clock[fact.store] = fact.seq;
  }
  return clock;
}

/** Whether everything that `theirs` has seen, `ours` has seen too. */
export const covers = (ours: VersionVector, theirs: VersionVector): boolean =>
  Object.entries(theirs).every(([store, seq]) => (ours[store] ?? 0) >= seq);

/** The facts that a copy with this clock lacks. */
export const factsBeyond = (record: RecordState, clock: VersionVector): readonly Fact[] =>
  record.facts.filter((fact) => fact.seq > (clock[fact.store] ?? 0));

export function withFact(record: RecordState, fact: Fact): RecordState {
  const facts = [...record.facts, fact].sort(compareDots);
  return { ...record, facts: newest(record.kind, facts, record.facts) };
}

const homes = new WeakMap<RecordState, readonly StoreId[]>();

/** All stores that hold the record by right: the first home and those added since. */
export function homeOf(record: RecordState): readonly StoreId[] {
  const known = homes.get(record);
  if (known !== undefined) return known;
  const home = readHome(record);
  homes.set(record, home);
  return home;
}

function readHome(record: RecordState): readonly StoreId[] {
  const home = new Set(record.firstHome);
  for (const fact of record.facts) {
    if (fact.value.t === 'home' && typeof fact.value.store === 'string') home.add(fact.value.store);
  }
  return [...home];
}

const hashes = new WeakMap<RecordState, string>();
/** Facts are shared by the versions of a record: each is hashed once, however often its record changes. */
const factHashes = new WeakMap<Fact, string>();

export function factHash(fact: Fact): string {
  const known = factHashes.get(fact);
  if (known !== undefined) return known;
  const hash = digestOf(factBytes(fact));
  factHashes.set(fact, hash);
  return hash;
}

/**
 * Equal for equal content, whatever the order in which it was learned. Values of facts are part of it: a dot should
 * have one value, but where it has two (a disk that gave back something else, a dot used twice), partners must see
 * that they differ, and the join then lets them agree.
 */
export function contentHash(record: RecordState): string {
  const known = hashes.get(record);
  if (known !== undefined) return known;
  const facts = record.facts.map(factHash).join('');
  const hash = digestOf(`${creationOf(record).digest}/${record.firstHome.join('')}/${facts}`);
  hashes.set(record, hash);
  return hash;
}

// ---- bytes ----------------------------------------------------------------------------------------------
//
// Whoever writes a fact, or creates a record, encodes it once; from there on those very bytes are stored, hashed and
// passed on. So a version costs the bytes of its new facts, and what another version of Covey has put in stays as it was.

const encodedFacts = new WeakMap<Fact, Uint8Array>();

/** CBOR of `[store, seq, value]`. */
export function factBytes(fact: Fact): Uint8Array {
  const known = encodedFacts.get(fact);
  if (known !== undefined) return known;
  const bytes = encodeToKeep([fact.store, fact.seq, fact.value]);
  encodedFacts.set(fact, bytes);
  return bytes;
}

/** Items that are left to a list of facts: without it each of thousands could be as rich as a frame may be. */
interface Budget {
  items: number;
}

function decodeFact(bytes: WireValue | undefined, budget: Budget): Fact | undefined {
  if (!(bytes instanceof Uint8Array)) return undefined;
  const decoded = decodeValue(bytes, budget);
  if (!decoded.ok || !Array.isArray(decoded.value)) return undefined;
  const [store, seq, value] = decoded.value as readonly WireValue[];
  if (!isStoreId(store) || !isSeq(seq) || !isWireMap(value)) return undefined;
  const fact = { store, seq, value };
  encodedFacts.set(fact, bytes);
  return fact;
}

export const encodeFacts = (facts: readonly Fact[]): WireValue => facts.map(factBytes);

export const decodeFacts = (value: WireValue | undefined): Fact[] | undefined =>
  Array.isArray(value) ? factsOf(value as readonly WireValue[], newBudget()) : undefined;

const newBudget = (): Budget => ({ items: WIRE_ITEMS_MAX });

function factsOf(list: readonly WireValue[], budget: Budget): Fact[] | undefined {
  if (list.length > FACTS_MAX) return undefined;
  const facts: Fact[] = [];
  for (const item of list) {
    const fact = decodeFact(item, budget);
    if (fact === undefined) return undefined;
    facts.push(fact);
  }
  facts.sort(compareDots);
  // A dot that occurs twice would stay twice: the join below compares two lists, not one with itself.
  const isSet = facts.every((fact, i) => i === 0 || compareDots(facts[i - 1] ?? fact, fact) < 0);
  return isSet ? facts : undefined;
}

const STORE_ID = /^[0-9a-f]{32}$/;
/** Part of a key: the store throws at one that is not printable. */
const RECORD_ID = /^[\x21-\x7e]{1,64}$/;
const isStoreId = (value: WireValue | undefined): value is StoreId =>
  typeof value === 'string' && STORE_ID.test(value);
/** Dots count from 1: a clock says 0 for "nothing seen". */
const isSeq = (value: WireValue | undefined): value is number =>
  Number.isSafeInteger(value) && Number(value) >= 1;

/** What never changes of a record, but for its header: its bytes, and the digest of both. */
interface Creation extends Pick<RecordState, 'id' | 'kind' | 'stamp' | 'blobDigest' | 'later'> {
  readonly bytes: Uint8Array;
  readonly digest: string;
}

/** By header, which all versions of a record share. */
const creations = new WeakMap<Uint8Array, Creation>();

function creationOf(record: RecordState): Creation {
  const known = creations.get(record.header);
  if (known !== undefined && isCreationOf(known, record)) return known;
  const { id, kind, stamp, blobDigest, later } = record;
  const about = { ...later, id, kind, stamp, blob_digest: blobDigest };
  return keepCreation(record, encodeToKeep(about));
}

/** A header may have been given to another record, or another stamp. */
const isCreationOf = (creation: Creation, record: RecordState): boolean =>
  creation.id === record.id &&
  creation.stamp === record.stamp &&
  creation.blobDigest === record.blobDigest &&
  creation.kind === record.kind &&
  creation.later === record.later;

function keepCreation(record: RecordState, bytes: Uint8Array): Creation {
  const { id, kind, stamp, blobDigest, later, header } = record;
  const digest = digestOf(bytes) + digestOf(header);
  const about = later === undefined ? {} : { later };
  const creation: Creation = { id, kind, stamp, blobDigest, ...about, bytes, digest };
  creations.set(header, creation);
  return creation;
}

/** CBOR of `{id, kind, stamp, blob_digest}` and fields of later versions. */
const creationBytes = (record: RecordState): Uint8Array => creationOf(record).bytes;

/**
 * A record without its blob, as it lies in the store and travels between peers: CBOR of
 * `[creation, header, home, fact…]`, of which creation, header and facts are bytes.
 */
export const encodeRecord = (record: RecordState): Uint8Array =>
  encodeValue([
    creationBytes(record),
    record.header,
    record.firstHome,
    ...record.facts.map(factBytes),
  ]);

/** Undefined: these bytes are no record. */
export function decodeRecord(bytes: WireValue | undefined): RecordState | undefined {
  if (!(bytes instanceof Uint8Array)) return undefined;
  const budget = newBudget();
  const decoded = decodeValue(bytes, budget);
  if (!decoded.ok || !Array.isArray(decoded.value)) return undefined;
  const [creation, header, home, ...list] = decoded.value as readonly WireValue[];
  if (!(creation instanceof Uint8Array) || !(header instanceof Uint8Array)) return undefined;
  if (!Array.isArray(home) || !home.every(isStoreId)) return undefined;
  const about = decodeCreation(creation, budget);
  const facts = about && factsOf(list, budget);
  if (about === undefined || facts === undefined) return undefined;
  const firstHome = [...new Set(home as string[])].sort(compareText);
  // What others carry of older generations is none of the set: a join drops it in one order, and would keep it in the other.
  const record: RecordState = { ...about, header, firstHome, facts: newest(about.kind, facts, []) };
  keepCreation(record, creation);
  return record;
}

type About = Omit<RecordState, 'header' | 'firstHome' | 'facts'>;

function decodeCreation(bytes: Uint8Array, budget: Budget): About | undefined {
  const decoded = decodeValue(bytes, budget);
  return decoded.ok ? aboutOf(decoded.value) : undefined;
}

function aboutOf(value: WireValue): About | undefined {
  if (!isWireMap(value)) return undefined;
  const { id, kind, stamp, blob_digest: blobDigest } = value;
  if (typeof id !== 'string' || !RECORD_ID.test(id) || (kind !== 'task' && kind !== 'key'))
    return undefined;
  if (!Number.isSafeInteger(stamp) || typeof blobDigest !== 'string') return undefined;
  // Kinds have ids of their own, so that no two records of one id are of different kinds.
  if ((kind === 'key') !== id.startsWith(KEY_PREFIX)) return undefined;
  const about: About = { id, kind, stamp: stamp as number, blobDigest };
  const later = laterFields(value);
  if (later === undefined) return about;
  return encodeValue(later).length > LATER_BYTES_MAX ? undefined : { ...about, later };
}

const FIELDS: ReadonlySet<string> = new Set(['id', 'kind', 'stamp', 'blob_digest']);

function laterFields(value: WireMap): WireMap | undefined {
  const names = Object.keys(value).filter((name) => !FIELDS.has(name));
  if (names.length === 0) return undefined;
  return Object.fromEntries(names.sort().map((name) => [name, value[name]]));
}
