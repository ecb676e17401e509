/**
 * The frames of `/covey/admit/1`: one request, one reply.
 *
 *   hello    who I am, and what I know of you         → hello | refuse
 *   redeem   a token's secret, by a stranger          → welcome | refuse
 *   refused  your hello was not accepted, and why     → noted
 *   merge    see merge-frames.ts
 */
import { type CoveyError, coveyError, type ErrorCode, isErrorCode } from '../base/errors.ts';
import { err, ok, type Result } from '../base/result.ts';
import { decodeValue, encodeValue, type WireValue } from '../wire/codec.ts';
import { isWireMap, type WireMap } from '../wire/envelope.ts';
import type { VersionRange } from '../wire/versions.ts';
import type { Turn } from './fact.ts';
import {
  BOOT_IDS_MAX,
  CHAIN_MAX,
  HELLO_MERGES_MAX,
  RETRY_AFTER_MS_MAX,
  RETRY_AFTER_MS_MIN,
  STRANGER_RETRY_MS,
  WELCOME_FACTS_MAX,
} from './limits.ts';
import { type MergeFrame, mergeMap, readMergeFrame } from './merge-frames.ts';
import { readInt, readList, readText, readTexts } from './read.ts';
import type { BootSpan } from './store-check.ts';
import type { AwayNotice } from './types.ts';

export interface Hello {
  readonly meshId: string;
  readonly storeId: string;
  readonly bootCount: number;
  readonly bootId: string;
  readonly bootIds: readonly string[];
  readonly seq: number;
  /** Of `bootIds`; empty from a peer of an earlier version. */
  readonly spans: readonly BootSpan[];
  readonly versions: VersionRange;
  readonly features: readonly string[];
  /** Facts, not yet judged: the sender's record, and entries from its own up to the founder's. */
  readonly record: WireValue;
  readonly chain: readonly WireValue[];
  /** Merges that stand, and the entries of their authors: the receiver may have been away. */
  readonly merges: readonly WireValue[];
  /** The receiver's turn as the sender knows it, and whether the sender takes it for dead. */
  readonly known: (Turn & { readonly dead: boolean }) | undefined;
  /** Only to a store that was away for very long. */
  readonly away: AwayNotice | undefined;
}

export type AdmitFrame =
  | { readonly type: 'hello'; readonly hello: Hello }
  | { readonly type: 'redeem'; readonly secret: Uint8Array; readonly name: string }
  | {
      readonly type: 'welcome';
      readonly meshId: string;
      readonly root: string;
      readonly facts: readonly WireValue[];
    }
  | {
      readonly type: 'refuse' | 'refused';
      readonly error: CoveyError;
      /** Facts that show why: to one that was revoked. */
      readonly proof?: readonly WireValue[];
    }
  | { readonly type: 'noted' }
  | MergeFrame;

export function encodeAdmit(frame: AdmitFrame): Uint8Array {
  switch (frame.type) {
    case 'hello':
      return encodeValue({ type: 'hello', ...helloMap(frame.hello) });
    case 'redeem':
      return encodeValue({ type: 'redeem', secret: frame.secret, name: frame.name });
    case 'welcome': {
      const { meshId, root, facts } = frame;
      return encodeValue({ type: 'welcome', mesh_id: meshId, root, facts });
    }
    case 'refuse':
    case 'refused': {
      const { code, details } = frame.error;
      const { proof } = frame;
      return encodeValue({ type: frame.type, code, details, ...(proof?.length ? { proof } : {}) });
    }
    case 'noted':
      return encodeValue({ type: 'noted' });
    case 'merge':
    case 'terms':
    case 'merged':
      return encodeValue(mergeMap(frame));
  }
}

const helloMap = (hello: Hello): WireMap => ({
  mesh_id: hello.meshId,
  store_id: hello.storeId,
  boot_count: hello.bootCount,
  boot_id: hello.bootId,
  boot_ids: hello.bootIds,
  seq: hello.seq,
  boot_spans: hello.spans.map(({ start, end }) => (end === undefined ? [start] : [start, end])),
  versions: [hello.versions.min, hello.versions.max],
  features: hello.features,
  record: hello.record,
  chain: hello.chain,
  ...(hello.merges.length > 0 && { merges: hello.merges }),
  known: hello.known && { ...hello.known },
  away: hello.away && {
    store_id: hello.away.storeId,
    ttl_ms: hello.away.ttlMs,
    wall_ms: hello.away.wallMs,
  },
});

