/**
 * Facts: the signed statements of which the view is made. A fact is [author, payload, signature],
 * its payload a CBOR map that names the mesh, so that nothing of one mesh can be replayed into
 * another that has not accepted it. It is passed on as the bytes that were signed, never encoded
 * again: fields of later versions survive old peers.
 *
 *   record      by the member itself: who and what it is now
 *   verdict     by an observer: this incarnation of a member is dead
 *   entry       by a member: this PeerId may connect
 *   revocation  by a member: this PeerId may not, ever
 *   removal     by a member: this store does not come back
 *   merge       by a member: what is signed in that other mesh counts here too
 */
import { err, ok, type Result } from '../base/result.ts';
import type { Identity, PeerId } from '../ports/identity.ts';
import type { Address } from '../ports/network.ts';
import type { Shortage } from '../ports/room.ts';
import { decodeValue, encodeValue, type WireValue } from '../wire/codec.ts';
import { isWireMap, type WireMap } from '../wire/envelope.ts';
import { ADDRESSES_MAX, MERGES_MAX, RECORD_BYTES_MAX, SEEN_BY_MAX } from './limits.ts';
import { readId, readInt, readText, readTextMap, readTexts } from './read.ts';
import type { Evidence } from './types.ts';

export interface Signed {
  readonly by: PeerId;
  readonly payload: Uint8Array;
  readonly signature: Uint8Array;
}

/**
 * Orders the statements about one PeerId: epoch is its start of identity, incarnation rises within
 * one.
 */
export interface Turn {
  readonly epoch: number;
  readonly incarnation: number;
}

export interface SelfRecord extends Turn {
  readonly kind: 'record';
  readonly peerId: PeerId;
  readonly storeId: string;
  readonly bootCount: number;
  readonly bootId: string;
  readonly name: string;
  readonly addresses: readonly Address[];
  readonly labels: Readonly<Record<string, string>>;
  readonly version: string;
  readonly features: readonly string[];
  readonly execEnabled: boolean;
  readonly stopping: boolean;
  readonly left: boolean;
  /** Its disk takes no starts, or nothing: others own what it cannot advance. */
  readonly shortage?: Shortage | undefined;
}

export interface Verdict extends Turn {
  readonly kind: 'verdict';
  readonly peerId: PeerId;
  readonly evidence: Evidence;
  /** The observers beside the author whose word it needed; for people. */
  readonly seenBy?: readonly PeerId[];
  /** How long its author had not heard the member; for people. */
  readonly silenceMs?: number;
}

export interface Entry {
  readonly kind: 'entry';
  readonly peerId: PeerId;
  readonly name: string;
  readonly admittedAtMs: number;
}

export interface Revocation {
  readonly kind: 'revocation';
  readonly peerId: PeerId;
  readonly revokedAtMs: number;
  /**
   * Those whom the revoked peer had admitted and the revoker knew: they stay; all others it
   * admitted do not.
   */
  readonly keeps: readonly PeerId[];
  /** The meshes that the revoked peer had accepted and the revoker knew, `mesh founder` each: they stay as well. */
  readonly keepsMeshes?: readonly string[];
}

/**
 * Of a store, not of a PeerId: the host may come back with another one. Nothing revokes it; a store that lives after
 * all is told, and becomes another one.
 */
export interface Removal {
  readonly kind: 'removal';
  /** The member that had the store. */
  readonly peerId: PeerId;
  readonly storeId: string;
  readonly removedAtMs: number;
}

/** Half of the consent to a merge: the other mesh says the same of this one. */
export interface Merge {
  readonly kind: 'merge';
  /** The founder of the other mesh: a second root of the allow-list. */
  readonly peerId: PeerId;
  readonly mesh: string;
  readonly mergedAtMs: number;
}

export type Statement = SelfRecord | Verdict | Entry | Revocation | Removal | Merge;
export interface Fact<S extends Statement = Statement> {
  readonly signed: Signed;
  /** In which it was signed. Whether that one is known here is judged by the view. */
  readonly meshId: string;
  readonly statement: S;
}
export const isKind = <K extends Statement['kind']>(
  fact: Fact,
  kind: K,
): fact is Fact<Extract<Statement, { kind: K }>> => fact.statement.kind === kind;

const OTHER_MESH = 'a fact of another mesh';

