/**
 * A network of real daemons on this host, each on its own address behind its own relay, with faults: kill,
 * stop, restart, partition. Tests and `npm start` hold one in their own process; `covey testnet up` puts one
 * into a process of its own (hub-main.ts).
 */
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { MemberView, MethodInput, MethodName, MethodResult } from '../api/methods.ts';
import { messageOf } from '../base/errors.ts';
import type { Result } from '../base/result.ts';
import type { DaemonExit } from './daemon-process.ts';
import { removeNetworkFiles } from './down.ts';
import { cleanUpAtExit, forgetAtExit } from './exit-cleanup.ts';
import { layOut } from './layout.ts';
import { COVEYD } from './paths.ts';
import { type PeerOptions, TestPeer } from './peer.ts';
import { endProcesses, type ProcessRef } from './processes.ts';
import { type CallFailure, callDaemon } from './rpc.ts';
import { claimDir, type NetworkState, PEERS_MAX, type PeerState, writeState } from './state.ts';

/** TERM, then this long, then KILL: what a test network holds is thrown away anyhow. */
const DOWN_GRACE_MS = 5_000;
const POLL_MS = 25;
const WAIT_MS_MAX = 30_000;
/** Joining and the first view of a fresh mesh. */
const GATHER_MS_MAX = 60_000;

export class TestNetworkError extends Error {
  override readonly name = 'TestNetworkError';
}

export interface TestNetworkOptions {
  readonly peers: number;
  /** Default: a fresh one under the temporary directory, removed by `down`. */
  readonly dir?: string;
  /** Data directories elsewhere than in `dir`, by index; who names one removes it. */
  readonly dataDirs?: Readonly<Record<number, string>>;
  /** Commands at once on each daemon; default: the daemon's own. */
  readonly slots?: number;
  /** Whether the daemons are joined into one mesh; default yes. */
  readonly join?: boolean;
  /** More environment for the daemons. */
  readonly env?: Readonly<Record<string, string>>;
  /** Configuration keys over those of configs/testnet.yaml. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** False: the daemon's own defaults below `config`, without configs/testnet.yaml. */
  readonly preset?: boolean;
  /** False: the daemons dial each other, with nothing of this process in between, and there are no partitions. */
  readonly relays?: boolean;
  /** The daemon's program, for tests of the network itself. */
  readonly coveyd?: readonly [string, ...string[]];
  /** Recorded for `covey testnet`, by the supervisor. */
  readonly hubSocket?: string;
  /** Whether SIGINT, SIGTERM and SIGHUP of this process end the network first; default yes. */
  readonly onSignals?: boolean;
  /** How long daemons may take to stop after such a signal; default 0: SIGKILL. */
  readonly signalGraceMs?: number;
}

export interface PeerIdentity {
  readonly name: string;
  readonly peerId: string;
  readonly storeId: string;
}

export type PeerStatus = {
  readonly index: number;
  readonly name: string;
  readonly pid: number | null;
  readonly state: 'running' | 'stopped' | 'dead';
  readonly socket: string;
  readonly address: string;
  /** How this peer sees the mesh, name to status; null while it does not answer. */
  readonly members: Readonly<Record<string, string>> | null;
};

export class TestNetwork {
  readonly dir: string;
  #state: NetworkState;
  readonly #peers: readonly TestPeer[];
  readonly #options: TestNetworkOptions;
  /** Pairs `a-b`, a < b, whose bytes stand still. */
  readonly #cuts = new Set<string>();
  #writing: Promise<void> = Promise.resolve();
  #ended: Promise<void> | undefined;

  private constructor(state: NetworkState, options: TestNetworkOptions) {
    this.dir = state.dir;
    this.#state = state;
    this.#options = options;
    this.#peers = state.peers.map((peer) => new TestPeer(this.#peerOptions(peer)));
    const signalGraceMs = options.signalGraceMs ?? 0;
    cleanUpAtExit(this, { onSignals: options.onSignals ?? true, signalGraceMs });
  }

  /** Starts all daemons, joins them into one mesh, and returns when every one sees every one alive. */
  static async up(options: TestNetworkOptions): Promise<TestNetwork> {
    if (!Number.isInteger(options.peers) || options.peers < 1 || options.peers > PEERS_MAX) {
      throw new TestNetworkError(`a test network has 1 to ${PEERS_MAX} peers`);
    }
    const dir = options.dir ?? join(tmpdir(), `covey-net-${randomBytes(4).toString('hex')}`);
    const laidOut = await layOut(dir, options);
    const claim = await claimDir((madeDir) => ({ ...laidOut, madeDir }), dir);
    if (!claim.ok) {
      if (laidOut.socketDir !== undefined) await rm(laidOut.socketDir, { recursive: true });
      throw new TestNetworkError(claim.error);
    }
    const network = new TestNetwork(claim.value, options);
    try {
      await network.#gather();
      return network;
    } catch (thrown) {
      await network.down({ graceMs: 0 });
      throw thrown instanceof TestNetworkError ? thrown : new TestNetworkError(messageOf(thrown));
    }
  }

