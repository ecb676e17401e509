/**
 * Requests and messages between members on the data and bulk classes: matching of answers, timeouts, limits.
 * Handlers are registered once by type; a handler's refusal travels as a code of the error table.
 */
import {
  type CoveyError,
  coveyError,
  InvariantError,
  isErrorCode,
  messageOf,
} from '../base/errors.ts';
import { Refused } from '../base/refused.ts';
import { err, ok } from '../base/result.ts';
import type { Logger } from '../base/telemetry.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import type { PeerId } from '../ports/identity.ts';
import type { FrameClass, Network } from '../ports/network.ts';
import type { Random } from '../ports/random.ts';
import type { WireMap } from '../wire/envelope.ts';
import { decodeEnvelope, encodeEnvelope } from '../wire/envelope.ts';
import type {
  CallOptions,
  CallResult,
  MessageHandler,
  Messaging,
  RequestHandler,
} from '../wire/messaging.ts';
import type { Detour } from './detour.ts';

/** Requests of this peer that wait for an answer, all peers together: each holds a closure and a timer. */
export const PENDING_CALLS_MAX = 65_536;
/** Requests of one peer that are being handled here; more get BUSY, so that one member cannot fill the heap. */
export const SERVING_MAX = 16_384;
/** Bytes of them: what a slow disk takes in a second. */
export const SERVING_BYTES_MAX = 64 * 1_024 * 1_024;
export const CALL_TIMEOUT_MS = 5_000;
const BUSY_RETRY_MS = 200;
/** The simulator looks for this line: there it is a finding. */
export const HANDLER_FAILED = 'a request of a member failed here';

/** Requests of one peer that are being handled. */
interface Serving {
  count: number;
  bytes: number;
  /** How often its link ended meanwhile. */
  links: number;
}

interface PendingCall {
  readonly to: PeerId;
  readonly resolve: (result: CallResult) => void;
  readonly timer: Timer;
}

export class Messenger implements Messaging {
  readonly #network: Network;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #self: PeerId;
  readonly #refused: Refused;
  readonly #pending = new Map<number, PendingCall>();
  readonly #serving = new Map<PeerId, Serving>();
  readonly #requests = new Map<string, RequestHandler>();
  readonly #messages = new Map<string, MessageHandler>();
  /**
   * Counted from a random number, not from 1: an answer that was long on its way to an earlier boot of this daemon
   * would else be taken for the answer to a request of this boot.
   */
  #nextId: number;
  #stopped = false;

  constructor(deps: {
    network: Network;
    clock: Clock;
    random: Random;
    log: Logger;
    self: PeerId;
    refused?: Refused;
  }) {
    this.#refused = deps.refused ?? new Refused();
    this.#nextId = 1 + deps.random.uint32();
    this.#network = deps.network;
    this.#clock = deps.clock;
    this.#log = deps.log;
    this.#self = deps.self;
  }

  onRequest(type: string, handler: RequestHandler): void {
    this.#requests.set(type, handler);
  }

  onMessage(type: string, handler: MessageHandler): void {
    this.#messages.set(type, handler);
  }

  /** Where a link is missing, or silent; undefined: there is no way but links. */
  detour: Pick<Detour, 'isNeeded' | 'call' | 'cast'> | undefined;

  /** A request or a message was sent to this peer. */
  onUse: (to: PeerId) => void = () => undefined;

  /** Requests of whom are not served for now. */
  refusalOf: (from: PeerId, type: string) => CoveyError | undefined = () => undefined;

