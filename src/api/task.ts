/** Shapes of tasks on the control socket: what a client submits and what it is told. snake_case, units in names. */
import { z } from 'zod';
import { utf8 } from '../base/hash.ts';
import { TASK_ID_LENGTH } from '../base/task-id.ts';
import * as limits from './limits.ts';

/** A name: queue, type, label key, worker name. Printable, no spaces at its ends. */
export const nameSchema = z
  .string()
  .min(1)
  .regex(
    /^[\x21-\x7e\u00a0-\uffff]([\x20-\x7e\u00a0-\uffff]*[\x21-\x7e\u00a0-\uffff])?$/,
    'must be printable, without a blank at its ends',
  )
  .refine(
    (text) => utf8(text).length <= limits.NAME_BYTES_MAX,
    `must be at most ${limits.NAME_BYTES_MAX} bytes`,
  );

export const taskIdSchema = z
  .string()
  .length(TASK_ID_LENGTH)
  .regex(/^[0-9A-Za-z]+$/, 'is not a task id');

/** Bytes: text when they are UTF-8, else base64 in an object, so that nothing is lost either way. */
export const bytesSchema = z.union([z.string(), z.strictObject({ base64: z.base64() })]);

export const durationMsSchema = z.int().min(0).max(limits.DURATION_MS_MAX);
const countSchema = (max: number) => z.int().min(1).max(max);

/** Any JSON; depth and whole numbers were checked when the line was read. */
export const jsonSchema = z.unknown().meta({ description: 'any JSON value' });

export const labelsSchema = z
  .record(nameSchema, z.string().max(limits.NAME_BYTES_MAX))
  .refine(
    (labels) => Object.keys(labels).length <= limits.LABELS_MAX,
    `at most ${limits.LABELS_MAX} labels`,
  );

const envSchema = z
  .record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'is not a variable name'), z.string())
  .refine(
    (env) =>
      Object.entries(env).reduce((sum, [k, v]) => sum + k.length + utf8(v).length, 0) <=
      limits.ENVIRONMENT_BYTES_MAX,
    `at most ${limits.ENVIRONMENT_BYTES_MAX} bytes of environment`,
  );

export const execSchema = z.strictObject({
  argv: z
    .array(z.string().refine((text) => !text.includes('\0'), 'must not contain NUL'))
    .min(1)
    .max(limits.ARGV_MAX),
  cwd: z.string().startsWith('/', 'must be an absolute path').optional(),
  env: envSchema.optional(),
  stdin: bytesSchema.optional(),
  shell: z
    .boolean()
    .optional()
    .meta({ description: 'argv[0] is a line for /bin/sh -c, the rest its $0, $1 …' }),
});

export const backoffSchema = z.strictObject({
  type: z.enum(['fixed', 'exponential']),
  delay_ms: durationMsSchema,
  max_ms: durationMsSchema.optional(),
});

export const submitSchema = z
  .strictObject({
    id: taskIdSchema.optional(),
    queue: nameSchema.default('default'),
    type: nameSchema.optional(),
    payload: jsonSchema.optional(),
    exec: execSchema.optional(),
    priority: z.int().min(0).max(limits.PRIORITY_MAX).default(0).meta({ description: '0 first' }),
    delay_ms: durationMsSchema.optional(),
    run_at: z.iso
      .datetime({ offset: true, error: 'must be a time of RFC 3339, as 2026-01-31T08:00:00Z' })
      .optional(),
    attempts: countSchema(limits.ATTEMPTS_MAX).default(1),
    losses_max: z.int().min(0).max(limits.LOSSES_MAX).default(3),
    on_lost: z.enum(['retry', 'fail']).default('retry'),
    backoff: backoffSchema.optional(),
    queue_timeout_ms: countSchema(limits.DURATION_MS_MAX).optional(),
    run_timeout_ms: countSchema(limits.DURATION_MS_MAX).optional(),
    total_timeout_ms: countSchema(limits.DURATION_MS_MAX).optional(),
    dedupe_key: nameSchema.optional(),
    durability: z.enum(['auto', 'one', 'quorum', 'all']).default('auto'),
    on_partition: z.enum(['wait', 'available']).default('wait'),
    output: z.enum(['full', 'tail']).default('full'),
    labels: labelsSchema.default({}),
  })
  .refine((task) => (task.exec === undefined) !== (task.type === undefined), {
    message: "exactly one of 'type' (for workers) and 'exec' (a command) is needed",
  })
  .refine((task) => task.exec === undefined || task.payload === undefined, {
    message: "'payload' goes with 'type'; a command gets its input as exec.stdin",
  })
  .refine((task) => task.delay_ms === undefined || task.run_at === undefined, {
    message: "'delay_ms' and 'run_at' exclude each other",
  });

export type SubmitParams = z.output<typeof submitSchema>;
export type SubmitInput = z.input<typeof submitSchema>;

export const receiptSchema = z.object({
  id: z.string(),
  home: z.array(z.string()).meta({ description: 'store ids named by the id' }),
  stored_on: z.array(z.string()),
  stand_ins: z.array(z.string()),
  required: z.int(),
  degraded: z
    .boolean()
    .meta({ description: 'fewer copies were asked for than durability normally wants' }),
  existing: z.boolean(),
});
export type Receipt = z.output<typeof receiptSchema>;

export const TASK_STATES = [
  'delayed',
  'waiting',
  'active',
  'completed',
  'failed',
  'canceled',
  'expired',
] as const;
export type TaskState = (typeof TASK_STATES)[number];
export const FINAL_STATES: readonly TaskState[] = ['completed', 'failed', 'canceled', 'expired'];
export const isFinalState = (state: TaskState): boolean => FINAL_STATES.includes(state);

