/**
 * Pages of (id, hash): what one partner holds of the leaves that differ, and what the other says to it. A page is the
 * stretch between two positions in the order of (leaf, id); both sides list it, and whoever has too much for one
 * message says how far it got.
 */
import type { WireValue } from '../wire/codec.ts';
import { isWireMap, type WireMap } from '../wire/envelope.ts';
import { LEAVES, sumBytes } from './merkle-tree.ts';
import type { SharedEntry } from './partner-index.ts';
import type { Replica } from './replica.ts';
import { isBytes } from './sync-sums.ts';
import { encodeTombstone } from './tombstone.ts';

/** (id, hash) pairs of one page, and ids offered in one answer: 25 KiB each way. */
export const ITEMS_MAX = 500;
/** Leaves of one page: of a million records 8,000, which are listed in 30 ms. */
const PAGE_LEAVES_MAX = 128;
const ID_LENGTH_MAX = 64;

/** Behind this record. */
export interface Position {
  readonly leaf: number;
  readonly id: string;
}

type List = (leaf: number, after: string) => Iterable<SharedEntry>;

interface Page {
  readonly body: WireMap;
  /** Undefined: it is the last. */
  readonly upto: Position | undefined;
}

const encodePosition = (at: Position): WireValue => [at.leaf, at.id];

function readPosition(value: WireValue | undefined): Position | undefined {
  const [leaf, id] = Array.isArray(value) ? (value as readonly WireValue[]) : [];
  return isLeaf(leaf) && isId(id) ? { leaf, id } : undefined;
}

/** As short as ids of records are: it becomes part of a key. */
const isId = (value: WireValue | undefined): value is string =>
  typeof value === 'string' && value.length <= ID_LENGTH_MAX;

const isLeaf = (value: WireValue | undefined): value is number =>
  Number.isSafeInteger(value) && Number(value) >= 0 && Number(value) < LEAVES;

/** Whether the position lies behind the other. */
export const isBehind = (a: Position, b: Position): boolean =>
  a.leaf > b.leaf || (a.leaf === b.leaf && a.id > b.id);

/** The end of a leaf: no id is greater. */
const endOf = (leaf: number): Position => ({ leaf, id: '\x7f' });

function* entriesOf(list: List, leaves: readonly number[], after: Position | undefined) {
  for (const leaf of leaves) {
    if (after !== undefined && leaf < after.leaf) continue;
    yield* list(leaf, after?.leaf === leaf ? after.id : '');
  }
}

/** The next page of these leaves (in order) from behind a position; undefined when there are none left. */
export function pageOf(
  list: List,
  leaves: readonly number[],
  after: Position | undefined,
): Page | undefined {
  const left = leaves.filter((leaf) => after === undefined || leaf >= after.leaf);
  const mine = left.slice(0, PAGE_LEAVES_MAX);
  const last = mine.at(-1);
  if (last === undefined) return undefined;
  let upto = left.length > mine.length ? endOf(last) : undefined;
  const items: WireValue[] = [];
  for (const entry of entriesOf(list, mine, after)) {
    items.push([entry.id, sumBytes(entry.hash)]);
    if (items.length < ITEMS_MAX) continue;
    upto = entry;
    break;
  }
  const body = {
    leaves: mine,
    items,
    ...(after === undefined ? {} : { after: encodePosition(after) }),
    ...(upto === undefined ? {} : { upto: encodePosition(upto) }),
  };
  return { body, upto: upto === undefined ? undefined : { leaf: upto.leaf, id: upto.id } };
}

function readItems(value: WireValue | undefined): Map<string, Uint8Array> | undefined {
  const list = Array.isArray(value) ? (value as readonly WireValue[]) : [];
  const items = new Map<string, Uint8Array>();
  if (list.length > ITEMS_MAX) return undefined;
  for (const item of list) {
    const [id, hash] = Array.isArray(item) ? (item as readonly WireValue[]) : [];
    if (isId(id) && hash instanceof Uint8Array) items.set(id, hash);
  }
  return items;
}

/**
 * What this store says to a page: ids whose copies differ, those that it wants, those that it offers, and stones of
 * what it has dropped. Undefined if the page is malformed.
 */
export function answerItems(list: List, body: WireMap, replica: Replica): WireMap | undefined {
  const theirs = readItems(body.items);
  const leaves = Array.isArray(body.leaves) ? (body.leaves as readonly WireValue[]) : [];
  if (theirs === undefined || leaves.length > PAGE_LEAVES_MAX || !leaves.every(isLeaf))
    return undefined;
  const end = readPosition(body.upto);
  const offered: string[] = [];
  let upto: Position | undefined;
  for (const entry of entriesOf(list, leaves, readPosition(body.after))) {
    if (end !== undefined && isBehind(entry, end)) break;
    if (theirs.has(entry.id)) continue;
    offered.push(entry.id);
    if (offered.length < ITEMS_MAX) continue;
    upto = entry;
    break;
  }
  const answer = { differing: [] as string[], wanted: [] as string[], stones: [] as WireMap[] };
  for (const [id, hash] of theirs) weigh(replica, id, hash, answer);
  return { ...answer, offered, ...(upto === undefined ? {} : { upto: encodePosition(upto) }) };
}

/** By what is held, in whatever tree: of a copy that this store does not count, the partner may know better. */
function weigh(
  replica: Replica,
  id: string,
  hash: Uint8Array,
  answer: { differing: string[]; wanted: string[]; stones: WireMap[] },
): void {
  const entry = replica.shared.get(id);
  if (entry !== undefined && isBytes(hash, entry.hash)) return;
  if (replica.get(id) !== undefined) {
    answer.differing.push(id);
    return;
  }
  const stone = replica.tombstone(id);
  if (stone === undefined) answer.wanted.push(id);
  else answer.stones.push({ id, ...encodeTombstone(stone) });
}

const textList = (value: WireValue | undefined): string[] =>
  Array.isArray(value) ? (value as WireValue[]).filter((item) => typeof item === 'string') : [];

export const readAnswer = (answer: WireMap) => ({
  differing: textList(answer.differing).slice(0, ITEMS_MAX),
  wanted: textList(answer.wanted).slice(0, ITEMS_MAX),
  offered: textList(answer.offered).slice(0, ITEMS_MAX),
  stones: Array.isArray(answer.stones) ? answer.stones.filter(isWireMap) : undefined,
  upto: readPosition(answer.upto),
});
