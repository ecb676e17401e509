/**
 * Every method of the control socket: parameters and result. The one source for validation, types and
 * `rpc.discover`. Later versions add optional fields, and never change or remove one.
 */
import { z } from 'zod';
import { ACCESS_METHODS } from './access.ts';
import * as limits from './limits.ts';
import { memberSchema } from './member.ts';
import { monitorSchema, OBSERVE_METHODS } from './observe.ts';
import {
  explainSchema,
  jsonSchema,
  nameSchema,
  readCountSchema,
  receiptSchema,
  submitSchema,
  TASK_STATES,
  taskErrorSchema,
  taskIdSchema,
  taskSummarySchema,
  taskViewSchema,
} from './task.ts';

export type { MemberStatus, MemberView } from './member.ts';
export type { Check, MemberEventData } from './observe.ts';

export const CONTROL_VERSION = 1;
export const EVENT_TOPICS = ['task', 'member'] as const;
export type EventTopic = (typeof EVENT_TOPICS)[number];

const empty = z.strictObject({});
const byId = z.strictObject({ id: taskIdSchema });
const workerTypesSchema = z
  .array(
    z.strictObject({
      type: nameSchema,
      concurrency: z.int().min(1).max(limits.WORKER_CONCURRENCY_MAX),
    }),
  )
  .min(1)
  .max(limits.WORKER_TYPES_MAX);

const runRef = { id: taskIdSchema, attempt: z.int().min(1) };

export const errorReplySchema = z.object({
  code: z.int(),
  message: z.string(),
  data: z.looseObject({ code: z.string(), retryable: z.boolean(), help: z.string().optional() }),
});

const logChunk = z.union([z.string(), z.strictObject({ base64: z.base64() })]);

