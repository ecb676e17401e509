/** What remains of a test network is ended and removed from its record alone, whoever wrote it. */
import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import {
  endProcesses,
  type ProcessRef,
  processesWithArguments,
  signalProcess,
  waitUntilGone,
} from './processes.ts';
import { type NetworkState, stateFileOf } from './state.ts';

export const HUB_LOG = 'hub.log';
export const HUB_SOCKET = 'hub.sock';
export const logFileOf = (dir: string, index: number): string => join(dir, `peer${index}.log`);

/** Data directories, sockets, logs and the record; DIR itself only if `up` made it. */
export async function removeNetworkFiles(state: NetworkState): Promise<void> {
  const force = { recursive: true, force: true } as const;
  if (state.socketDir !== undefined) await rm(state.socketDir, force);
  // A directory of its own when DIR is too long a path for sockets.
  if (state.hubSocket !== undefined && dirname(state.hubSocket) !== state.dir) {
    await rm(dirname(state.hubSocket), force);
  }
  if (state.madeDir) {
    await rm(state.dir, force);
    return;
  }
  for (const peer of state.peers) {
    await rm(peer.dataDir, force);
    await rm(logFileOf(state.dir, peer.index), force);
  }
  if (state.hubSocket !== undefined) await rm(state.hubSocket, force);
  await rm(join(state.dir, HUB_LOG), force);
  // Last: while anything is left, another `down` must be able to find it.
  await rm(stateFileOf(state.dir), force);
}

/** The daemons of the record, and those that were started without being recorded yet. */
export async function daemonsOf(state: NetworkState): Promise<readonly ProcessRef[]> {
  const found = new Map<number, ProcessRef>();
  for (const peer of state.peers) {
    if (peer.process) found.set(peer.process.pid, peer.process);
    for (const ref of await processesWithArguments(['--data-dir', peer.dataDir])) {
      found.set(ref.pid, ref);
    }
  }
  return [...found.values()];
}

/** Ends the owner (its own clean-up first, if it still can), then whatever it left. */
export async function endNetwork(
  state: NetworkState,
  grace: { readonly ownerMs: number; readonly daemonMs: number },
): Promise<void> {
  if (state.owner.pid !== process.pid) await endOwner(state.owner, grace.ownerMs);
  await endProcesses(await daemonsOf(state), grace.daemonMs);
  await removeNetworkFiles(state);
}

/** The owner is not killed with what it started: its daemons get their own, graceful end afterwards. */
async function endOwner(owner: ProcessRef, graceMs: number): Promise<void> {
  if (!(await signalProcess(owner, 'SIGTERM'))) return;
  await signalProcess(owner, 'SIGCONT');
  const left = await waitUntilGone([owner], graceMs);
  if (left.length === 0) return;
  await signalProcess(owner, 'SIGKILL');
  await waitUntilGone([owner], graceMs);
}
