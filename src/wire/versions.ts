/** Versions between peers: each side offers a range, the highest common one is spoken. Negotiated per link. */
export const WIRE_VERSION_MIN = 2;
export const WIRE_VERSION_MAX = 2;
/** Optional abilities; a feature is used on a link only if both sides name it. */
export const WIRE_FEATURES: readonly string[] = [];

export interface VersionRange {
  readonly min: number;
  readonly max: number;
}

/** The version two peers speak, or undefined when their ranges do not meet. */
export function commonVersion(ours: VersionRange, theirs: VersionRange): number | undefined {
  const version = Math.min(ours.max, theirs.max);
  return version >= Math.max(ours.min, theirs.min) ? version : undefined;
}
