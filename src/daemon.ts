/** The daemon: configuration → the host's ports → Peer → control surface. What `coveyd` and tests start. */
import { availableParallelism, hostname } from 'node:os';
import { join } from 'node:path';
import type { Config } from './api/config.ts';
import type { LogTap } from './base/log-tap.ts';
import { err, ok, type Result } from './base/result.ts';
import type { Logger } from './base/telemetry.ts';
import { isWildcard } from './base/wildcard.ts';
import { createBackend } from './control/methods.ts';
import { ControlServer } from './control/server.ts';
import { HostClock } from './host/clock.ts';
import { descriptorUse } from './host/descriptor-limit.ts';
import { lockDataDirectory } from './host/directory-lock.ts';
import { loadOrCreateIdentity } from './host/identity.ts';
import { reachableHosts } from './host/interfaces.ts';
import { createLibp2pNetwork } from './host/libp2p-network.ts';
import { LINKS_MAX_DEFAULT } from './host/libp2p-node.ts';
import { HostListener } from './host/listener.ts';
import { beginAnew, openRecords } from './host/open-records.ts';
import { makePrivateDirectory } from './host/private-directory.ts';
import { HostProcesses } from './host/processes.ts';
import { HostRandom } from './host/random.ts';
import { isDamaged, lostIdentity, orDamage, settled } from './host/recover-store.ts';
import { openSpool } from './host/spool.ts';
import { openStore } from './host/store.ts';
import { Peer } from './peer/peer.ts';
import { readyStore } from './peer/renew-store.ts';
import type { Ports } from './ports/index.ts';
import { takes } from './ports/room.ts';
import type { Store } from './ports/store.ts';
import { VERSION } from './version.ts';
import { decodeValue, encodeValue } from './wire/codec.ts';

export interface DaemonOptions {
  readonly config: Config;
  readonly dataDir: string;
  readonly socket: string;
  readonly log: LogTap;
}

export interface Ready {
  readonly event: 'ready';
  readonly pid: number;
  readonly peer_id: string;
  readonly store_id: string;
  readonly mesh_id: string;
  readonly addresses: readonly string[];
  readonly socket: string;
}

export interface Daemon {
  readonly peer: Peer;
  readonly ready: Ready;
  /** An orderly stop, or a leave; resolves with the exit code. The second call of either cuts the first short. */
  stop(): Promise<number>;
  leave(): Promise<number>;
  /** Resolves with the exit code when the daemon has ended, whoever asked for it. */
  readonly ended: Promise<number>;
}

const PORT_KEY = 'daemon/port';
/** Between the end of the peer and the end of the control socket. */
const ANSWER_MS = 100;

/** A port of 0 is chosen once, kept in `identity/`, and asked for again at the next start. */
function keptPort(store: Store): number {
  const bytes = store.get(PORT_KEY);
  const decoded = bytes === undefined ? undefined : decodeValue(bytes);
  return decoded?.ok === true && typeof decoded.value === 'number' ? decoded.value : 0;
}

function splitAddress(address: string): { host: string; port: number } {
  const at = address.lastIndexOf(':');
  return {
    host: address.slice(0, at).replace(/^\[|\]$/g, ''),
    port: Number(address.slice(at + 1)),
  };
}

async function openPorts(
  options: DaemonOptions,
): Promise<Result<{ ports: Ports; release: () => Promise<void> }, string>> {
  const { dataDir, config, log } = options;
  for (const dir of ['', 'identity', 'store', 'spool']) {
    const made = await makePrivateDirectory(join(dataDir, dir));
    if (!made.ok) return err(`the data directory ${dataDir} cannot be used: ${made.error}`);
  }
  const lock = await lockDataDirectory(dataDir);
  if (!lock.ok) return err(lock.error.detail);
  const lost = await lostIdentity(dataDir);
  if (lost !== undefined)
    return err(
      `${join(dataDir, lost)} is gone, and store/ is not: put it back, or move store/ away to begin as another peer`,
    );
  const identity = await loadOrCreateIdentity(join(dataDir, 'identity', 'key'));
  if (!identity.ok) return identity;
  const clock = new HostClock();
  const identityStore = await openStore({ directory: join(dataDir, 'identity', 'book'), clock });
  if (!identityStore.ok) return err(identityStore.error.detail);
  const store = await openRecords(options, clock);
  if (!store.ok) return store;
  // The last of the room is for results: what `logs` shows can be done without.
  const hasRoom = (): boolean => takes(store.value.room(), 'create');
  const spool = await openSpool(join(dataDir, 'spool'), { hasRoom });
  if (!spool.ok) return spool;
  const network = await createLibp2pNetwork({
    privateKey: identity.value.privateKey,
    // Half as many again in transition: one that is dialled comes before another is closed.
    maxLinks: Math.max(LINKS_MAX_DEFAULT, Math.ceil(1.5 * config.max_connections)),
    ...(config.dial_from === undefined ? {} : { dialFrom: config.dial_from }),
    log: (message, fields) => log.log('debug', message, fields),
  });
  const ports: Ports = {
    clock,
    random: new HostRandom(),
    identity: identity.value.identity,
    network,
    identityStore: identityStore.value,
    store: store.value,
    processes: new HostProcesses(clock, {
      directory: join(dataDir, 'run'),
      onFallback: (reason) => log.log('warn', reason),
    }),
    spool: spool.value,
  };
  const release = async (): Promise<void> => {
    await spool.value.close();
    await lock.value.release();
  };
  return ok({ ports, release });
}