function toMap(statement: Statement, meshId: string): WireMap {
  const head = { kind: statement.kind, mesh_id: meshId, peer_id: statement.peerId };
  switch (statement.kind) {
    case 'record':
      return {
        ...head,
        epoch: statement.epoch,
        incarnation: statement.incarnation,
        store_id: statement.storeId,
        boot_count: statement.bootCount,
        boot_id: statement.bootId,
        name: statement.name,
        addresses: statement.addresses,
        labels: statement.labels,
        version: statement.version,
        features: statement.features,
        exec: statement.execEnabled,
        stopping: statement.stopping,
        left: statement.left,
        ...(statement.shortage === undefined ? {} : { shortage: statement.shortage }),
      };
    case 'verdict':
      return {
        ...head,
        epoch: statement.epoch,
        incarnation: statement.incarnation,
        evidence: statement.evidence,
        ...(statement.seenBy === undefined ? {} : { seen_by: statement.seenBy }),
        ...(statement.silenceMs === undefined ? {} : { silence_ms: statement.silenceMs }),
      };
    case 'entry':
      return { ...head, name: statement.name, admitted_at_ms: statement.admittedAtMs };
    case 'revocation':
      return {
        ...head,
        revoked_at_ms: statement.revokedAtMs,
        keeps: statement.keeps,
        ...(statement.keepsMeshes?.length ? { keeps_meshes: statement.keepsMeshes } : {}),
      };
    case 'removal':
      return { ...head, store_id: statement.storeId, removed_at_ms: statement.removedAtMs };
    case 'merge':
      return { ...head, merges: statement.mesh, merged_at_ms: statement.mergedAtMs };
  }
}

export function signFact<S extends Statement>(
  identity: Identity,
  meshId: string,
  statement: S,
): Fact<S> {
  const payload = encodeValue(toMap(statement, meshId));
  const signed = { by: identity.peerId, payload, signature: identity.sign(payload) };
  return { signed, meshId, statement };
}

export const toWire = (fact: Fact): WireValue => [
  fact.signed.by,
  fact.signed.payload,
  fact.signed.signature,
];
export const factBytes = (fact: Fact): Uint8Array => encodeValue(toWire(fact));

/** One mesh, or all whose facts count here. */
export type MeshIds = string | ReadonlySet<string>;

/** A fact whose shape and signature nobody has looked at yet. */
interface Unpacked {
  readonly signed: Signed;
  readonly meshId: string;
  readonly map: WireMap;
}

function unpack(value: WireValue | undefined): Result<Unpacked, string> {
  if (!Array.isArray(value)) return err('a fact is an array');
  const [author, payload, signature] = value as readonly WireValue[];
  const by = readId(author);
  if (by === undefined || !(payload instanceof Uint8Array)) return err('not a fact');
  if (!(signature instanceof Uint8Array)) return err('a fact without a signature');
  if (payload.length > RECORD_BYTES_MAX) return err('a fact is too large');
  const decoded = decodeValue(payload);
  if (!decoded.ok) return decoded;
  if (!isWireMap(decoded.value)) return err('a fact holds a map');
  const { mesh_id: meshId } = decoded.value;
  if (typeof meshId !== 'string') return err(OTHER_MESH);
  return ok({ signed: { by, payload, signature }, meshId, map: decoded.value });
}

function check(
  { signed, meshId, map }: Unpacked,
  verify: Identity['verify'],
): Result<Fact, string> {
  const statement = readStatement(map, signed.by);
  if (!statement.ok) return statement;
  const { by, payload, signature } = signed;
  if (!verify(by, payload, signature)) return err('a fact with a wrong signature');
  return ok({ signed, meshId, statement: statement.value });
}

/**
 * Reads a fact of these meshes and checks its shape and its signature; whether its author may say it
 * is judged later.
 */
export function readFact(
  value: WireValue | undefined,
  meshes: MeshIds,
  verify: Identity['verify'],
): Result<Fact, string> {
  const unpacked = unpack(value);
  if (!unpacked.ok) return unpacked;
  const { meshId } = unpacked.value;
  const isOurs = typeof meshes === 'string' ? meshId === meshes : meshes.has(meshId);
  return isOurs ? check(unpacked.value, verify) : err(OTHER_MESH);
}

interface Waiting {
  readonly value: WireValue;
  readonly index: number;
  readonly meshId: string;
}

/**
 * Reads facts of these meshes and of those that merges among them name, in whatever order they come: who hears of a
 * merge hears of the other mesh's members in the same breath. What may not be read is given to `drop`.
 */
export function readFacts(
  values: readonly WireValue[],
  meshes: ReadonlySet<string>,
  verify: Identity['verify'],
  drop: (why: string, index: number) => void,
): Fact[] {
  const known = new Set(meshes);
  const facts: Fact[] = [];
  const take = (fact: Result<Fact, string>, index: number): void => {
    if (!fact.ok) {
      drop(fact.error, index);
      return;
    }
    facts.push(fact.value);
    const isRoom = known.size < meshes.size + MERGES_MAX;
    if (isRoom && isKind(fact.value, 'merge')) known.add(fact.value.statement.mesh);
  };
  // Unpacked twice at most: merges that each name the mesh of the next one would else have all be unpacked as often as
  // there are merges. What was unpacked is not kept: it may be a hundred times as large as its bytes.
  let waiting: Waiting[] = [];
  for (const [index, value] of values.entries()) {
    const unpacked = unpack(value);
    if (!unpacked.ok) drop(unpacked.error, index);
    else if (known.has(unpacked.value.meshId)) take(check(unpacked.value, verify), index);
    else waiting.push({ value, index, meshId: unpacked.value.meshId });
  }
  for (let before = -1; known.size !== before && waiting.length > 0; ) {
    before = known.size;
    waiting = waiting.filter((one) => {
      if (!known.has(one.meshId)) return true;
      take(readFact(one.value, known, verify), one.index);
      return false;
    });
  }
  for (const { index } of waiting) drop(OTHER_MESH, index);
  return facts;
}

