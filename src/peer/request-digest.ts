/** The digest of the request that a record was made of: equal for two creations that are the same request. */
import { decodeHeader } from '../tasks/facts.ts';

const digests = new WeakMap<Uint8Array, string>();

export function requestDigestOf(header: Uint8Array): string {
  const known = digests.get(header);
  if (known !== undefined) return known;
  const digest = decodeHeader(header)?.digest ?? '';
  digests.set(header, digest);
  return digest;
}