  get size(): number {
    return this.#peers.length;
  }

  /** 1 … size. */
  get indices(): readonly number[] {
    return this.#state.peers.map((peer) => peer.index);
  }

  socket(index: number): string {
    return this.#peer(index).state.socket;
  }

  /** Where other peers reach it: the relay's address, if there is one. */
  address(index: number): string {
    return this.#peer(index).address;
  }

  dataDir(index: number): string {
    return this.#peer(index).state.dataDir;
  }

  /** The daemon's pid; throws when it does not run. */
  pid(index: number): number {
    const ref = this.#peer(index).ref;
    if (!ref) throw new TestNetworkError(`peer ${index} does not run`);
    return ref.pid;
  }

  /** As the daemon told it when it was last ready. */
  identity(index: number): PeerIdentity {
    const { ready, state } = this.#peer(index);
    if (!ready) throw new TestNetworkError(`peer ${index} was never ready`);
    return { name: state.name, peerId: ready.peer_id, storeId: ready.store_id };
  }

  call<M extends MethodName>(
    index: number,
    method: M,
    params: MethodInput<M>,
    timeoutMs?: number,
  ): Promise<Result<MethodResult<M>, CallFailure>> {
    return callDaemon(this.socket(index), method, params, timeoutMs);
  }

  /** The members as this peer sees them; undefined when it does not answer. */
  async members(index: number, timeoutMs?: number): Promise<readonly MemberView[] | undefined> {
    const answer = await this.call(index, 'members.list', {}, timeoutMs);
    return answer.ok ? answer.value.members : undefined;
  }

  /** Sends the signal and waits for the end of the daemon. */
  async kill(index: number, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    await this.#peer(index).kill(signal);
  }

  /** Resolves when the daemon has ended, for a reason of its own or ours; at once if it has. */
  waitForExit(index: number): Promise<DaemonExit> {
    return this.#peer(index).waitForExit();
  }

  /** Joins the mesh of `inviter` with a token from it. */
  async join(index: number, inviter = 1): Promise<void> {
    const invite = await this.call(inviter, 'access.invite', {});
    if (!invite.ok) {
      throw new TestNetworkError(`peer ${inviter} does not invite: ${invite.error.message}`);
    }
    const { token } = invite.value;
    const joined = await this.call(index, 'mesh.join', { token }, GATHER_MS_MAX);
    if (joined.ok) return;
    throw new TestNetworkError(`peer ${index} cannot join: ${joined.error.message}`);
  }

  /** SIGSTOP: the daemon freezes, its connections stay. */
  stop(index: number): Promise<void> {
    return this.#peer(index).stop();
  }

  cont(index: number): Promise<void> {
    return this.#peer(index).cont();
  }

  /** Starts the daemon again with its data; one that still runs gets SIGTERM (or SIGKILL) first. */
  async restart(index: number, options: { readonly graceful?: boolean } = {}): Promise<void> {
    const peer = this.#peer(index);
    await peer.kill((options.graceful ?? true) ? 'SIGTERM' : 'SIGKILL');
    await this.#start(peer);
  }

