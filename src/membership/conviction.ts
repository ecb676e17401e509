/**
 * Detection's decisions, pure: what one observer makes of one member now, with the reason. Two
 * observers convict; one that is alone needs more. Phi alone never convicts: a slow host is not a
 * dead one.
 */
import type { PeerId } from '../ports/identity.ts';
import type { Cause } from './cause.ts';
import { LONE_CRASH_MS, LONE_SILENCE_MS_MAX, STALE_PATIENCES, UNMET_PATIENCES } from './limits.ts';
import type { Evidence, MembershipConfig } from './types.ts';

/** What this observer itself knows of the member. */
export interface Observation {
  /** Since the last byte from it, or since there was reason to expect one. */
  readonly silenceMs: number;
  /** Nothing came from this boot of it yet, of which others told. */
  readonly isUnmet: boolean;
  readonly phi: number;
  readonly linked: boolean;
  /** The last link ended without a goodbye. */
  readonly endedAbruptly: boolean;
  /** It said goodbye: it stopped on purpose, so a refused port is no crash. */
  readonly saidGoodbye: boolean;
  /**
   * Since when every dial of an address that we reached in this boot was refused; undefined: none
   * was.
   */
  readonly refusedForMs: number | undefined;
}

export interface DetectionConfig {
  readonly phiThreshold: number;
  readonly heartbeatPauseMs: number;
  readonly silencePatienceMs: number;
}

export const detectionConfigOf = (config: MembershipConfig): DetectionConfig => ({
  phiThreshold: config.phi_threshold,
  heartbeatPauseMs: config.heartbeat_pause,
  silencePatienceMs: config.silence_patience,
});

/** How this observer stands. */
export interface Standing {
  /** 1 in health, up to 2: our own lag looks like everybody else's silence. */
  readonly patience: number;
  /** We were stopped ourselves a moment ago and judge nobody. */
  readonly pausedLately: boolean;
}

export type Opinion =
  | { readonly opinion: 'fine' }
  | { readonly opinion: 'suspect'; readonly because: string }
  | { readonly opinion: 'accused'; readonly evidence: Evidence; readonly because: string };

export function opinionOf(seen: Observation, config: DetectionConfig, standing: Standing): Opinion {
  if (standing.pausedLately) return { opinion: 'fine' };
  const { silenceMs, phi } = seen;
  const refused = seen.refusedForMs !== undefined && !seen.linked;
  if (refused && seen.endedAbruptly && !seen.saidGoodbye) {
    const because = 'its connection ended without goodbye and its port refuses';
    return { opinion: 'accused', evidence: 'crash', because };
  }
  const patienceMs = config.silencePatienceMs * standing.patience;
  // Else a newcomer that stops for a moment would be dead to those whose links to it did not stand yet.
  if (silenceMs >= (seen.isUnmet ? UNMET_PATIENCES : 1) * patienceMs) {
    const because = `not heard for ${Math.round(silenceMs)} ms`;
    return { opinion: 'accused', evidence: 'silence', because };
  }
  // Of one that was never heard there is no interval that could be exceeded.
  const pauseMs = seen.isUnmet ? config.silencePatienceMs : config.heartbeatPauseMs;
  if (silenceMs >= pauseMs * standing.patience && phi >= config.phiThreshold) {
    return { opinion: 'suspect', because: `phi ${phi.toFixed(1)}` };
  }
  return { opinion: 'fine' };
}

/** What the other observers of the member say, those that this one can reach now. */
export interface Others {
  readonly reachable: number;
  readonly accusing: number;
  /** Those that hear the member themselves. */
  readonly objecting: number;
}

export type Judgement =
  | { readonly convict: true; readonly evidence: Evidence; readonly because: string }
  | { readonly convict: false; readonly because: string };

export function judge(
  opinion: Opinion,
  seen: Observation,
  others: Others,
  config: DetectionConfig,
): Judgement {
  if (opinion.opinion !== 'accused') return { convict: false, because: 'not accused here' };
  const { evidence, because } = opinion;
  if (others.objecting > 0) return { convict: false, because: 'another observer hears it' };
  if (others.reachable > 0) {
    if (others.accusing === 0) return { convict: false, because: 'no second observer accuses it' };
    return { convict: true, evidence, because: `${because}; ${others.accusing + 1} observers` };
  }
  const refusedForMs = seen.refusedForMs ?? 0;
  if (evidence === 'crash') {
    if (refusedForMs >= LONE_CRASH_MS) return { convict: true, evidence, because };
    return { convict: false, because: 'alone: its port has not refused for long enough' };
  }
  const { silencePatienceMs } = config;
  const enough = Math.min(2 * silencePatienceMs, LONE_SILENCE_MS_MAX);
  // It said goodbye and nothing listens there any more: waiting twice as long would tell nothing.
  const gone = seen.saidGoodbye && refusedForMs >= silencePatienceMs;
  if (seen.silenceMs >= enough || gone) return { convict: true, evidence, because };
  return { convict: false, because: 'alone: its silence is not long enough' };
}

/**
 * Nothing has come over this link for so long that it only looks like one, though others hear the
 * member. TCP itself would take a quarter of an hour to say so, and whoever is linked counts as in
 * touch; a new link is greeted, and told how long this was none.
 */
export const isStale = (
  seen: Observation,
  { silencePatienceMs }: DetectionConfig,
  { patience, pausedLately }: Standing,
): boolean =>
  seen.linked && !pausedLately && seen.silenceMs >= STALE_PATIENCES * silencePatienceMs * patience;

/** What is told of an opinion that was entered. `back`: why the member is fine again. */
export function causeOfOpinion(
  opinion: Opinion,
  { silenceMs, phi }: Observation,
  self: PeerId,
  back: 'heard' | 'refuted',
): Cause {
  if (opinion.opinion === 'fine') return { kind: back, seenBy: [self], via: 'own' };
  const kind = opinion.opinion === 'suspect' ? 'phi' : opinion.evidence;
  return { kind, seenBy: [self], via: 'own', silenceMs: Math.round(silenceMs), phi };
}
