/** A ControlServer on a Unix socket in a temporary directory, that can be killed and started again. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Logger, RecordingLogger } from '../../src/base/telemetry.ts';
import { ControlServer } from '../../src/control/server.ts';
import { HostListener } from '../../src/host/listener.ts';
import { CrashableListener } from './control-listeners.ts';
import { FakeBackend, type FakeBackendOptions } from './fake-backend.ts';

export class ControlHost {
  readonly backend: FakeBackend;
  readonly log: RecordingLogger & Logger = new RecordingLogger();
  readonly directory: string;
  readonly socket: string;
  #listener: CrashableListener;
  server: ControlServer;

  private constructor(directory: string, options: FakeBackendOptions) {
    this.directory = directory;
    this.socket = join(directory, 'covey.sock');
    this.backend = new FakeBackend(options);
    this.#listener = new CrashableListener(new HostListener(this.socket));
    this.server = this.#newServer();
  }

  static async start(options: FakeBackendOptions = {}): Promise<ControlHost> {
    const host = new ControlHost(await mkdtemp(join(tmpdir(), 'covey-control-')), options);
    await host.#open();
    return host;
  }

  /** SIGKILL: every connection ends, nothing is said. */
  async crash(): Promise<void> {
    this.backend.workers.daemonLives = false;
    await this.#listener.crash();
  }

  async restart(): Promise<void> {
    this.#listener = new CrashableListener(new HostListener(this.socket));
    this.server = this.#newServer();
    await this.#open();
    this.backend.workers.daemonLives = true;
  }

  async stop(): Promise<void> {
    await this.server.close();
    await this.#listener.crash();
    await rm(this.directory, { recursive: true, force: true });
  }

  #newServer(): ControlServer {
    const { clock, methods } = this.backend;
    const options = { clock, backend: methods, listener: this.#listener, log: this.log };
    return new ControlServer({ ...options, version: '0.1.0' });
  }

  async #open(): Promise<void> {
    const opened = await this.server.open();
    if (!opened.ok) throw new Error(opened.detail);
  }
}