  /** Stops the bytes between peers of different groups; peers in no group keep talking to all. */
  partition(groups: readonly (readonly number[])[]): void {
    if (this.#options.relays === false) throw new TestNetworkError('there are no relays to cut');
    const all = groups.flat();
    for (const index of all) this.#peer(index);
    if (new Set(all).size !== all.length) {
      throw new TestNetworkError('a peer can be in one group only');
    }
    this.#cuts.clear();
    for (const [position, group] of groups.entries()) {
      for (const other of groups.slice(position + 1)) {
        for (const a of group) for (const b of other) this.#cuts.add(pairOf(a, b));
      }
    }
    for (const peer of this.#peers) peer.relay.applyCuts();
  }

  heal(): void {
    this.partition([]);
  }

  /** Asks again until the probe answers neither undefined nor false; throws, naming `what`, when time is up. */
  async waitFor<T>(
    what: string,
    probe: () => Promise<T | undefined | false> | T | undefined | false,
    timeoutMs: number = WAIT_MS_MAX,
  ): Promise<T> {
    const deadlineMs = performance.now() + timeoutMs;
    for (;;) {
      if (this.#ended !== undefined) throw new TestNetworkError(`the network was ended: ${what}`);
      const value = await probe();
      if (value !== undefined && value !== false) return value;
      if (performance.now() >= deadlineMs) {
        throw new TestNetworkError(`not within ${timeoutMs} ms: ${what}`);
      }
      await delay(POLL_MS);
    }
  }

  /** Waits until each of these peers lists each of them alive, and as many members as the network has. */
  async waitForAllAlive(
    indices: readonly number[] = this.indices,
    timeoutMs: number = GATHER_MS_MAX,
  ): Promise<void> {
    let seen = '';
    const allAlive = async () => {
      const views = await Promise.all(indices.map((index) => this.members(index)));
      seen = views.map((view, i) => `peer ${indices[i]}: ${textOf(view)}`).join('; ');
      return views.every((view) => view?.length === this.size && this.#allAlive(view, indices));
    };
    try {
      await this.waitFor(`peers ${indices.join(', ')} see each other alive`, allAlive, timeoutMs);
    } catch (thrown) {
      throw new TestNetworkError(`${messageOf(thrown)}; at last, ${seen}`);
    }
  }

  async status(): Promise<readonly PeerStatus[]> {
    return await Promise.all(this.#peers.map((peer) => peer.status()));
  }

  /** Ends every process, closes every relay, removes every file. May be called again. */
  down(options: { readonly graceMs?: number } = {}): Promise<void> {
    this.#ended ??= this.#down(options.graceMs ?? DOWN_GRACE_MS);
    return this.#ended;
  }

  /** For the 'exit' event, where nothing can be awaited. */
  downNow(): void {
    for (const peer of this.#peers) peer.killNow();
    const { dir, madeDir, socketDir } = this.#state;
    if (socketDir !== undefined) rmSync(socketDir, { recursive: true, force: true });
    if (madeDir) rmSync(dir, { recursive: true, force: true });
  }

  async #down(graceMs: number): Promise<void> {
    for (const peer of this.#peers) peer.refuseStarts();
    await this.#writing;
    await endProcesses(
      this.#peers.map((peer) => peer.ref).filter((ref) => ref !== undefined),
      graceMs,
    );
    await Promise.all(this.#peers.map((peer) => peer.whenExited()));
    await Promise.all(this.#peers.map((peer) => peer.relay.close()));
    await removeNetworkFiles(this.#state);
    forgetAtExit(this);
  }

  #peer(index: number): TestPeer {
    const peer = this.#peers[index - 1];
    if (!peer) throw new TestNetworkError(`there is no peer ${index}; there are 1 to ${this.size}`);
    return peer;
  }

  #peerOptions(state: PeerState): PeerOptions {
    return {
      state,
      dir: this.#state.dir,
      command: this.#options.coveyd ?? [COVEYD],
      env: this.#options.env ?? {},
      config: this.#options.config ?? {},
      hasPreset: this.#options.preset ?? true,
      hasRelay: this.#options.relays ?? true,
      slots: this.#options.slots,
      isCut: (source) => {
        const other = this.#state.peers.find((peer) => peer.host === source);
        return other !== undefined && this.#cuts.has(pairOf(state.index, other.index));
      },
      onStarted: (ref) => this.#record(state.index, ref),
    };
  }

  async #start(peer: TestPeer): Promise<void> {
    const started = await peer.start();
    if (!started.ok) throw new TestNetworkError(`peer ${peer.state.index}: ${started.error}`);
  }

  async #gather(): Promise<void> {
    await Promise.all(this.#peers.map((peer) => this.#start(peer)));
    if (this.#options.join === false) return;
    for (const index of this.indices.slice(1)) await this.join(index);
    await this.waitForAllAlive();
  }

  #allAlive(view: readonly MemberView[], indices: readonly number[]): boolean {
    return indices.every((index) =>
      view.some(
        (member) => member.name === this.#peer(index).state.name && member.status === 'alive',
      ),
    );
  }

  /** Writes the record with this daemon's process, one write after the other. */
  #record(index: number, ref: ProcessRef): Promise<void> {
    const peers = this.#state.peers.map((peer) =>
      peer.index === index ? { ...peer, process: ref } : peer,
    );
    this.#state = { ...this.#state, peers };
    const write = this.#writing.then(() => writeState(this.#state));
    this.#writing = write.catch(() => undefined); // whoever started the daemon hears of it
    return write;
  }
}

const pairOf = (a: number, b: number): string => (a < b ? `${a}-${b}` : `${b}-${a}`);

const textOf = (view: readonly MemberView[] | undefined): string =>
  view?.map((member) => `${member.name} ${member.status}`).join(', ') ?? 'no answer';
