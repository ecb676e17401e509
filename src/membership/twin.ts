/**
 * Two daemons with one key at the same time: a data directory, a disk image or a key file was copied. A restart looks
 * the same at first, for the end of the old connection may come late, so a member that has a link to a boot of a peer
 * and gets the hello of another one puts it off, and asks over the link, with a number that nobody can know. The
 * answer proves that the old boot lives: the other one is turned away, and ends itself. Silence proves a restart.
 * Frames without the answer prove nothing: a network may keep what a dead process wrote, and bring it much later.
 *
 * Behind a partition each of the two may be let in. Their records then outbid one another, and the one that was started
 * later by the count of their store gives way.
 */
import { type CoveyError, coveyError } from '../base/errors.ts';
import type { SelfRecord } from './fact.ts';
import { TWIN_RETRY_MS } from './limits.ts';

/** A hello of another boot than the one at the other end of the link, and what was heard since. */
export interface Suspicion {
  readonly bootId: string;
  /** What the old boot is asked to repeat. */
  readonly nonce: number;
  readonly isAnswered: boolean;
  /** Frames that the link had brought at the last hello. */
  readonly frames: number;
}

/** Undefined: the old boot is silent, the new one may come in. */
export function suspect(
  before: Suspicion | undefined,
  hello: { readonly bootId: string },
  frames: number,
  drawNonce: () => number,
): Suspicion | undefined {
  const { bootId } = hello;
  if (before?.bootId !== bootId) return { bootId, nonce: drawNonce(), isAnswered: false, frames };
  if (before.frames === frames) return undefined;
  return { ...before, frames };
}

export function twinError({ isAnswered }: Suspicion, address: string): CoveyError {
  return coveyError('BUSY', {
    what: `a daemon with this key is linked from ${address}`,
    retry_after_ms: TWIN_RETRY_MS,
    ...(isAnswered ? { twin: address } : {}),
  });
}

/** The address of the other daemon, if a refusal says that it was seen to live. */
export const twinOf = ({ code, details }: CoveyError): string | undefined =>
  code === 'BUSY' && typeof details.twin === 'string' ? details.twin : undefined;

type Boot = Pick<SelfRecord, 'bootCount' | 'bootId'>;

/** Of two that live one gives way, and both must find the same: the one that was started later. */
export const givesWay = (own: Boot, other: Boot): boolean =>
  own.bootCount === other.bootCount ? own.bootId > other.bootId : own.bootCount > other.bootCount;