/** Client to daemon. */
export const METHODS = {
  'system.hello': {
    summary: 'Says who talks to whom; the first call of a client.',
    params: z.strictObject({
      client: z.string().max(limits.NAME_BYTES_MAX),
      versions: z.array(z.int()).min(1).max(16),
    }),
    result: z.object({
      server: z.string(),
      version: z.int(),
      mesh_id: z.string(),
      peer_id: z.string(),
      features: z.array(z.string()),
    }),
  },
  'rpc.discover': {
    summary: 'This interface as an OpenRPC document.',
    params: empty,
    result: z.looseObject({}),
  },
  'system.status': {
    summary: 'The daemon itself.',
    params: empty,
    result: z.object({
      version: z.string(),
      pid: z.int(),
      peer_id: z.string(),
      store_id: z.string(),
      mesh_id: z.string(),
      name: z.string(),
      addresses: z.array(z.string()),
      socket: z.string(),
      stopping: z.boolean(),
      uptime_ms: z.int(),
      tasks: z.object({ held: z.int(), unfinished: z.int(), owned: z.int(), active: z.int() }),
      conflicts: z.int(),
      slots: z.int(),
      expelled: z
        .object({
          kind: z.enum(['revoked', 'void']),
          by: z.string(),
          at: z.string(),
        })
        .optional()
        .meta({
          description:
            'no member of its mesh any more: revoked, or the peer that had admitted it was; it takes and runs nothing',
        }),
      store: z
        .object({
          damaged: z.int().meta({ description: 'values with a wrong checksum; none is used' }),
          repaired: z.int().meta({ description: 'records fetched again since the start' }),
          set_aside: z
            .int()
            .optional()
            .meta({ description: 'unfinished tasks set aside after a long absence' }),
          room: z.enum(['ample', 'low', 'scarce', 'full']).optional().meta({
            description:
              'on the disk; low: no new tasks; scarce: no new attempts and copies either; full: nothing is stored',
          }),
          former_store_id: z.string().optional(),
          renewed_because: z
            .string()
            .optional()
            .meta({ description: 'why members refused the store that this one was before' }),
        })
        .optional(),
    }),
  },
  'members.list': {
    summary: 'The members as this peer sees them.',
    params: empty,
    result: z.object({ members: z.array(memberSchema), view_hash: z.string() }),
  },
  'members.forget': {
    summary:
      'Removes a member that is dead or has left: its store has no part in any home any more.',
    params: z.strictObject({
      peer: z.string().min(1).max(128).meta({ description: 'its PeerId' }),
    }),
    result: z.object({ peer_id: z.string(), name: z.string(), store_id: z.string() }),
  },
  ...OBSERVE_METHODS,
  'ids.reserve': {
    summary: 'Mints ids; a submit under a reserved id may be repeated through any peer.',
    params: z.strictObject({ n: z.int().min(1).max(limits.BULK_MAX) }),
    result: z.object({ ids: z.array(z.string()), expires_at: z.string() }),
  },
  'task.submit': { summary: 'Submits one task.', params: submitSchema, result: receiptSchema },
  'task.submit_bulk': {
    summary:
      'Submits many; the receipts are in the order of the tasks, each a receipt or an error.',
    params: z.strictObject({ tasks: z.array(z.unknown()).min(1).max(limits.BULK_MAX) }),
    result: z.object({
      receipts: z.array(z.union([receiptSchema, z.object({ error: errorReplySchema })])),
    }),
  },
  'task.get': {
    summary: 'One task, wherever it lies.',
    params: z.strictObject({ id: taskIdSchema, read: readCountSchema.optional() }),
    result: taskViewSchema,
  },
  'task.find': {
    summary: 'Ids in the mesh that end with the suffix (six characters or more).',
    params: z.strictObject({ suffix: z.string().min(6).max(39) }),
    result: z.object({ ids: z.array(z.string()), complete: z.boolean() }),
  },
  'task.cancel': {
    summary: 'Asks for the end of a task; a final task stays as it is.',
    params: z.strictObject({ id: taskIdSchema, reason: z.string().max(1_024).optional() }),
    result: z.object({ id: z.string(), state: z.enum(TASK_STATES) }),
  },
  'task.retry': {
    summary: 'Submits a final task again as a new task with retry_of.',
    params: byId,
    result: z.object({ id: z.string() }),
  },
  'task.logs': {
    summary:
      'Output of the last attempt; with follow, notifications `log` and, at the end, `log_end`.',
    params: z.strictObject({
      id: taskIdSchema,
      stream: z.enum(['stdout', 'stderr', 'both']).default('both'),
      follow: z.boolean().default(false),
      tail_bytes: z.int().min(0).max(limits.OUTPUT_BYTES_MAX).optional(),
    }),
    result: z.object({
      subscription: z.string().optional(),
      stdout: logChunk.optional(),
      stderr: logChunk.optional(),
      truncated: z.boolean(),
      source: z.enum(['result', 'runner', 'tail', 'none']),
      state: z.enum(TASK_STATES),
    }),
  },
  'task.list': {
    summary:
      'Tasks of the whole mesh, newest first; go on while there is a cursor, also after no tasks.',
    params: z.strictObject({
      state: z.enum(TASK_STATES).optional(),
      queue: nameSchema.optional(),
      type: nameSchema.optional(),
      conflicts: z
        .boolean()
        .default(false)
        .meta({ description: 'only tasks of which concurrent finals were joined' }),
      limit: z.int().min(1).max(limits.LIST_MAX).default(100),
      cursor: z.string().max(64).optional(),
    }),
    result: z.object({
      tasks: z.array(taskSummarySchema),
      cursor: z.string().optional(),
      complete: z.boolean(),
      unreachable: z.array(z.string()),
    }),
  },
  'task.wait': {
    summary:
      'Answers when all ids are final or time is up; `done` may be cut to fit a line: ask again for the rest.',
    params: z.strictObject({
      ids: z.array(taskIdSchema).min(1).max(limits.BULK_MAX),
      timeout_ms: z.int().min(0).max(limits.WAIT_MS_MAX),
      any: z.boolean().default(false).meta({ description: 'answer as soon as one is final' }),
    }),
    result: z.object({ done: z.array(taskViewSchema), pending: z.array(z.string()) }),
  },
  'task.explain': {
    summary: 'Why a task is where it is, and why not elsewhere.',
    params: byId,
    result: explainSchema,
  },
  'events.subscribe': {
    summary: 'Notifications `event` of this daemon; `ids` are followed wherever they are.',
    params: z.strictObject({
      topics: z.array(z.enum(EVENT_TOPICS)).min(1),
      ids: z.array(taskIdSchema).max(limits.BULK_MAX).optional(),
      after: z.strictObject({ boot: z.string(), seq: z.int().min(0) }).optional(),
    }),
    result: z.object({ subscription: z.string(), boot: z.string(), seq: z.int() }),
  },
  'events.unsubscribe': {
    summary: 'Ends a subscription of events, logs or the monitor.',
    params: z.strictObject({ subscription: z.string().max(64) }),
    result: z.object({}),
  },
  ...ACCESS_METHODS,
  'worker.register': {
    summary: 'Makes this connection a worker: it is sent `worker.task` notifications.',
    params: z.strictObject({
      types: workerTypesSchema,
      name: nameSchema.optional(),
    }),
    result: z.object({ worker_id: z.string(), lease_ms: z.int() }),
  },
  'worker.complete': {
    summary: 'The attempt succeeded.',
    params: z.strictObject({ ...runRef, result: jsonSchema.optional() }),
    result: z.object({ accepted: z.boolean() }),
  },
  'worker.fail': {
    summary: 'The attempt failed.',
    params: z.strictObject({
      ...runRef,
      error: z.strictObject({
        message: z.string().max(16_384),
        retryable: z.boolean().default(true),
      }),
    }),
    result: z.object({ accepted: z.boolean() }),
  },
  'worker.progress': {
    summary: 'Tells how far an attempt is.',
    params: z.strictObject({ ...runRef, progress: jsonSchema }),
    result: z.object({}),
  },
  'worker.renew': {
    summary: 'Renews the lease of attempts that this worker still runs.',
    params: z.strictObject({ ids: z.array(taskIdSchema).max(limits.BULK_MAX) }),
    result: z.object({ stale: z.array(z.string()) }),
  },
  'worker.resume': {
    summary: 'After a new connection: says what the worker still runs, and hears what it may keep.',
    params: z.strictObject({
      worker_id: z.string().max(64),
      running: z.array(z.strictObject(runRef)).max(limits.WORKER_CONCURRENCY_MAX),
      types: workerTypesSchema,
      name: nameSchema.optional(),
    }),
    result: z.object({
      worker_id: z.string(),
      lease_ms: z.int(),
      running: z.array(
        z.object({ id: z.string(), attempt: z.int(), verdict: z.enum(['keep', 'stale']) }),
      ),
    }),
  },
  'worker.unregister': {
    summary: 'Takes no more tasks on this connection.',
    params: empty,
    result: z.object({}),
  },
} as const;

