/** Finds the control socket of a test network's daemon, for `--peer testnet:I` of every command. */
import { err, ok, type Result } from '../base/result.ts';
import { readState, resolveDir } from './state.ts';

export async function testnetSocket(
  dir: string | undefined,
  index: number,
): Promise<Result<string, string>> {
  const path = resolveDir(dir);
  const state = await readState(path);
  if (!state.ok) return state;
  if (!state.value) {
    return err(`No test network lies in ${path}; start one with 'covey testnet up'.`);
  }
  const peer = state.value.peers.find((candidate) => candidate.index === index);
  if (peer) return ok(peer.socket);
  return err(
    `The test network in ${path} has peers 1 to ${state.value.peers.length}, not ${index}.`,
  );
}
