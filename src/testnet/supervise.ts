/** What the commands of `covey testnet` do: start a supervisor, ask it, end it, also after it crashed. */
import { spawn } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { z } from 'zod';
import { err, ok, type Result } from '../base/result.ts';
import { endNetwork, HUB_SOCKET } from './down.ts';
import type { HubRequest } from './hub.ts';
import type { HubOptions } from './hub-main.ts';
import { COVEY_NODE, entryOf } from './paths.ts';
import { membersSeenAt } from './peer.ts';
import { runStateOf } from './processes.ts';
import { callSocket } from './rpc.ts';
import { type NetworkState, readState, socketDirFor } from './state.ts';
import type { PeerStatus } from './testnet.ts';

/** The supervisor's own patience with its daemons, and room for the rest of its clean-up. */
const OWNER_GRACE_MS = 20_000;
const DAEMON_GRACE_MS = 5_000;
/** A restart waits for the daemon's shutdown_timeout and kill_grace first. */
const COMMAND_TIMEOUT_MS = 120_000;

export interface UpOptions {
  readonly dir: string;
  readonly peers: number;
  readonly slots?: number;
  readonly coveyd?: [string, ...string[]];
}

const outcomeSchema = z.union([
  z.object({ ready: z.literal(true) }),
  z.object({ error: z.string() }),
]);

/** Starts the supervisor and waits until its network is up. An interrupt of this process ends it again. */
export async function startHub(options: UpOptions): Promise<Result<NetworkState, string>> {
  const existing = await readState(options.dir);
  if (!existing.ok) return existing;
  if (existing.value) return err(await describeExisting(existing.value));
  const wanted = join(options.dir, HUB_SOCKET);
  const shortDir = await socketDirFor(wanted);
  const hubSocket = shortDir === undefined ? wanted : join(shortDir, HUB_SOCKET);
  const hubOptions: HubOptions = { ...options, hubSocket };
  const child = spawn(COVEY_NODE, [entryOf('hub-main'), JSON.stringify(hubOptions)], {
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const [out, errors] = await Promise.all([text(child.stdout), textUntilEnd(child)]);
  child.unref();
  const outcome = parseOutcome(out);
  if (outcome && 'ready' in outcome) {
    const state = await readState(options.dir);
    if (!state.ok) return state;
    if (state.value) return ok(state.value);
  }
  if (shortDir !== undefined) await rm(shortDir, { recursive: true, force: true });
  return err(outcome && 'error' in outcome ? outcome.error : `the supervisor failed: ${errors}`);
}

/** The supervisor's stderr up to the end of its stdout; it keeps stderr itself. */
async function textUntilEnd(child: ReturnType<typeof spawn>): Promise<string> {
  let errors = '';
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
    errors += chunk;
  });
  await new Promise((resolve) => {
    child.stdout?.once('close', resolve);
    child.once('error', resolve);
  });
  child.stderr?.destroy();
  child.stdin?.destroy();
  return errors;
}

function parseOutcome(out: string): z.output<typeof outcomeSchema> | undefined {
  try {
    return outcomeSchema.safeParse(JSON.parse(out)).data;
  } catch {
    return undefined; // it ended without a word
  }
}

async function describeExisting(state: NetworkState): Promise<string> {
  const runs = (await runStateOf(state.owner)) !== 'dead';
  const what = runs ? 'a test network runs' : 'the rest of a test network lies';
  return `${what} in ${state.dir}; end it with 'covey testnet down --dir ${state.dir}'`;
}

async function existingState(dir: string): Promise<Result<NetworkState, string>> {
  const state = await readState(dir);
  if (!state.ok) return state;
  if (state.value) return ok(state.value);
  return err(`no test network lies in ${dir}; start one with 'covey testnet up'`);
}

/** Asks the supervisor of the network in `dir`. */
export async function askHub(dir: string, request: HubRequest): Promise<Result<unknown, string>> {
  const state = await existingState(dir);
  if (!state.ok) return state;
  const { hubSocket } = state.value;
  if (hubSocket === undefined) {
    return err(`the network in ${dir} belongs to the program with pid ${state.value.owner.pid}`);
  }
  const answer = await callSocket(hubSocket, request.method, request.params, COMMAND_TIMEOUT_MS);
  if (answer.ok) return answer;
  if (answer.error.code !== 'UNREACHABLE') return err(answer.error.message);
  return err(`the supervisor is gone; clean up with 'covey testnet down --dir ${dir}'`);
}

/** As the supervisor sees it; after its crash, as far as the record, /proc and the daemons tell. */
export async function networkStatus(
  dir: string,
): Promise<
  Result<{ readonly supervised: boolean; readonly peers: readonly PeerStatus[] }, string>
> {
  const state = await existingState(dir);
  if (!state.ok) return state;
  const answer = await askHub(dir, { method: 'status', params: {} });
  if (answer.ok) {
    // The supervisor is this very version of the package: it wrote what PeerStatus says.
    const { peers } = answer.value as { readonly peers: readonly PeerStatus[] };
    return ok({ supervised: true, peers });
  }
  const peers = await Promise.all(
    state.value.peers.map(async (peer): Promise<PeerStatus> => {
      const runs = peer.process ? await runStateOf(peer.process) : 'dead';
      return {
        index: peer.index,
        name: peer.name,
        pid: runs === 'dead' ? null : (peer.process?.pid ?? null),
        state: runs,
        socket: peer.socket,
        address: `${peer.host}:${peer.relayPort}`,
        // Daemons outlive their supervisor, and answer.
        members: runs === 'running' ? await membersSeenAt(peer.socket) : null,
      };
    }),
  );
  return ok({ supervised: false, peers });
}

/** Ends the network, whoever still lives of it, and removes what it made. */
export async function endHub(dir: string): Promise<Result<void, string>> {
  const state = await existingState(dir);
  if (!state.ok) return state;
  await endNetwork(state.value, { ownerMs: OWNER_GRACE_MS, daemonMs: DAEMON_GRACE_MS });
  return ok(undefined);
}