/** Where others reach this peer. A wildcard is nothing to tell others: it stands for this host's addresses of now. */
function advertised(wanted: readonly string[], host: string, log: Logger): readonly string[] {
  if (wanted.length > 0 || !isWildcard(host)) return wanted;
  const hosts = reachableHosts(host);
  if (hosts.length === 0) {
    log.log('warn', 'this host has no address that others could reach; name one with --advertise', {
      bind: host,
    });
  }
  // Port 0 stands for the one that it gets.
  return hosts.map((address) => (address.includes(':') ? `[${address}]:0` : `${address}:0`));
}

async function listen(
  peer: Peer,
  ports: Ports,
  options: DaemonOptions,
): Promise<Result<void, string>> {
  const { config, log } = options;
  const { host, port } = splitAddress(config.bind);
  const advertise = advertised(config.advertise, host, log);
  const kept = port === 0 ? keptPort(ports.identityStore) : 0;
  let started = await peer.start({ host, port: kept === 0 ? port : kept }, advertise);
  if (!started.ok && started.error.code === 'in_use' && kept !== 0) {
    log.log('warn', 'the port of the last start is taken; another one was chosen', { port: kept });
    started = await peer.start({ host, port: 0 }, advertise);
  }
  if (!started.ok) {
    const what = {
      in_use: 'is in use',
      no_such_address: 'is no address of this host',
      failed: 'cannot be listened on',
    };
    return err(
      `${config.bind} ${what[started.error.code]} (${started.error.detail}); choose another with --bind`,
    );
  }
  if (port === 0 && started.value !== kept) {
    await ports.identityStore.append([{ put: PORT_KEY, value: encodeValue(started.value) }]);
  }
  return ok(undefined);
}

interface EndingParts {
  readonly peer: Peer;
  readonly server: ControlServer;
  readonly log: Logger;
  readonly release: () => Promise<void>;
}

/** The ways in which a running daemon ends; all of them lead to one exit code. */
class Ending {
  readonly ended: Promise<number>;
  #end: (code: number) => void = () => undefined;
  #under: Promise<string[]> | undefined;

  constructor() {
    this.ended = new Promise<number>((resolve) => {
      this.#end = resolve;
    });
  }

  /** Somebody has asked for the end. */
  get isUnder(): boolean {
    return this.#under !== undefined;
  }

  /** Nothing orderly is possible any more. */
  fatal(): void {
    this.#end(1);
  }

  /** Stops or leaves once; answers the ids that lie only here (then a leave was a stop). */
  begin(how: 'stop' | 'leave', parts: EndingParts, timeoutMs?: number): Promise<string[]> {
    this.#under ??= this.#run(how, parts, timeoutMs);
    return this.#under;
  }

  async #run(how: 'stop' | 'leave', parts: EndingParts, timeoutMs?: number): Promise<string[]> {
    const { peer, server, log, release } = parts;
    server.stopTaking();
    const onlyHere =
      how === 'leave' ? await peer.leave(timeoutMs) : await peer.stop().then(() => []);
    if (onlyHere.length > 0) {
      log.log('error', 'this was a stop, not a leave: some tasks lie only here', {
        count: onlyHere.length,
        ids: onlyHere.slice(0, 20),
      });
    }
    // In a later turn: the answer of `mesh.leave` goes out before its socket closes.
    peer.ports.clock.after(ANSWER_MS, () => {
      void server
        .close()
        .then(release)
        .then(() => this.#end(onlyHere.length > 0 ? 1 : 0));
    });
    return onlyHere;
  }
}

/** A peer with everything around it: one after another in a daemon whose store is renewed. */
interface Life {
  readonly peer: Peer;
  readonly socketPath: string;
  readonly parts: EndingParts;
}

interface LifeHooks {
  readonly fatal: (why: string) => void;
  /** With a reason: its store gets another id first. */
  readonly renew: (why: string | undefined) => void;
  readonly leave: (timeoutMs: number | undefined) => Promise<string[]>;
}

