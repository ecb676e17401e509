/** What members say to one another on the control class: small messages without answers. */
import { fromHex, toHex } from '../base/hash.ts';
import { err, ok, type Result } from '../base/result.ts';
import type { PeerId } from '../ports/identity.ts';
import type { WireValue } from '../wire/codec.ts';
import { decodeEnvelope, encodeEnvelope, isWireMap, type WireMap } from '../wire/envelope.ts';
import type { Turn } from './fact.ts';
import {
  DELTA_FACTS_MAX,
  MEMBERS_MAX,
  WORKER_TYPE_BYTES_MAX,
  WORKER_TYPES_TOLD_MAX,
} from './limits.ts';
import { readInt, readList, readText, readTexts } from './read.ts';
import type { Evidence, Load } from './types.ts';

/** idle: there are too many links, and this one was not used for longest. */
export type GoodbyeReason = 'stop' | 'leave' | 'stale' | 'refused' | 'idle';
/** suspect: who hears it, speak up. accused: I have evidence. hears: I heard it just now. */
export type Says = 'suspect' | 'hears' | Evidence;

export type ControlMessage =
  /** The dialler has let the other in: from now on both may send. */
  | { readonly type: 'ready' }
  | {
      readonly type: 'heartbeat';
      readonly seq: number;
      readonly load: Load | undefined;
    }
  /** An answer to a suspicion, out of turn: never enters the interval window. */
  | { readonly type: 'pulse'; readonly nonce?: number | undefined }
  /** About another peer, among its observers. */
  | { readonly type: 'opinion'; readonly peerId: PeerId; readonly turn: Turn; readonly says: Says }
  /** To the accused itself. */
  | {
      readonly type: 'accused';
      readonly turn: Turn;
      readonly level: 'suspect' | 'dead';
      /** To be repeated in the answer: who repeats it is alive now, whatever the network has kept. */
      readonly nonce?: number | undefined;
    }
  | { readonly type: 'view'; readonly hash: string }
  | { readonly type: 'digest'; readonly lines: ReadonlyMap<string, string> }
  | {
      readonly type: 'delta';
      readonly facts: readonly WireValue[];
      readonly want: readonly string[];
    }
  | { readonly type: 'goodbye'; readonly reason: GoodbyeReason };

export function encodeMessage(message: ControlMessage): Uint8Array {
  return encodeEnvelope({ kind: 'message', type: message.type, body: bodyOf(message) });
}

function bodyOf(message: ControlMessage): WireMap {
  switch (message.type) {
    case 'ready':
      return {};
    case 'pulse':
      return nonceMap(message.nonce);
    case 'heartbeat':
      return {
        seq: message.seq,
        load: message.load && loadMap(message.load),
      };
    case 'opinion':
      return { peer_id: message.peerId, ...message.turn, says: message.says };
    case 'accused':
      return { ...message.turn, level: message.level, ...nonceMap(message.nonce) };
    case 'view':
      return { hash: message.hash };
    case 'digest':
      return { lines: [...message.lines].map(([key, line]) => [key, fromHex(line) ?? null]) };
    case 'delta':
      return { facts: message.facts, want: message.want };
    case 'goodbye':
      return { reason: message.reason };
  }
}

const nonceMap = (nonce: number | undefined): WireMap => (nonce === undefined ? {} : { nonce });

const loadMap = (load: Load): WireMap => ({
  slots: load.slots,
  slots_free: load.slotsFree,
  active: load.active,
  waiting: load.waiting,
  workers: Object.fromEntries(
    Object.entries(load.workers).map(([type, { total, free }]) => [type, [total, free]]),
  ),
  ...(load.setAside === undefined ? {} : { set_aside: load.setAside }),
});

/** Unknown types are an error that the receiver ignores: later versions say more. */
export function decodeMessage(bytes: Uint8Array): Result<ControlMessage, string> {
  const envelope = decodeEnvelope(bytes);
  if (!envelope.ok) return envelope;
  if (envelope.value.kind !== 'message') return err('not a message');
  const { type, body } = envelope.value;
  const message = readMessage(type, body);
  return message ? ok(message) : err(`not a message of control: ${type}`);
}

