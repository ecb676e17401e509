/** One daemon of the test network with its relay, configuration and log. */
import type { ChildProcess } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parse, stringify } from 'yaml';
import { z } from 'zod';
import { err, ok, type Result } from '../base/result.ts';
import { type DaemonExit, DaemonProcess, type ReadyLine } from './daemon-process.ts';
import { logFileOf } from './down.ts';
import { TESTNET_PRESET } from './paths.ts';
import { type ProcessRef, runStateOf } from './processes.ts';
import { Relay } from './relay.ts';
import { callDaemon } from './rpc.ts';
import type { PeerState } from './state.ts';
import type { PeerStatus } from './testnet.ts';

/** A status line must not wait for a daemon that hangs; a frozen one is not even asked. */
const STATUS_TIMEOUT_MS = 3_000;
const STOP_POLL_MS = 1;
/** Beyond a daemon's own shutdown_timeout (25 s) and kill_grace; then it hangs, and a test should hear of it. */
const EXIT_TIMEOUT_MS = 60_000;

/** The mesh as this daemon sees it; null when it does not answer. */
export async function membersSeenAt(socket: string): Promise<PeerStatus['members']> {
  const answer = await callDaemon(socket, 'members.list', {}, STATUS_TIMEOUT_MS);
  if (!answer.ok) return null;
  return Object.fromEntries(answer.value.members.map((member) => [member.name, member.status]));
}

export interface PeerOptions {
  readonly state: PeerState;
  readonly dir: string;
  readonly command: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string>>;
  readonly config: Readonly<Record<string, unknown>>;
  readonly hasPreset: boolean;
  readonly hasRelay: boolean;
  readonly slots: number | undefined;
  readonly isCut: (sourceHost: string) => boolean;
  readonly onStarted: (ref: ProcessRef) => Promise<void>;
}

export class TestPeer {
  readonly relay: Relay;
  readonly #options: PeerOptions;
  #child: ChildProcess | undefined;
  #daemon: DaemonProcess | undefined;
  #ready: ReadyLine | undefined;
  /** A start in progress, so that `down` cannot miss a daemon that is just being spawned. */
  #starting: Promise<unknown> = Promise.resolve();
  #refusesStarts = false;

  constructor(options: PeerOptions) {
    this.#options = options;
    const { host, port, relayPort } = options.state;
    this.relay = new Relay({
      listen: { host, port: relayPort },
      target: { host, port },
      isCut: options.isCut,
    });
  }

  get state(): PeerState {
    return this.#options.state;
  }

  /** Where others reach it. */
  get address(): string {
    const { host, port, relayPort } = this.state;
    return `${host}:${this.#options.hasRelay ? relayPort : port}`;
  }

  get ready(): ReadyLine | undefined {
    return this.#ready;
  }

  /** The daemon's process, while it runs. */
  get ref(): ProcessRef | undefined {
    return this.#daemon && !this.#daemon.hasExited ? this.#daemon.ref : undefined;
  }

  refuseStarts(): void {
    this.#refusesStarts = true;
    // Spawned, and not yet known by its pid and start time: nobody else would end it.
    if (this.ref === undefined) this.killNow();
  }

