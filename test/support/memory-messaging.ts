/**
 * Messaging in memory on a simulated clock: requests and messages between stores of one test, every body through
 * the codec as on the wire, with faults per peer and a log of what was sent.
 */
import { coveyError } from '../../src/base/errors.ts';
import { err } from '../../src/base/result.ts';
import type { SimClock } from '../../src/sim/clock.ts';
import { decodeValue, encodeValue } from '../../src/wire/codec.ts';
import { isWireMap, type WireMap } from '../../src/wire/envelope.ts';
import type {
  CallOptions,
  CallResult,
  MessageHandler,
  Messaging,
  RequestHandler,
} from '../../src/wire/messaging.ts';

export interface Sent {
  readonly from: string;
  readonly to: string;
  readonly type: string;
  readonly body: WireMap;
}

const TIMEOUT_MS = 5_000;
const HOP_MS = 1;

const copyOf = (body: WireMap): WireMap => {
  const decoded = decodeValue(encodeValue(body));
  if (!decoded.ok || !isWireMap(decoded.value)) throw new Error('a body that does not travel');
  return decoded.value;
};

export class MemoryMesh {
  readonly clock: SimClock;
  /** Requests and messages, in the order sent. */
  readonly sent: Sent[] = [];
  /** No link to these peers: calls answer UNREACHABLE at once. */
  readonly gone = new Set<string>();
  /** Linked, and never answering: calls to these peers time out. */
  readonly frozen = new Set<string>();
  readonly #ends = new Map<string, MemoryMessaging>();

  constructor(clock: SimClock) {
    this.clock = clock;
  }

  join(peer: string): MemoryMessaging {
    const end = new MemoryMessaging(this, peer);
    this.#ends.set(peer, end);
    return end;
  }

  end(peer: string): MemoryMessaging | undefined {
    return this.gone.has(peer) ? undefined : this.#ends.get(peer);
  }

  count(type: string): number {
    return this.sent.filter((item) => item.type === type).length;
  }
}

export class MemoryMessaging implements Messaging {
  readonly #mesh: MemoryMesh;
  readonly #self: string;
  readonly requests = new Map<string, RequestHandler>();
  readonly messages = new Map<string, MessageHandler>();

  constructor(mesh: MemoryMesh, self: string) {
    this.#mesh = mesh;
    this.#self = self;
  }

  onRequest(type: string, handler: RequestHandler): void {
    this.requests.set(type, handler);
  }

  onMessage(type: string, handler: MessageHandler): void {
    this.messages.set(type, handler);
  }

  call(to: string, type: string, body: WireMap, options: CallOptions = {}): Promise<CallResult> {
    const { clock, frozen } = this.#mesh;
    const copy = copyOf(body);
    this.#mesh.sent.push({ from: this.#self, to, type, body: copy });
    const end = to === this.#self ? this : this.#mesh.end(to);
    if (end === undefined) return Promise.resolve(err(coveyError('UNREACHABLE', { what: to })));
    return new Promise((resolve) => {
      const timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
      const timer = clock.after(timeoutMs, () =>
        resolve(err(coveyError('TIMEOUT', { timeout_ms: timeoutMs, what: type }))),
      );
      clock.after(HOP_MS, () => {
        if (frozen.has(to)) return;
        const handler = end.requests.get(type);
        if (handler === undefined) throw new Error(`no handler for ${type}`);
        void Promise.resolve(handler(this.#self, copy)).then((answer) => {
          clock.after(HOP_MS, () => {
            if (frozen.has(to)) return;
            timer.cancel();
            resolve(answer.ok ? { ok: true, value: copyOf(answer.value) } : answer);
          });
        });
      });
    });
  }

  cast(to: string, type: string, body: WireMap): boolean {
    const copy = copyOf(body);
    this.#mesh.sent.push({ from: this.#self, to, type, body: copy });
    const end = to === this.#self ? this : this.#mesh.end(to);
    if (end === undefined) return false;
    this.#mesh.clock.after(HOP_MS, () => {
      if (!this.#mesh.frozen.has(to)) end.messages.get(type)?.(this.#self, copy);
    });
    return true;
  }
}
