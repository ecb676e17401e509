/**
 * Two daemons with one key at the same time: a data directory, a disk image or a key file was copied. A restart looks
 * the same at first, for the end of the old connection may come late, so a member that has a link to a boot of a peer
 * and gets the hello of another one puts it off. Silence on the old link proves a restart. Frames that come from the
 * old boot in two intervals after the hello prove that it lives: the other one is turned away, and ends itself.
 *
 * Behind a partition each of the two may be let in. Their records then outbid one another, and the one that was started
 * later by the count of their store gives way.
 */
import { type CoveyError, coveyError } from '../base/errors.ts';
import type { SelfRecord } from './fact.ts';
import { TWIN_RETRY_MS, TWIN_SIGNS_MIN } from './limits.ts';

/** A hello of another boot than the one at the other end of the link, and what was heard since. */
export interface Suspicion {
  readonly bootId: string;
  /** Frames that the link had brought when it was asked last. */
  readonly frames: number;
  /** Intervals between two hellos in which the old boot was heard. */
  readonly signs: number;
}

/** Undefined: the old boot is silent, the new one may come in. */
export function suspect(
  before: Suspicion | undefined,
  hello: { readonly bootId: string },
  frames: number,
): Suspicion | undefined {
  const { bootId } = hello;
  if (before?.bootId !== bootId) return { bootId, frames, signs: 0 };
  if (before.frames === frames) return undefined;
  return { bootId, frames, signs: before.signs + 1 };
}

export function twinError({ signs }: Suspicion, address: string): CoveyError {
  return coveyError('BUSY', {
    what: `a daemon with this key is linked from ${address}`,
    retry_after_ms: TWIN_RETRY_MS,
    ...(signs >= TWIN_SIGNS_MIN ? { twin: address } : {}),
  });
}

/** The address of the other daemon, if a refusal says that it was seen to live. */
export const twinOf = ({ code, details }: CoveyError): string | undefined =>
  code === 'BUSY' && typeof details.twin === 'string' ? details.twin : undefined;

type Boot = Pick<SelfRecord, 'bootCount' | 'bootId'>;

/** Of two that live one gives way, and both must find the same: the one that was started later. */
export const givesWay = (own: Boot, other: Boot): boolean =>
  own.bootCount === other.bootCount ? own.bootId > other.bootId : own.bootCount > other.bootCount;
