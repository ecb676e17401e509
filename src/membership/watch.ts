/** What an observer keeps about one observed peer. */
import type { PeerId } from '../ports/identity.ts';
import type { Address } from '../ports/network.ts';
import type { Opinion } from './conviction.ts';
import type { Fact, Turn, Verdict } from './fact.ts';
import type { LinkEnd } from './links.ts';
import type { Says } from './messages.ts';
import { PhiWindow } from './phi.ts';
import type { MembershipConfig } from './types.ts';

export const FINE: Opinion = { opinion: 'fine' };

/** What is known of one observed peer, of its present boot. */
export interface Watch {
  readonly window: PhiWindow;
  /** The last byte from it; undefined: none in this boot of ours. */
  heardMs: number | undefined;
  /** Since then there was neither a silence beyond `heartbeat_pause` nor another link. */
  hearingSinceMs: number | undefined;
  /** Silence counts from here at the earliest. */
  expectSinceMs: number;
  /** Others told of this boot of it, and nothing came from it yet: links take their time where many join. */
  isUnmet: boolean;
  /** Addresses at which this peer itself found it in this boot. */
  readonly reached: Set<Address>;
  /** Those that were tried, as its record lists them; undefined: none yet. */
  lookedAt: readonly Address[] | undefined;
  /** What a probe of the others said. */
  readonly unreached: Map<Address, 'refused' | 'timeout' | 'unreachable'>;
  refusedSinceMs: number | undefined;
  /** It sends us no heartbeats, and was asked for a sign of life then; undefined: it was heard since. */
  askedMs: number | undefined;
  endedAbruptly: boolean;
  saidGoodbye: boolean;
  opinion: Opinion;
  noticedMs: number;
  /** By observer. */
  readonly opinions: Map<PeerId, { says: Says; turn: Turn; atMs: number }>;
  /** A verdict that we did not apply because we heard it; applied should it fall silent. */
  pending: Fact<Verdict> | undefined;
}

export const newWatch = (config: MembershipConfig, nowMs: number): Watch => ({
  window: new PhiWindow(config.heartbeat_interval, config.heartbeat_pause),
  heardMs: undefined,
  hearingSinceMs: undefined,
  expectSinceMs: nowMs,
  isUnmet: false,
  reached: new Set(),
  lookedAt: undefined,
  unreached: new Map(),
  refusedSinceMs: undefined,
  askedMs: undefined,
  endedAbruptly: false,
  saidGoodbye: false,
  opinion: FINE,
  noticedMs: Number.NEGATIVE_INFINITY,
  opinions: new Map(),
  pending: undefined,
});

/** It was known before this boot of ours: from now on its silence counts. */
export function expect(watch: Watch, nowMs: number): void {
  watch.expectSinceMs = nowMs;
  watch.isUnmet = false;
}

/** Another boot: what the last one did is no evidence against this one. */
export function forgetBoot(watch: Watch, isUnmet: boolean): void {
  watch.isUnmet = isUnmet;
  watch.reached.clear();
  watch.lookedAt = undefined;
  watch.unreached.clear();
  watch.refusedSinceMs = undefined;
  watch.endedAbruptly = false;
  watch.saidGoodbye = false;
  watch.pending = undefined;
  watch.window.reset();
}

/** Its link was up and has ended. */
export function lostLink(watch: Watch, end: Pick<LinkEnd, 'farewell' | 'byUs'>): void {
  watch.hearingSinceMs = undefined;
  watch.saidGoodbye = end.farewell === 'stop' || end.farewell === 'leave';
  watch.endedAbruptly = end.farewell === undefined && !end.byUs;
  watch.window.skipNext();
}

/** Since it was last heard, or since there was reason to expect it. */
export const silenceOf = (watch: Watch, nowMs: number): number =>
  nowMs - Math.max(watch.heardMs ?? Number.NEGATIVE_INFINITY, watch.expectSinceMs);

/** This peer stood still: what it did not hear meanwhile says nothing. */
export function forgiveAll(watch: Watch, nowMs: number): void {
  watch.expectSinceMs = nowMs;
  watch.window.reset();
  watch.opinions.clear();
  watch.refusedSinceMs = undefined;
  watch.askedMs = undefined;
}