  async whenExited(): Promise<void> {
    await this.#starting;
    if (this.#daemon) await this.#daemon.exited;
  }

  async waitForExit(): Promise<DaemonExit> {
    if (!this.#daemon) throw new Error(`peer ${this.state.index} was never started`);
    return await this.#daemon.exited;
  }

  killNow(): void {
    // Does nothing once the child was reaped.
    this.#child?.kill('SIGKILL');
  }

  /** Starts the daemon and waits until others can reach it through its relay. */
  start(): Promise<Result<void, string>> {
    const started = this.#start();
    this.#starting = started.catch(() => undefined); // the caller hears of it
    return started;
  }

  async #start(): Promise<Result<void, string>> {
    if (this.#refusesStarts) return err('the network is being ended');
    if (this.ref) return err(`runs already, as pid ${this.ref.pid}`);
    await this.#writeConfig();
    const started = await DaemonProcess.start({
      command: this.#options.command,
      args: this.#arguments(),
      env: { ...foreignEnvironment(), ...this.#options.env },
      logFile: logFileOf(this.#options.dir, this.state.index),
      onSpawned: (child) => {
        this.#child = child;
        // `down` may have come while the configuration was written.
        if (this.#refusesStarts) this.killNow();
      },
      onStarted: (daemon) => {
        this.#adopt(daemon);
        return this.#options.onStarted(daemon.ref);
      },
    });
    if (!started.ok) return started;
    this.#ready = started.value;
    // One that was revoked does not listen.
    if (started.value.addresses.length === 0 || !this.#options.hasRelay) return ok(undefined);
    this.relay.check();
    const daemon = this.#daemon;
    await Promise.race([this.relay.whenListening(true), daemon?.exited]);
    return daemon?.hasExited ? err('the daemon ended right after it was ready') : ok(undefined);
  }

  /** Sends the signal and waits for the end of the process; nothing to do when there is none. */
  async kill(signal: NodeJS.Signals): Promise<void> {
    const daemon = this.#daemon;
    if (!daemon || daemon.hasExited) return;
    await daemon.kill(signal);
    if (signal !== 'SIGKILL') await daemon.kill('SIGCONT');
    const timer = setTimeout(() => this.killNow(), EXIT_TIMEOUT_MS);
    await daemon.exited;
    clearTimeout(timer);
  }

  /** Freezes the daemon, and returns when the kernel has: the signal alone only asks for it. */
  async stop(): Promise<void> {
    await this.#signal('SIGSTOP');
    while (this.ref && (await runStateOf(this.ref)) === 'running') await delay(STOP_POLL_MS);
  }

  cont(): Promise<void> {
    return this.#signal('SIGCONT');
  }

  async #signal(signal: NodeJS.Signals): Promise<void> {
    if (!this.#daemon || !(await this.#daemon.kill(signal))) {
      throw new Error(`peer ${this.state.index} does not run`);
    }
  }

  async status(): Promise<PeerStatus> {
    const { index, name, socket } = this.state;
    const state = this.ref ? await runStateOf(this.ref) : 'dead';
    const members = state === 'running' ? await membersSeenAt(socket) : null;
    const pid = this.ref?.pid ?? null;
    return { index, name, pid, state, socket, address: this.address, members };
  }

  #adopt(daemon: DaemonProcess): void {
    this.#daemon = daemon;
    // The relay sees connections end, but a daemon without any has none to end.
    if (this.#options.hasRelay) void daemon.exited.then(() => this.relay.check());
  }

  #arguments(): string[] {
    const { dataDir, host, port, socket, name } = this.state;
    const { slots } = this.#options;
    return [
      ...['--data-dir', dataDir, '--config', this.#configFile()],
      ...['--bind', `${host}:${port}`, '--advertise', this.address],
      ...['--socket', socket, '--name', name, '--allow-root'],
      ...(slots === undefined ? [] : ['--slots', String(slots)]),
    ];
  }

  #configFile(): string {
    return join(this.state.dataDir, 'config.yaml');
  }

  async #writeConfig(): Promise<void> {
    await mkdir(this.state.dataDir, { recursive: true, mode: 0o700 });
    const preset = this.#options.hasPreset
      ? z.record(z.string(), z.unknown()).parse(parse(await readFile(TESTNET_PRESET, 'utf8')))
      : {};
    const config = { ...preset, ...this.#options.config, dial_from: this.state.host };
    await writeFile(this.#configFile(), stringify(config), { mode: 0o600 });
  }
}

/** Ours without COVEY_…: those configure the caller's own daemon, not these. */
function foreignEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith('COVEY_')),
  );
}