/** The peer of these ports; a store that is none is set aside, and the ports opened once more. */
async function createPeer(
  options: DaemonOptions,
  hooks: LifeHooks,
  refusal: string | undefined,
): Promise<Result<{ peer: Peer; release: () => Promise<void> }, string>> {
  const { config, log, socket, dataDir } = options;
  const directory = join(dataDir, 'store');
  // A mark that stays costs the next start a trial, no more.
  const settle = (): Promise<void> => settled(directory).catch(() => undefined);
  for (let tries = 1; ; tries++) {
    const opened = await openPorts(options);
    if (!opened.ok) return opened;
    const { ports, release } = opened.value;
    const about = { refusal, log, tombstoneTtlMs: config.tombstone_ttl };
    const created = await orDamage(async () => {
      const ready = await readyStore(ports, about);
      if (!ready.ok) return ready;
      return Peer.create(ports, {
        config: { ...config, name: config.name ?? (hostname() || 'unnamed') },
        log,
        version: VERSION,
        slots: config.exec ? (config.slots ?? availableParallelism()) : 0,
        socket,
        onFatal: hooks.fatal,
        onRenew: hooks.renew,
        onStoreRead: () => void settle(),
      });
    });
    if (created.ok) return ok({ peer: created.value, release: () => settle().then(release) });
    const { code, detail } = created.error;
    if (code === 'newer' || tries > 1) return err(detail);
    await ports.store.close();
    await ports.identityStore.close();
    await ports.processes.stop();
    await release();
    if (code === 'failed' && !(await isDamaged(directory, detail))) return err(detail);
    const aside = await beginAnew(directory, detail, log);
    if (!aside.ok) return aside;
  }
}

async function begin(
  options: DaemonOptions,
  hooks: LifeHooks,
  refusal?: string,
): Promise<Result<Life, string>> {
  const { log, socket } = options;
  const created = await createPeer(options, hooks, refusal);
  if (!created.ok) return created;
  const { peer, release } = created.value;
  const { clock } = peer.ports;
  const server = new ControlServer({
    listener: new HostListener(socket),
    backend: createBackend(peer, {
      version: VERSION,
      pid: process.pid,
      socket,
      leave: hooks.leave,
      tap: log,
      descriptors: descriptorUse,
    }),
    clock,
    log,
    version: VERSION,
  });
  const listening = await listen(peer, peer.ports, options);
  if (!listening.ok) return listening;
  const control = await server.open();
  if (!control.ok) {
    await peer.stop(0);
    const isInUse = control.code === 'in_use';
    return err(
      `the control socket ${socket} ${isInUse ? 'is in use' : 'cannot be opened'}: ` +
        `${control.detail}${isInUse ? '; choose another with --socket' : ''}`,
    );
  }
  return ok({ peer, socketPath: control.path, parts: { peer, server, log, release } });
}

/** Opens everything and starts; an error is a sentence for the operator. */
export async function startDaemon(options: DaemonOptions): Promise<Result<Daemon, string>> {
  const { log } = options;
  const ending = new Ending();
  const fatal = (why: string): void => {
    log.log('error', why);
    ending.fatal();
  };
  let peer: Peer;
  /** The life that is being begun, or the one that goes on. */
  let current: Promise<Result<Life, string>>;
  /** The store gets another id, or this is no member any more: nothing of this life may be relied on. */
  const renew = async (before: Life, why: string | undefined): Promise<Result<Life, string>> => {
    const { server, release } = before.parts;
    await server.close();
    await before.peer.abandon();
    await release();
    return begin(options, hooks, why);
  };
  const hooks: LifeHooks = {
    fatal,
    renew: (why) => {
      const before = current;
      current = before.then((life) => (life.ok && !ending.isUnder ? renew(life.value, why) : life));
      void current.then((life) => {
        if (life.ok) peer = life.value.peer;
        else fatal(life.error);
      });
    },
    leave: async (timeoutMs) => {
      const life = await current;
      return life.ok ? ending.begin('leave', life.value.parts, timeoutMs) : [];
    },
  };
  current = begin(options, hooks);
  const first = await current;
  if (!first.ok) return first;
  peer = first.value.peer;
  const end = async (how: 'stop' | 'leave'): Promise<number> => {
    const life = await current;
    if (life.ok) await ending.begin(how, life.value.parts);
    return ending.ended;
  };
  return ok({
    get peer() {
      return peer;
    },
    ready: readyLine(peer, first.value.socketPath),
    stop: () => end('stop'),
    leave: () => end('leave'),
    ended: ending.ended,
  });
}

function readyLine(peer: Peer, socket: string): Ready {
  const self = peer.membership.self();
  return {
    event: 'ready',
    pid: process.pid,
    peer_id: self.peerId,
    store_id: peer.identity.storeId,
    mesh_id: peer.membership.meshId,
    addresses: self.addresses,
    socket,
  };
}
