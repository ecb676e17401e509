/** Which peer a word on the command line means: a PeerId, a name, or a part of a PeerId. */
import { err, ok, type Result } from '../base/result.ts';
import type { RpcFailure } from '../client/types.ts';
import { printable } from './bytes.ts';
import { failureOf } from './context.ts';

/** Of the end of a PeerId that stands for the whole. */
const SUFFIX_CHARS_MIN = 6;
/** Every PeerId begins with the same eight characters: six more. */
const PREFIX_CHARS_MIN = 14;

export interface NamedPeer {
  readonly peer_id: string;
  readonly name: string;
}

/** By PeerId, by name, by the end or the beginning of a PeerId; a name that several have is nobody's. */
export function peerNamed<P extends NamedPeer>(
  peers: readonly P[],
  text: string,
  hasName: (peer: P) => boolean,
): Result<P, RpcFailure> {
  const whole = peers.filter((peer) => peer.peer_id === text);
  const named = peers.filter((peer) => peer.name === text && hasName(peer));
  const isSuffix = text.length >= SUFFIX_CHARS_MIN;
  const isPrefix = text.length >= PREFIX_CHARS_MIN;
  const parts = peers.filter(
    ({ peer_id: id }) => (isSuffix && id.endsWith(text)) || (isPrefix && id.startsWith(text)),
  );
  const found = [whole, named, parts].find(({ length }) => length > 0) ?? [];
  const [first, ...more] = found;
  if (first !== undefined && more.length === 0) return ok(first);
  const said = printable(text);
  if (first === undefined)
    return err(
      failureOf('NOT_FOUND', `There is no member '${said}'.`, "'covey members' lists them."),
    );
  const ids = found.map((peer) => peer.peer_id).join(', ');
  return err(
    failureOf('AMBIGUOUS', `${found.length} members are '${said}': ${ids}.`, 'Write its PeerId.'),
  );
}