function readMessage(type: string, body: WireMap): ControlMessage | undefined {
  switch (type) {
    case 'ready':
      return { type };
    case 'pulse':
      return { type, ...readNonce(body) };
    case 'heartbeat': {
      const seq = readInt(body.seq);
      const isMuch = isWireMap(body.load) && !areFewTypes(body.load.workers);
      if (seq === undefined || isMuch) return undefined;
      return { type, seq, load: readLoad(body.load) };
    }
    case 'opinion': {
      const peerId = readText(body.peer_id);
      const turn = readTurn(body);
      const says = SAYS.find((one) => one === body.says);
      return peerId && turn && says ? { type, peerId, turn, says } : undefined;
    }
    case 'accused': {
      const turn = readTurn(body);
      const level = body.level === 'dead' ? 'dead' : 'suspect';
      return turn && { type, turn, level, ...readNonce(body) };
    }
    case 'view': {
      const hash = readText(body.hash);
      return hash === undefined ? undefined : { type, hash };
    }
    case 'digest': {
      const lines = readLines(body.lines);
      return lines && { type, lines };
    }
    case 'delta': {
      const facts = readList(body.facts, DELTA_FACTS_MAX);
      const want = readTexts(body.want, 4 * MEMBERS_MAX);
      return facts && want ? { type, facts, want } : undefined;
    }
    case 'goodbye': {
      const reason = GOODBYES.find((one) => one === body.reason);
      return { type, reason: reason ?? 'stop' };
    }
    default:
      return undefined;
  }
}

const SAYS: readonly Says[] = ['suspect', 'hears', 'crash', 'silence'];
const GOODBYES: readonly GoodbyeReason[] = ['stop', 'leave', 'stale', 'refused', 'idle'];

function readNonce(body: WireMap): { nonce?: number } {
  const nonce = readInt(body.nonce);
  return nonce === undefined ? {} : { nonce };
}

function readTurn(body: WireMap): Turn | undefined {
  const epoch = readInt(body.epoch);
  const incarnation = readInt(body.incarnation);
  return epoch === undefined || incarnation === undefined ? undefined : { epoch, incarnation };
}

function readLines(value: WireValue | undefined): Map<string, string> | undefined {
  const pairs = readList(value, 4 * MEMBERS_MAX);
  if (!pairs) return undefined;
  const lines = new Map<string, string>();
  for (const pair of pairs) {
    const [key, line] = readList(pair, 2) ?? [];
    const text = readText(key);
    if (text === undefined || !(line instanceof Uint8Array)) return undefined;
    lines.set(text, toHex(line));
  }
  return lines;
}

function areFewTypes(workers: WireValue | undefined): boolean {
  const types = isWireMap(workers) ? Object.keys(workers) : [];
  if (types.length > WORKER_TYPES_TOLD_MAX) return false;
  return types.every((type) => readText(type, WORKER_TYPE_BYTES_MAX) !== undefined);
}

function readLoad(value: WireValue | undefined): Load | undefined {
  if (!isWireMap(value)) return undefined;
  const slots = readInt(value.slots);
  const slotsFree = readInt(value.slots_free);
  const active = readInt(value.active);
  const waiting = readInt(value.waiting);
  if (slots === undefined || slotsFree === undefined) return undefined;
  if (active === undefined || waiting === undefined) return undefined;
  const workers: [string, { total: number; free: number }][] = [];
  for (const [type, pair] of Object.entries(isWireMap(value.workers) ? value.workers : {})) {
    const [total, free] = (readList(pair, 2) ?? []).map((item) => readInt(item));
    if (total !== undefined && free !== undefined) workers.push([type, { total, free }]);
  }
  const setAside = readInt(value.set_aside);
  const aside = setAside === undefined ? {} : { setAside };
  return { slots, slotsFree, active, waiting, workers: Object.fromEntries(workers), ...aside };
}
