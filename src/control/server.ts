/**
 * The control server: sessions on a Listener, requests checked against `api/`, handlers of the backend behind
 * them. Nothing that a client sends, or fails to read, ends the daemon; a broken invariant of ours does.
 */
import { CONNECTIONS_MAX } from '../api/limits.ts';
import { CONTROL_VERSION, type MethodName, type MethodParams } from '../api/methods.ts';
import { type CoveyError, coveyError, InvariantError, messageOf } from '../base/errors.ts';
import { utf8 } from '../base/hash.ts';
import { err, ok, type Result } from '../base/result.ts';
import type { Logger } from '../base/telemetry.ts';
import type { Clock } from '../ports/clock.ts';
import type { ByteStream, ByteStreamHandlers, Listener, OpenResult } from '../ports/listener.ts';
import type { ControlBackend, Session } from './backend.ts';
import { openRpcDocument } from './discover.ts';
import { encodeAnswer } from './jsonrpc.ts';
import { CLOSE_MS_MAX } from './limits.ts';
import { checkParams, isMethodName, methodNotFound } from './params.ts';
import { ControlSession, type SessionHost } from './session.ts';

/** What a stopping daemon refuses: everything that would give it new work. */
const NEW_WORK: ReadonlySet<MethodName> = new Set<MethodName>([
  'ids.reserve',
  'task.submit',
  'task.submit_bulk',
  'task.retry',
  'worker.register',
  'worker.resume',
  'access.invite',
  'mesh.join',
  'mesh.merge',
]);

export interface ControlServerOptions {
  readonly listener: Listener;
  readonly backend: ControlBackend;
  readonly clock: Clock;
  readonly log: Logger;
  /** Of the daemon's package. */
  readonly version: string;
}

export class ControlServer implements SessionHost {
  readonly #options: ControlServerOptions;
  readonly #sessions = new Set<ControlSession>();
  /** Made when it is first asked for. */
  #document: Record<string, unknown> | undefined;
  #nextSession = 1;
  #stopping = false;

  constructor(options: ControlServerOptions) {
    this.#options = options;
  }

  open(): Promise<OpenResult> {
    return this.#options.listener.open((stream) => this.#accept(stream));
  }

  /** From now on what would give new work is refused with STOPPING; everything else goes on. */
  stopTaking(): void {
    this.#stopping = true;
  }

  /** Removes the socket, answers what is open with STOPPING, and ends every connection. */
  async close(): Promise<void> {
    this.#stopping = true;
    await this.#options.listener.close();
    await Promise.all([...this.#sessions].map((session) => session.close(coveyError('STOPPING'))));
  }

  async execute(
    session: Session,
    method: string,
    params: Readonly<Record<string, unknown>>,
  ): Promise<Result<unknown, CoveyError>> {
    if (!isMethodName(method)) return err(methodNotFound(method));
    const checked = checkParams(method, params);
    if (!checked.ok) return checked;
    if (this.#stopping && NEW_WORK.has(method)) return err(coveyError('STOPPING'));
    try {
      return await this.#call(method, checked.value, session);
    } catch (thrown) {
      this.#endOnBrokenInvariant(thrown);
      this.#logFailure('a control method failed', thrown, { method });
      return err(coveyError('INTERNAL', { why: messageOf(thrown).replace(/\.$/, '') }));
    }
  }

  answerFailed(thrown: unknown): CoveyError {
    this.#logFailure('an answer is not JSON', thrown, {});
    return coveyError('INTERNAL', { why: 'its answer could not be written as JSON' });
  }

  refusedReader(session: Session, unreadBytes: number): void {
    const fields = { session: session.id, unread_bytes: unreadBytes };
    this.#options.log.log('warn', 'a client that does not read was disconnected', fields);
  }

  #accept(stream: ByteStream): ByteStreamHandlers {
    if (this.#sessions.size >= CONNECTIONS_MAX) return this.#turnAway(stream);
    const id = `s${this.#nextSession++}`;
    const session = new ControlSession(id, stream, this.#options.clock, this);
    this.#sessions.add(session);
    session.onClosed(() => this.#sessions.delete(session));
    return session;
  }

  #turnAway(stream: ByteStream): ByteStreamHandlers {
    const error = coveyError('TOO_MANY_CONNECTIONS', { limit: CONNECTIONS_MAX });
    stream.write(utf8(`${encodeAnswer(null, err(error))}\n`));
    stream.end();
    const timer = this.#options.clock.after(CLOSE_MS_MAX, () => stream.destroy());
    const ignored = (): void => undefined;
    return { data: ignored, drained: ignored, finished: ignored, ended: () => timer.cancel() };
  }

  #call(
    method: MethodName,
    params: unknown,
    session: Session,
  ): Promise<Result<unknown, CoveyError>> | Result<unknown, CoveyError> {
    if (method === 'rpc.discover') {
      this.#document ??= openRpcDocument(this.#options.version);
      return ok(this.#document);
    }
    if (method === 'system.hello') {
      return this.#hello(params as MethodParams<'system.hello'>, session);
    }
    // The schema of this very method has made these parameters: TypeScript cannot follow the pair through a map.
    const handler = this.#options.backend[method] as unknown as (
      params: unknown,
      session: Session,
    ) => Promise<Result<unknown, CoveyError>>;
    return handler(params, session);
  }

  #hello(params: MethodParams<'system.hello'>, session: Session): Result<unknown, CoveyError> {
    if (!params.versions.includes(CONTROL_VERSION)) {
      const ours = String(CONTROL_VERSION);
      return err(coveyError('VERSION_MISMATCH', { ours, theirs: params.versions.join(', ') }));
    }
    const fields = { session: session.id, client: params.client };
    this.#options.log.log('debug', 'a client said hello', fields);
    const server = `coveyd/${this.#options.version}`;
    const about = this.#options.backend.about();
    return ok({ server, version: CONTROL_VERSION, ...about, features: [] });
  }

  #logFailure(message: string, thrown: unknown, fields: Readonly<Record<string, unknown>>): void {
    const stack = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
    this.#options.log.log('error', message, { ...fields, error: stack });
  }

  /** Thrown from a timer, it is nobody's rejected promise: it ends the daemon, or fails the simulation. */
  #endOnBrokenInvariant(thrown: unknown): void {
    if (!(thrown instanceof InvariantError)) return;
    this.#options.clock.after(0, () => {
      throw thrown;
    });
  }
}
