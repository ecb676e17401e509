/** A ControlServer on memory streams and virtual time: for tests of what it makes of bytes. */
import { RecordingLogger } from '../../src/base/telemetry.ts';
import type { ControlBackend } from '../../src/control/backend.ts';
import { ControlServer } from '../../src/control/server.ts';
import { SimClock } from '../../src/sim/clock.ts';
import { type MemoryClient, MemoryListener } from './control-listeners.ts';
import { FakeBackend } from './fake-backend.ts';

export interface Answer {
  readonly id?: unknown;
  readonly method?: string;
  readonly params?: Readonly<Record<string, unknown>>;
  readonly result?: Readonly<Record<string, unknown>>;
  readonly error?: {
    readonly code: number;
    readonly message: string;
    readonly data: Readonly<Record<string, unknown>>;
  };
}

export class ControlMemory {
  readonly clock = new SimClock();
  readonly backend = new FakeBackend({ clock: this.clock });
  readonly log = new RecordingLogger();
  readonly listener = new MemoryListener();
  readonly server: ControlServer;

  constructor(overrides: Partial<ControlBackend> = {}) {
    const backend: ControlBackend = { ...this.backend.methods, ...overrides };
    const { clock, listener, log } = this;
    this.server = new ControlServer({ backend, clock, listener, log, version: '0.1.0' });
    void this.server.open();
  }

  connect(): MemoryClient {
    return this.listener.connect();
  }

  /** Sends, lets the server work for `ms`, and gives what it answered. */
  async ask(client: MemoryClient, data: Uint8Array | string, ms = 1): Promise<Answer[]> {
    client.send(data);
    await this.clock.runFor(ms);
    return client.take() as Answer[];
  }
}

/** A request line. */
export const line = (id: unknown, method: string, params?: unknown): string =>
  `${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`;

/** The code of the one answer. */
export const codeOf = (answers: readonly Answer[]): unknown =>
  answers.length === 1 ? answers[0]?.error?.data.code : `${answers.length} answers`;
