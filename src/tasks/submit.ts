/** Taking tasks in: ids, homes, the record of a request, and the receipt. */
import * as limits from '../api/limits.ts';
import type { Receipt, SubmitParams } from '../api/task.ts';
import { type CoveyError, coveyError } from '../base/errors.ts';
import { digestOf, toHex, utf8 } from '../base/hash.ts';
import type { Random } from '../base/random.ts';
import { err, ok, type Result } from '../base/result.ts';
import { parseRfc3339, toRfc3339 } from '../base/rfc3339.ts';
import {
  canonicalTaskId,
  encodeTaskId,
  fingerprintOf,
  ID_TTL_MS,
  parseTaskId,
} from '../base/task-id.ts';
import type { Clock } from '../ports/clock.ts';
import type { RecordState, StoreId } from '../records/record.ts';
import type { Replica } from '../records/replica.ts';
import type { Sharing } from '../records/sharing.ts';
import { encodeValue, type WireValue } from '../wire/codec.ts';
import { EXEC_TYPE, encodeBlob, encodeHeader, type TaskBlob, type TaskHeader } from './facts.ts';
import { type MeshView, presentPeers, requiredNow } from './mesh-view.ts';
import { fromBase64 } from './view.ts';

export interface SubmitDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly replica: Replica;
  readonly sharing: Sharing;
  readonly view: MeshView;
  readonly copies: number;
  readonly copiesRequired: number;
  /** Whether any peer holds this id. */
  readonly isKnown: (id: string) => Promise<boolean>;
  readonly claimKey: (
    queue: string,
    key: string,
    id: string,
  ) => Promise<Result<string, CoveyError>>;
}

interface Prepared {
  readonly header: TaskHeader;
  readonly blob: Uint8Array;
}

/**
 * Reserved ids that were not submitted yet and are remembered as unused; one that was forgotten costs its task a
 * takeover sync before the start, no more.
 */
const UNUSED_IDS_MAX = 65_536;

export class Submit {
  readonly #deps: SubmitDeps;
  /** By fingerprint: all stores that were ever seen here, as few as there are members. */
  readonly #stores = new Map<string, StoreId>();
  /** Reserved here in this boot and not submitted here yet: their first submit is the first of all. */
  readonly #unused = new Set<string>();

  constructor(deps: SubmitDeps) {
    this.#deps = deps;
  }

  mintId(): string {
    const { random, view, copies, clock } = this.#deps;
    const key = toHex(random.bytes(6));
    const home = view.directory.preference(key, copies).slice(0, 3);
    return encodeTaskId({
      createdMs: clock.wallMs(),
      random: key,
      fingerprints: home.map(fingerprintOf),
    });
  }