export const WAITING_REASONS = [
  'no_free_slot',
  'no_worker',
  'no_eligible_peer',
  'over_limit',
  'owner_unreachable',
] as const;
export type WaitingReason = (typeof WAITING_REASONS)[number];

/** Why a task is not due yet. */
export const DELAYED_REASONS = ['run_at', 'backoff'] as const;
export type DelayedReason = (typeof DELAYED_REASONS)[number];

/** exit, error: of the last attempt; losses: it was lost too often; rejected: it was placed in vain too often. */
export const FAILED_REASONS = ['exit', 'error', 'timeout', 'losses', 'rejected'] as const;
export type FailedReason = (typeof FAILED_REASONS)[number];

export const ATTEMPT_OUTCOMES = [
  'completed',
  'failed',
  'lost',
  'interrupted',
  'refused',
  'canceled',
  'timeout',
] as const;
export type AttemptOutcome = (typeof ATTEMPT_OUTCOMES)[number];

/** R: from how many stores of its home a task is read. */
export const readCountSchema = z
  .union([z.int().min(1).max(limits.READ_STORES_MAX), z.literal('quorum')])
  .meta({
    description:
      'of so many of its home stores, or of more than half of them, or refused; absent: whatever is at hand',
  });

export const taskErrorSchema = z.object({
  message: z.string(),
  code: z
    .string()
    .optional()
    .meta({ description: 'exit, error, timeout, OUTPUT_TOO_LARGE, no_such_cwd …' }),
});

export const attemptSchema = z.object({
  attempt: z.int(),
  run_id: z.string(),
  placed_by: z.string().meta({ description: 'store id of the peer that placed it' }),
  owner: z
    .string()
    .meta({ description: 'store id of the peer that owns it: placed, adopted or was handed it' }),
  runner: z.string().meta({ description: 'PeerId' }),
  runner_name: z.string(),
  placed_at: z.string(),
  ended_at: z.string().optional(),
  outcome: z.enum(ATTEMPT_OUTCOMES).optional().meta({ description: 'absent while it runs' }),
  exit_code: z.int().optional(),
  signal: z.string().optional(),
  error: taskErrorSchema.optional(),
  possibly_double: z
    .boolean()
    .meta({ description: 'an earlier attempt may have run at the same time' }),
  accepted: z.boolean(),
});

export const taskViewSchema = z.object({
  id: z.string(),
  queue: z.string(),
  type: z.string().meta({ description: "'exec' for commands" }),
  state: z.enum(TASK_STATES),
  reason: z.string().optional().meta({ description: 'of waiting, delayed or failed' }),
  since: z.string(),
  priority: z.int(),
  labels: z.record(z.string(), z.string()),
  submitted_at: z.string(),
  run_at: z.string().optional(),
  finished_at: z.string().optional(),
  attempt: z
    .int()
    .meta({ description: 'number of the current or last attempt, 0 before the first' }),
  failures: z.int(),
  losses: z.int(),
  home: z.array(z.string()),
  set_aside_by: z.array(z.string()).optional().meta({
    description:
      'stores that were away for longer than tombstone_ttl: nobody else knows the task, nothing runs it',
  }),
  owner: z.string().optional(),
  runner: z.string().optional(),
  argv: z.array(z.string()).optional(),
  payload: jsonSchema.optional(),
  progress: jsonSchema.optional(),
  result: jsonSchema.optional(),
  exit_code: z.int().optional(),
  signal: z.string().optional(),
  stdout: bytesSchema.optional(),
  stderr: bytesSchema.optional(),
  output_truncated: z.boolean().optional(),
  error: taskErrorSchema.optional(),
  cancel_requested: z
    .string()
    .optional()
    .meta({ description: 'the reason given, or an empty text' }),
  duplicate_of: z.string().optional(),
  retry_of: z.string().optional(),
  dedupe_key: z.string().optional(),
  conflicts: z.int().meta({ description: 'concurrent finals that were joined into this one' }),
  attempts: z.array(attemptSchema),
  orphans: z.array(
    z.object({ attempt: z.int(), run_id: z.string(), outcome: z.string(), digest: z.string() }),
  ),
});
export type TaskView = z.output<typeof taskViewSchema>;

/** A line of task.list. */
export const taskSummarySchema = taskViewSchema
  .pick({
    id: true,
    queue: true,
    type: true,
    state: true,
    reason: true,
    since: true,
    priority: true,
    submitted_at: true,
    finished_at: true,
    attempt: true,
    runner: true,
    exit_code: true,
    argv: true,
  })
  .extend({
    conflicts: z.int().optional().meta({ description: 'concurrent finals; absent: none' }),
  });
export type TaskSummary = z.output<typeof taskSummarySchema>;

export const becauseSchema = z.object({
  peer: z.string(),
  name: z.string().optional(),
  ok: z.boolean(),
  code: z.string(),
  detail: z.string(),
});
export type Because = z.output<typeof becauseSchema>;

export const explainSchema = z.object({
  id: z.string(),
  state: z.enum(TASK_STATES),
  reason: z.string().optional(),
  since: z.string(),
  home: z.array(z.string()),
  owner: z.string().optional(),
  runner: z.string().optional(),
  because: z.array(becauseSchema),
  history: z.array(z.object({ at: z.string(), what: z.string(), by: z.string() })),
});
