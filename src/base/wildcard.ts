/** Hosts that mean "every address of this host": something to listen on, nothing that another peer could dial. */

/** `0.0.0.0`, `::` and the longer spellings of it; brackets are allowed. */
export function isWildcard(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, '');
  return bare === '0.0.0.0' || /^[0:]*:[0:]*$/.test(bare);
}
