/**
 * Wishes about tasks that any peer may bring to a home store: cancel, and "another task came first under this
 * key". Whoever owns the task acts on them. Messages: `task.cancel`, `task.duplicate`.
 */
import type { TaskState } from '../api/task.ts';
import { type CoveyError, coveyError } from '../base/errors.ts';
import { err, ok, type Result } from '../base/result.ts';
import type { Clock } from '../ports/clock.ts';
import { homeOf, type RecordState, type StoreId } from '../records/record.ts';
import type { WireMap } from '../wire/envelope.ts';
import type { Messaging } from '../wire/messaging.ts';
import { atHome } from './at-home.ts';
import type { Attempts } from './attempts.ts';
import type { MeshView } from './mesh-view.ts';
import { ownerOf, ownerOrder } from './ownership.ts';
import type { Reader } from './reader.ts';
import { taskOf } from './task.ts';
import { standingOf } from './view.ts';

export interface IntentDeps {
  readonly clock: Clock;
  readonly messaging: Messaging;
  readonly view: MeshView;
  readonly reader: Reader;
  readonly attempts: Attempts;
}

export class Intents {
  readonly #deps: IntentDeps;

  constructor(deps: IntentDeps) {
    this.#deps = deps;
    deps.messaging.onRequest('task.cancel', (_from, body) => this.#onCancel(body));
    deps.messaging.onRequest('task.duplicate', (_from, body) => this.#onDuplicate(body));
  }

  /** Notes the wish at a home store; whoever owns the task acts on it. */
  async cancel(id: string, reason: string): Promise<Result<TaskState, CoveyError>> {
    const found = await this.#deps.reader.find(id, false);
    if (found === undefined) return err(coveyError('NOT_FOUND', { what: `task ${id}` }));
    const { view, messaging, clock } = this.#deps;
    const standing = standingOf(taskOf(found.record), clock.wallMs());
    if (taskOf(found.record).final !== undefined) return ok(standing.state);
    let failure: CoveyError = coveyError('UNREACHABLE', { what: `the home of ${id}` });
    for (const store of this.#ownerFirst(found.record)) {
      const peer =
        store === view.self().storeId ? view.self().peerId : view.directory.peerOf(store);
      if (peer === undefined) continue;
      const answer = await messaging.call(peer, 'task.cancel', {
        id,
        reason,
        by: view.self().name,
      });
      if (answer.ok) return ok(standing.state);
      // Where it was noted it may be acted on: that another store has no copy must not be told as "there is no such task".
      if (failure.code !== 'NOT_ENOUGH_COPIES') failure = answer.error;
    }
    return err(failure);
  }

  /** What the owner writes is one version; written at another store it may be concurrent with what the owner does. */
  #ownerFirst(record: RecordState): readonly StoreId[] {
    const owner = ownerOf(taskOf(record), this.#deps.view);
    const order = ownerOrder(record.id, homeOf(record));
    return owner === undefined ? order : [owner, ...order.filter((store) => store !== owner)];
  }

  async #onCancel(body: WireMap): Promise<Result<WireMap, CoveyError>> {
    const { id, reason, by } = body;
    if (typeof id !== 'string')
      return err(coveyError('INVALID_PARAMS', { why: 'task.cancel without an id' }));
    const noted = await this.#deps.attempts.noteOrWhy(id, (task) => {
      if (task.final !== undefined || task.cancel !== undefined) return undefined;
      return {
        t: 'cancel',
        reason: String(reason ?? ''),
        by: String(by ?? ''),
        at: this.#deps.clock.wallMs(),
      };
    });
    return noted.ok ? ok({}) : noted;
  }

  /** Tells the home of a task that another one came first. False: it could not be told yet. */
  async markDuplicate(id: string, of: string): Promise<boolean> {
    const found = await this.#deps.reader.find(id, false);
    if (found === undefined) return false;
    if (taskOf(found.record).final !== undefined) return true;
    const [owner = '', ...others] = this.#ownerFirst(found.record);
    const body = { id, of };
    return (await atHome(this.#deps, others, owner, 'task.duplicate', body)) !== undefined;
  }

  async #onDuplicate(body: WireMap): Promise<Result<WireMap, CoveyError>> {
    const { id, of } = body;
    if (typeof id !== 'string' || typeof of !== 'string') {
      return err(coveyError('INVALID_PARAMS', { why: 'task.duplicate is malformed' }));
    }
    const at = this.#deps.clock.wallMs();
    const noted = await this.#deps.attempts.note(id, (task) =>
      task.final !== undefined || task.duplicateOf !== undefined ? undefined : { t: 'dup', of, at },
    );
    if (!noted) return err(coveyError('NOT_FOUND', { what: `task ${id}` }));
    return ok({});
  }
}