  async call(
    to: PeerId,
    type: string,
    body: WireMap,
    options: CallOptions = {},
  ): Promise<CallResult> {
    if (to === this.#self) return this.#serve(to, type, body);
    const isAstray = !this.#stopped && this.detour?.isNeeded(to) === true;
    if (isAstray && this.detour) return this.detour.call(to, type, body, options);
    return this.callLinked(to, type, body, options);
  }

  /** Over a link, or not at all. */
  async callLinked(
    to: PeerId,
    type: string,
    body: WireMap,
    options: CallOptions = {},
  ): Promise<CallResult> {
    if (this.#stopped) return err(coveyError('STOPPING'));
    if (this.#pending.size >= PENDING_CALLS_MAX) {
      return err(
        coveyError('BUSY', { what: 'requests to other peers', retry_after_ms: BUSY_RETRY_MS }),
      );
    }
    const id = this.#nextId++;
    const timeoutMs = options.timeoutMs ?? CALL_TIMEOUT_MS;
    return new Promise((resolve) => {
      const timer = this.#clock.after(timeoutMs, () =>
        this.#settle(
          id,
          err(coveyError('TIMEOUT', { timeout_ms: timeoutMs, what: `${type} to ${to}` })),
        ),
      );
      this.#pending.set(id, { to, resolve, timer });
      const frame = encodeEnvelope({ kind: 'request', id, type, body });
      const sent = this.#network.send(to, options.frameClass ?? 'data', frame);
      // Rounds of anti-entropy go over every link there is: they would keep all of them.
      if (sent === 'sent' && options.frameClass !== 'bulk') this.onUse(to);
      if (sent === 'gone') this.#settle(id, err(coveyError('UNREACHABLE', { what: to })));
      if (sent === 'full') {
        this.#settle(
          id,
          err(coveyError('BUSY', { what: `frames to ${to}`, retry_after_ms: BUSY_RETRY_MS })),
        );
      }
    });
  }

  cast(to: PeerId, type: string, body: WireMap): boolean {
    if (to === this.#self) {
      // In a later turn, as from the network: a handler never runs inside its caller.
      this.#clock.after(0, () => this.#messages.get(type)?.(to, body));
      return true;
    }
    if (this.#stopped) return false;
    if (this.detour?.isNeeded(to)) return this.detour.cast(to, type, body);
    return this.castLinked(to, type, body);
  }

  castLinked(to: PeerId, type: string, body: WireMap): boolean {
    const frame = encodeEnvelope({ kind: 'message', type, body });
    const isSent = !this.#stopped && this.#network.send(to, 'data', frame) === 'sent';
    if (isSent) this.onUse(to);
    return isSent;
  }

  /** Requests of this peer wait for answers there. */
  isWaitingFor(peer: PeerId): boolean {
    for (const { to } of this.#pending.values()) if (to === peer) return true;
    return false;
  }

  /** A frame of the data or bulk class arrived. */
  receive(from: PeerId, frameClass: FrameClass, bytes: Uint8Array): void {
    const decoded = decodeEnvelope(bytes);
    if (!decoded.ok) {
      this.#refused.count('frame: not readable');
      this.#log.log('warn', 'a member sent an unreadable frame', { from, why: decoded.error });
      return;
    }
    const envelope = decoded.value;
    switch (envelope.kind) {
      case 'message':
        this.#heed(from, envelope.type, envelope.body);
        return;
      case 'request':
        void this.#answer(from, frameClass, envelope, bytes.length);
        return;
      case 'reply':
        if (this.#pending.get(envelope.id)?.to === from)
          this.#settle(envelope.id, ok(envelope.body));
        return;
      case 'refusal':
        if (this.#pending.get(envelope.id)?.to === from)
          this.#settle(envelope.id, err(refusalOf(envelope.code, envelope.body)));
    }
  }

  #heed(from: PeerId, type: string, body: WireMap): void {
    const handler = this.#messages.get(type);
    if (handler === undefined) {
      this.#refused.count('frame: unknown type');
      this.#log.log('debug', 'a message of an unknown type was ignored', { from, type });
      return;
    }
    try {
      handler(from, body);
    } catch (thrown) {
      // As with a request: thrown from here it would end the daemon, for a frame that anybody may send.
      this.#failed(from, type, thrown);
    }
  }

  /** What a third member brought of `from`, and proved. */
  async serveRelayed(
    from: PeerId,
    carried: {
      readonly kind: 'request' | 'message';
      readonly type: string;
      readonly body: WireMap;
    },
  ): Promise<CallResult> {
    if (carried.kind === 'request') return this.#serve(from, carried.type, carried.body);
    this.#heed(from, carried.type, carried.body);
    return ok({});
  }

  /** The answer that a third member brought. */
  readAnswer(bytes: Uint8Array): CallResult {
    const decoded = decodeEnvelope(bytes);
    if (decoded.ok && decoded.value.kind === 'reply') return ok(decoded.value.body);
    if (decoded.ok && decoded.value.kind === 'refusal')
      return err(refusalOf(decoded.value.code, decoded.value.body));
    return err(coveyError('INTERNAL', { why: 'a relayed answer was not readable' }));
  }

  /** The link to this peer ended: its answers will not come, and nobody waits for ours. */
  unlinked(peer: PeerId): void {
    const serving = this.#serving.get(peer);
    if (serving !== undefined) serving.links += 1;
    for (const [id, call] of this.#pending) {
      if (call.to === peer) this.#settle(id, err(coveyError('UNREACHABLE', { what: peer })));
    }
  }

  stop(): void {
    this.#stopped = true;
    for (const id of [...this.#pending.keys()]) this.#settle(id, err(coveyError('STOPPING')));
  }

  #settle(id: number, result: CallResult): void {
    const call = this.#pending.get(id);
    if (call === undefined) return;
    this.#pending.delete(id);
    call.timer.cancel();
    call.resolve(result);
  }

  async #serve(from: PeerId, type: string, body: WireMap): Promise<CallResult> {
    const refusal = this.refusalOf(from, type);
    if (refusal !== undefined) return err(refusal);
    const handler = this.#requests.get(type);
    if (handler === undefined) {
      this.#refused.count('request: unknown type');
      return err(coveyError('METHOD_NOT_FOUND', { method: type }));
    }
    try {
      return await handler(from, body);
    } catch (thrown) {
      return this.#failed(from, type, thrown);
    }
  }

  /**
   * A member's request that meets a mistake of ours, or an error of the system that nobody foresaw, must not end the
   * daemon. A broken invariant does: thrown from a timer, where nobody can take it for an answer.
   */
  #failed(from: PeerId, type: string, thrown: unknown): CallResult {
    if (thrown instanceof InvariantError) {
      this.#clock.after(0, () => {
        throw thrown;
      });
    }
    const error = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
    this.#refused.count('request: it failed here');
    this.#log.log('error', HANDLER_FAILED, { from, type, error });
    return err(coveyError('INTERNAL', { why: messageOf(thrown).replace(/\.$/, '') }));
  }

  async #answer(
    from: PeerId,
    frameClass: FrameClass,
    { id, type, body }: { readonly id: number; readonly type: string; readonly body: WireMap },
    bytes: number,
  ): Promise<void> {
    const serving = this.#serving.get(from) ?? { count: 0, bytes: 0, links: 0 };
    const { links } = serving;
    let result: CallResult;
    if (serving.count >= SERVING_MAX || serving.bytes + bytes > SERVING_BYTES_MAX) {
      this.#refused.count('request: too many of one peer');
      result = err(
        coveyError('BUSY', { what: 'requests of this peer', retry_after_ms: BUSY_RETRY_MS }),
      );
    } else {
      serving.count += 1;
      serving.bytes += bytes;
      this.#serving.set(from, serving);
      result = await this.#serve(from, type, body);
      serving.count -= 1;
      serving.bytes -= bytes;
      if (serving.count === 0) this.#serving.delete(from);
    }
    // Who asked over a link that has ended has given up, and may have started again since.
    if (this.#stopped || serving.links !== links) return;
    let frame: Uint8Array;
    try {
      frame = frameOf(id, result);
    } catch (thrown) {
      frame = frameOf(id, this.#failed(from, type, thrown));
    }
    const sent = this.#network.send(from, frameClass, frame);
    if (sent === 'full')
      this.#log.log('warn', 'an answer was dropped: the peer does not read', { from, type });
  }
}

const frameOf = (id: number, result: CallResult): Uint8Array =>
  result.ok
    ? encodeEnvelope({ kind: 'reply', id, body: result.value })
    : encodeEnvelope({
        kind: 'refusal',
        id,
        code: result.error.code,
        body: { ...result.error.details, message: result.error.message } as WireMap,
      });

function refusalOf(text: string, body: WireMap): CoveyError {
  const code = isErrorCode(text) ? text : 'INTERNAL';
  const details = scalarDetails(body);
  const { message } = body;
  return {
    code,
    message: typeof message === 'string' ? message : coveyError(code, details).message,
    details,
  };
}

function scalarDetails(body: WireMap): Record<string, string | number | boolean> {
  const details: Record<string, string | number | boolean> = {};
  for (const [key, value] of Object.entries(body)) {
    if (key === 'message') continue;
    if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean')
      details[key] = value;
  }
  return details;
}