export function decodeAdmit(bytes: Uint8Array): Result<AdmitFrame, string> {
  const decoded = decodeValue(bytes);
  if (!decoded.ok) return decoded;
  const map = decoded.value;
  if (!isWireMap(map)) return err('an admit frame is a map');
  switch (map.type) {
    case 'hello': {
      const hello = readHello(map);
      return hello ? ok({ type: 'hello', hello }) : err('not a hello');
    }
    case 'redeem': {
      const name = readText(map.name);
      if (!(map.secret instanceof Uint8Array) || name === undefined) return err('not a redeem');
      return ok({ type: 'redeem', secret: map.secret, name });
    }
    case 'welcome': {
      const meshId = readText(map.mesh_id);
      const root = readText(map.root);
      const facts = readList(map.facts, WELCOME_FACTS_MAX);
      if (!meshId || !root || !facts) return err('not a welcome');
      return ok({ type: 'welcome', meshId, root, facts });
    }
    case 'refuse':
    case 'refused':
      return ok({
        type: map.type,
        error: readError(map),
        proof: readList(map.proof, HELLO_MERGES_MAX + CHAIN_MAX + 1) ?? [],
      });
    case 'noted':
      return ok({ type: 'noted' });
    case 'merge':
    case 'terms':
    case 'merged': {
      const frame = readMergeFrame(map.type, map);
      return frame ? ok(frame) : err('not a frame of a merge');
    }
    default:
      return err('an admit frame of an unknown type');
  }
}

function readError(map: WireMap): CoveyError {
  const code: ErrorCode =
    typeof map.code === 'string' && isErrorCode(map.code) ? map.code : 'NOT_ALLOWED';
  const details: Record<string, string | number | boolean> = {};
  for (const [key, value] of Object.entries(isWireMap(map.details) ? map.details : {})) {
    const plain = typeof value === 'number' || typeof value === 'boolean' ? value : readText(value);
    if (plain !== undefined) details[key] = plain;
  }
  return coveyError(code, details);
}

/** When to come back to one that said BUSY. */
export function retryAfterMs({ details }: CoveyError): number {
  const said = details.retry_after_ms;
  const wanted = typeof said === 'number' && Number.isFinite(said) ? said : STRANGER_RETRY_MS;
  return Math.min(RETRY_AFTER_MS_MAX, Math.max(RETRY_AFTER_MS_MIN, wanted));
}

function readHello(map: WireMap): Hello | undefined {
  const meshId = readText(map.mesh_id);
  const storeId = readText(map.store_id);
  const bootCount = readInt(map.boot_count);
  const bootId = readText(map.boot_id);
  const bootIds = readTexts(map.boot_ids, BOOT_IDS_MAX);
  const seq = readInt(map.seq);
  const range = readList(map.versions, 2);
  const min = readInt(range?.[0]);
  const max = readInt(range?.[1]);
  const features = readTexts(map.features, 256);
  const chain = readList(map.chain, CHAIN_MAX);
  const record = map.record;
  if (!meshId || !storeId || bootCount === undefined || !bootId || !bootIds) return undefined;
  if (seq === undefined || min === undefined || max === undefined) return undefined;
  if (!features || !chain || record === undefined) return undefined;
  const merges = readList(map.merges, HELLO_MERGES_MAX) ?? [];
  const known = readKnown(map.known);
  const away = readAway(map.away);
  const spans = readSpans(map.boot_spans);
  const versions = { min, max };
  return {
    meshId,
    storeId,
    bootCount,
    bootId,
    bootIds,
    seq,
    spans,
    versions,
    features,
    record,
    chain,
    merges,
    known,
    away,
  };
}

function readSpans(value: WireValue | undefined): BootSpan[] {
  return (readList(value, BOOT_IDS_MAX) ?? []).flatMap((item) => {
    const span = readList(item, 2) ?? [];
    const start = readInt(span[0]);
    return start === undefined ? [] : [{ start, end: readInt(span[1]) }];
  });
}

function readAway(value: WireValue | undefined): AwayNotice | undefined {
  if (!isWireMap(value)) return undefined;
  const storeId = readText(value.store_id);
  const ttlMs = readInt(value.ttl_ms);
  const wallMs = readInt(value.wall_ms);
  if (!storeId || ttlMs === undefined || wallMs === undefined) return undefined;
  return { storeId, ttlMs, wallMs };
}

function readKnown(value: WireValue | undefined): Hello['known'] {
  if (!isWireMap(value)) return undefined;
  const epoch = readInt(value.epoch);
  const incarnation = readInt(value.incarnation);
  if (epoch === undefined || incarnation === undefined) return undefined;
  return { epoch, incarnation, dead: value.dead === true };
}