export function decodeFact(
  bytes: Uint8Array,
  meshes: MeshIds,
  verify: Identity['verify'],
): Result<Fact, string> {
  const decoded = decodeValue(bytes);
  return decoded.ok ? readFact(decoded.value, meshes, verify) : decoded;
}

function readStatement(map: WireMap, by: PeerId): Result<Statement, string> {
  const peerId = readId(map.peer_id);
  if (peerId === undefined) return err('a fact about nobody');
  switch (map.kind) {
    case 'record':
      return peerId === by ? readRecord(map, peerId) : err('a record by somebody else');
    case 'verdict': {
      const turn = readTurn(map);
      const evidence = map.evidence;
      if (!turn || (evidence !== 'crash' && evidence !== 'silence')) return err('not a verdict');
      return ok({ kind: 'verdict', peerId, ...turn, evidence, ...readTestimony(map) });
    }
    case 'entry': {
      const admittedAtMs = readInt(map.admitted_at_ms);
      const name = readText(map.name);
      if (admittedAtMs === undefined || name === undefined) return err('not an entry');
      return ok({ kind: 'entry', peerId, name, admittedAtMs });
    }
    case 'revocation': {
      const revokedAtMs = readInt(map.revoked_at_ms);
      const keeps = readTexts(map.keeps, Number.POSITIVE_INFINITY);
      if (revokedAtMs === undefined || !keeps) return err('not a revocation');
      const keepsMeshes = readTexts(map.keeps_meshes, MERGES_MAX);
      const meshes = keepsMeshes?.length ? { keepsMeshes } : {};
      return ok({ kind: 'revocation', peerId, revokedAtMs, keeps, ...meshes });
    }
    case 'removal': {
      const storeId = readId(map.store_id);
      const removedAtMs = readInt(map.removed_at_ms);
      if (!storeId || removedAtMs === undefined) return err('not a removal');
      return ok({ kind: 'removal', peerId, storeId, removedAtMs });
    }
    case 'merge': {
      const mesh = readId(map.merges);
      const mergedAtMs = readInt(map.merged_at_ms);
      if (!mesh || mergedAtMs === undefined) return err('not a merge');
      return ok({ kind: 'merge', peerId, mesh, mergedAtMs });
    }
    default:
      return err('a fact of an unknown kind');
  }
}

/** What is not as it should be is left out, never refused: peers that do not read it take the verdict as well. */
function readTestimony(map: WireMap): Pick<Verdict, 'seenBy' | 'silenceMs'> {
  const seenBy = readTexts(map.seen_by, SEEN_BY_MAX);
  const silenceMs = readInt(map.silence_ms);
  return { ...(seenBy && { seenBy }), ...(silenceMs === undefined ? {} : { silenceMs }) };
}

function readTurn(map: WireMap): Turn | undefined {
  const epoch = readInt(map.epoch);
  const incarnation = readInt(map.incarnation);
  return epoch === undefined || incarnation === undefined ? undefined : { epoch, incarnation };
}

function readRecord(map: WireMap, peerId: PeerId): Result<SelfRecord, string> {
  const turn = readTurn(map);
  const storeId = readId(map.store_id);
  const bootCount = readInt(map.boot_count);
  const bootId = readText(map.boot_id);
  const name = readText(map.name);
  const version = readText(map.version);
  const addresses = readTexts(map.addresses, ADDRESSES_MAX);
  const features = readTexts(map.features, 64);
  const labels = readTextMap(map.labels);
  if (!turn || !storeId || bootCount === undefined || !bootId || name === undefined) {
    return err('a record lacks its identity');
  }
  if (version === undefined || !addresses || !features || !labels) return err('not a record');
  return ok({
    kind: 'record',
    peerId,
    ...turn,
    storeId,
    bootCount,
    bootId,
    name,
    addresses,
    labels,
    version,
    features,
    execEnabled: map.exec === true,
    stopping: map.stopping === true,
    left: map.left === true,
    ...(map.shortage === 'scarce' || map.shortage === 'full' ? { shortage: map.shortage } : {}),
  });
}