export type MethodName = keyof typeof METHODS;
export type MethodParams<M extends MethodName> = z.output<(typeof METHODS)[M]['params']>;
export type MethodInput<M extends MethodName> = z.input<(typeof METHODS)[M]['params']>;
export type MethodResult<M extends MethodName> = z.output<(typeof METHODS)[M]['result']>;

/** Daemon to client: JSON-RPC notifications. */
export const NOTIFICATIONS = {
  event: z.object({
    subscription: z.string(),
    seq: z.int(),
    at: z.string(),
    topic: z.enum(EVENT_TOPICS),
    type: z.string().meta({ description: 'the task or member state that was entered' }),
    id: z.string().optional(),
    data: z.looseObject({}).meta({ description: 'docs/protocol.md has those of members' }),
  }),
  monitor: monitorSchema,
  gap: z.object({ subscription: z.string(), from: z.int(), to: z.int() }),
  log: z.object({
    subscription: z.string(),
    stream: z.enum(['stdout', 'stderr']),
    offset_bytes: z.int(),
    data: logChunk,
  }),
  log_end: z.object({
    subscription: z.string(),
    state: z.enum(TASK_STATES),
    error: taskErrorSchema.optional(),
  }),
  'worker.task': z.object({
    id: z.string(),
    attempt: z.int(),
    run_id: z.string(),
    type: z.string(),
    payload: jsonSchema.optional(),
    deadline_ms: z.int().optional().meta({ description: 'milliseconds left of the run timeout' }),
  }),
  'worker.cancel': z.object({
    id: z.string(),
    attempt: z.int(),
    reason: z.string(),
    grace_ms: z.int(),
  }),
  'worker.stopping': z.object({ hold_ms: z.int() }),
} as const;
export type NotificationName = keyof typeof NOTIFICATIONS;
export type NotificationParams<N extends NotificationName> = z.output<(typeof NOTIFICATIONS)[N]>;