  reserve(count: number): { ids: string[]; expires_at: string } {
    const ids = Array.from({ length: count }, () => this.mintId());
    for (const id of ids) this.#unused.add(id);
    for (const oldest of this.#unused) {
      if (this.#unused.size <= UNUSED_IDS_MAX) break;
      this.#unused.delete(oldest);
    }
    return { ids, expires_at: toRfc3339(this.#deps.clock.wallMs() + ID_TTL_MS) };
  }

  /** The stores that an id names, as far as they are known here; the rest is stood in for. */
  homeOfId(id: string): StoreId[] {
    const fingerprints = parseTaskId(id)?.fingerprints ?? [];
    if (fingerprints.some((fingerprint) => !this.#stores.has(fingerprint))) {
      for (const { storeId } of this.#deps.view.peers())
        this.#stores.set(fingerprintOf(storeId), storeId);
    }
    return fingerprints
      .map((fingerprint) => this.#stores.get(fingerprint))
      .filter((store) => store !== undefined);
  }

  async submit(params: SubmitParams): Promise<Result<Receipt, CoveyError>> {
    const id = params.id === undefined ? this.mintId() : canonicalTaskId(params.id);
    const parts = id === undefined ? undefined : parseTaskId(id);
    if (id === undefined || parts === undefined) {
      return err(coveyError('INVALID_PARAMS', { why: `'${params.id}' is not a task id` }));
    }
    const isFirst = params.id === undefined || this.#unused.delete(id);
    const prepared = this.#prepare(params);
    if (!prepared.ok) return prepared;
    const isOld = this.#deps.clock.wallMs() - parts.createdMs > ID_TTL_MS;
    if (isOld && !(await this.#deps.isKnown(id))) return err(coveyError('ID_EXPIRED', { id }));
    if (params.dedupe_key !== undefined) {
      const holder = await this.#deps.claimKey(params.queue, params.dedupe_key, id);
      if (!holder.ok) return holder;
      if (holder.value !== id) return ok(this.#existing(holder.value));
    }
    return this.#spread(id, prepared.value, params.durability, isFirst);
  }

  /** The receipt of a task that has the dedupe key already: nothing was stored for this request. */
  #existing(id: string): Receipt {
    const required = requiredNow(this.#deps.view, this.#deps.copiesRequired);
    const degraded = required < this.#deps.copiesRequired;
    return {
      id,
      home: this.homeOfId(id),
      stored_on: [],
      stand_ins: [],
      required,
      degraded,
      existing: true,
    };
  }

  /** The same request again under a new id. */
  async resubmit(
    record: RecordState,
    header: TaskHeader,
    blob: Uint8Array,
  ): Promise<Result<Receipt, CoveyError>> {
    // The key belongs to the task that had it; a retry of a final one is a task of its own.
    const { dedupe_key: _key, ...rest } = header;
    const again = { header: { ...rest, retry_of: record.id, delay_ms: 0 }, blob };
    return this.#spread(this.mintId(), again, header.durability, true);
  }

  async #spread(
    id: string,
    prepared: Prepared,
    durability: TaskHeader['durability'],
    isFirst: boolean,
  ): Promise<Result<Receipt, CoveyError>> {
    const { clock, sharing, view, copies, copiesRequired } = this.#deps;
    const named = this.homeOfId(id);
    const home = named.length > 0 ? named : view.directory.preference(id, copies);
    const record: RecordState = {
      id,
      kind: 'task',
      stamp: clock.wallMs(),
      header: encodeHeader(prepared.header),
      blobDigest: prepared.blob.length === 0 ? '' : digestOf(prepared.blob),
      firstHome: [...home].sort(),
      facts: [],
    };
    const blob = prepared.blob.length === 0 ? undefined : prepared.blob;
    const now = requiredNow(view, copiesRequired);
    const required = { auto: now, one: 1, quorum: Math.floor(copies / 2) + 1, all: copies }[
      durability
    ];
    const spread = await sharing.spread({ record, blob, fresh: true, isFirst }, { home, required });
    if (spread.refusal !== undefined) return err(spread.refusal);
    if (spread.storedOn.length < required) {
      // Nothing was stored anywhere: then the outcome is known, and so is its reason.
      const known = spread.storedOn.length === 0 ? spread.failure : undefined;
      if (known?.code === 'STORE_FULL' || known?.code === 'BUSY') return err(known);
      const unreachable = spread.unreachable.map((store) => this.#nameOf(store)).join(', ');
      return err(
        coveyError('NOT_ENOUGH_COPIES', {
          id,
          stored_on: spread.storedOn.length,
          required,
          unreachable,
        }),
      );
    }
    return ok({
      id,
      home: [...home],
      stored_on: [...spread.storedOn],
      stand_ins: [...spread.standIns],
      required,
      degraded: required < copiesRequired,
      existing: spread.existed,
    });
  }

  #nameOf(store: StoreId): string {
    return presentPeers(this.#deps.view).find((peer) => peer.storeId === store)?.name ?? store;
  }

  /** Checks sizes and turns a request into what is stored. */
  #prepare(params: SubmitParams): Result<Prepared, CoveyError> {
    const { exec } = params;
    const payload = params.payload === undefined ? undefined : JSON.stringify(params.payload);
    const stdin = exec?.stdin === undefined ? undefined : bytesOf(exec.stdin);
    const argvBytes = exec?.argv.reduce((sum, part) => sum + utf8(part).length + 1, 0) ?? 0;
    const tooLarge =
      check(
        'The payload',
        payload === undefined ? 0 : utf8(payload).length,
        limits.PAYLOAD_BYTES_MAX,
      ) ??
      check('Standard input', stdin?.length ?? 0, limits.STDIN_BYTES_MAX) ??
      check('The command line', argvBytes, limits.ARGV_BYTES_MAX);
    if (tooLarge !== undefined) return err(tooLarge);
    const delay = this.#delayOf(params);
    const { id: _id, ...request } = params;
    const blob: TaskBlob = {
      ...(payload === undefined ? {} : { payload }),
      ...(stdin === undefined || stdin.length === 0 ? {} : { stdin }),
      ...(exec?.env === undefined ? {} : { env: exec.env }),
    };
    const header: TaskHeader = {
      queue: params.queue,
      type: params.type ?? EXEC_TYPE,
      ...(exec === undefined ? {} : { argv: exec.argv, cwd: exec.cwd ?? '/' }),
      ...(exec?.shell === true ? { shell: true } : {}),
      priority: params.priority,
      delay_ms: delay,
      attempts: params.attempts,
      losses_max: params.losses_max,
      on_lost: params.on_lost,
      ...(params.backoff === undefined
        ? {}
        : { backoff: params.backoff as NonNullable<TaskHeader['backoff']> }),
      ...(params.queue_timeout_ms === undefined
        ? {}
        : { queue_timeout_ms: params.queue_timeout_ms }),
      ...(params.run_timeout_ms === undefined ? {} : { run_timeout_ms: params.run_timeout_ms }),
      ...(params.total_timeout_ms === undefined
        ? {}
        : { total_timeout_ms: params.total_timeout_ms }),
      ...(params.dedupe_key === undefined ? {} : { dedupe_key: params.dedupe_key }),
      durability: params.durability,
      on_partition: params.on_partition,
      output: params.output,
      labels: params.labels,
      digest: digestOf(encodeValue(JSON.stringify(sortKeys(request)) as WireValue)),
    };
    return ok({ header, blob: encodeBlob(blob) });
  }

  #delayOf(params: SubmitParams): number {
    if (params.run_at === undefined) return params.delay_ms ?? 0;
    const at = parseRfc3339(params.run_at) ?? 0;
    return Math.max(0, at - this.#deps.clock.wallMs());
  }
}

function check(what: string, bytes: number, limit: number): CoveyError | undefined {
  return bytes <= limit
    ? undefined
    : coveyError('PAYLOAD_TOO_LARGE', { what, bytes, limit_bytes: limit });
}

const bytesOf = (value: string | { base64: string }): Uint8Array =>
  typeof value === 'string' ? utf8(value) : fromBase64(value.base64);

/** Key order is the client's; a digest must not depend on it. Recursion is bounded by the depth limit of a line. */
function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, item]) => [key, sortKeys(item)]));
}
