/**
 * Configuration of a daemon: one schema for file, environment and flags. Keys are snake_case; durations and
 * sizes are strings with a unit. `configs/*.yaml` are presets that list only their differences from `lan`.
 */
import { z } from 'zod';
import { parseDuration } from '../base/units.ts';
import { labelsSchema, nameSchema } from './task.ts';

/** `10s` in, milliseconds out. */
const duration = (fallback: string) =>
  z
    .string({ error: 'is not a duration; write a number and one of ms, s, m, h, d' })
    .default(fallback)
    .transform((text, context) => {
      const parsed = parseDuration(text);
      if (parsed.ok) return parsed.value;
      context.addIssue({ code: 'custom', message: parsed.error });
      return z.NEVER;
    })
    .meta({ value: 'duration' });

/** `HOST:PORT`; an IPv6 host in brackets. */
export const addressSchema = z
  .string()
  .regex(/^(\[[0-9A-Fa-f:.]+\]|[^\s:[\]]+):\d{1,5}$/, 'must be HOST:PORT, an IPv6 host in brackets')
  .refine(
    (text) => Number(text.slice(text.lastIndexOf(':') + 1)) <= 65_535,
    'must have a port of at most 65535',
  );

/** Where members may be found: an address, or a name of which DNS lists them. */
const placeSchema = z.union(
  [
    addressSchema,
    z
      .string()
      .max(260)
      .regex(/^((srv|dnsaddr):[A-Za-z0-9_.-]+|mdns)$/),
  ],
  { error: 'must be HOST:PORT, srv:NAME, dnsaddr:NAME or mdns' },
);

export const DEFAULT_PORT = 26_839;

/**
 * Every key has a description: it is a flag of `coveyd` too, and this is its help. `value` names what stands after
 * the flag, where its type alone does not say it.
 */
export const configSchema = z.strictObject({
  data_dir: z
    .string()
    .min(1)
    .optional()
    .meta({ value: 'dir', description: 'where key, peer book and records lie' }),
  bind: addressSchema.default(`127.0.0.1:${DEFAULT_PORT}`).meta({
    value: 'host:port',
    description: 'address to listen on; port 0 picks one and keeps it',
  }),
  advertise: z.array(addressSchema).max(8).default([]).meta({
    value: 'host:port',
    description:
      'address that others reach this peer at, default: the bound one, or those of this host (repeatable)',
  }),
  peers: z.array(placeSchema).max(8).default([]).meta({
    value: 'place',
    description:
      'where a member that has lost all others looks for them: HOST:PORT, srv:NAME, dnsaddr:NAME or mdns (repeatable)',
  }),
  socket: z.string().min(1).optional().meta({ value: 'path', description: 'control socket' }),
  dial_from: z.string().optional().meta({
    value: 'host',
    description: 'local address of outgoing connections; for test networks on one host',
  }),
  name: nameSchema
    .optional()
    .meta({ value: 'name', description: "name of this peer; default: the host's" }),
  labels: labelsSchema
    .default({})
    .meta({ value: 'k=v,…', description: 'labels of this peer; zone keeps copies apart' }),
  slots: z
    .int()
    .min(0)
    .max(4_096)
    .optional()
    .meta({ description: 'commands at once; default: the number of cores' }),
  exec: z.boolean().default(true).meta({ description: 'whether commands run here at all' }),
  allow_root: z.boolean().default(false).meta({ description: 'run commands even as root' }),
  log_level: z
    .enum(['debug', 'info', 'warn', 'error'])
    .default('info')
    .meta({ description: 'what is logged, on stderr' }),
  log_format: z
    .enum(['json', 'text'])
    .default('text')
    .meta({ description: 'text for people, json for collectors' }),
  shutdown_timeout: duration('25s').meta({
    description: 'how long running commands may go on at a stop',
  }),
  kill_grace: duration('5s').meta({ description: 'between TERM and KILL of a command' }),
  copies: z
    .int()
    .min(1)
    .max(7)
    .default(3)
    .meta({ description: 'stores that every task lies on (N); the same everywhere' }),
  copies_required: z
    .int()
    .min(1)
    .max(7)
    .default(2)
    .meta({ description: 'copies on disk before an acknowledgement (W); the same everywhere' }),
  heartbeat_interval: duration('1s').meta({ description: 'between heartbeats' }),
  phi_threshold: z
    .number()
    .min(1)
    .max(16)
    .default(8)
    .meta({ description: 'of suspicion; higher is more patient with irregular networks' }),
  heartbeat_pause: duration('2s').meta({
    description: 'a silence that alone never makes a member suspect',
  }),
  silence_patience: duration('7s').meta({
    description: 'a shorter silence never convicts; alone: twice',
  }),
  observers: z.int().min(2).max(16).default(8).meta({ description: 'peers that watch each peer' }),
  max_connections: z.int().min(2).max(1_024).default(128).meta({
    description: 'links to all up to so many other members; above, to those that are needed',
  }),
  anti_entropy_interval: duration('2s').meta({
    description: 'between comparisons of the view of the members',
  }),
  record_sync_interval: duration('5s').meta({
    description: 'between comparisons of records, with each partner',
  }),
  takeover_patience: duration('5s').meta({
    description: 'how long a new owner waits for members that do not answer',
  }),
  start_patience: duration('8s').meta({ description: 'the same, right after its own start' }),
  redial_max: duration('10s').meta({
    description: 'cap of the backoff between dials of one member',
  }),
  worker_hold: duration('30s').meta({
    description: 'how long attempts of a gone worker connection are held in a planned stop',
  }),
  retention_age: duration('24h').meta({ description: 'how long final tasks are kept' }),
  retention_count: z.int().min(1).max(10_000_000).default(100_000).meta({
    description: 'final tasks kept at most; whoever waits for a result must still find it',
  }),
  tombstone_ttl: duration('30d').meta({
    description: "how long a dropped task's id is remembered, and the longest absence of a store",
  }),
});
export type Config = z.output<typeof configSchema>;
export type ConfigInput = z.input<typeof configSchema>;
export type ConfigKey = keyof Config;
export const CONFIG_KEYS = Object.keys(configSchema.shape) as ConfigKey[];

/** How a key is written where all values are text: in flags and environment variables. */
export interface ConfigForm {
  readonly key: ConfigKey;
  readonly kind: 'text' | 'number' | 'boolean' | 'list' | 'pairs';
  /** Stands for the value in a help text. */
  readonly value: string;
  readonly description: string;
}

const propertySchema = z.object({
  type: z.enum(['string', 'number', 'integer', 'boolean', 'array', 'object']),
  description: z.string(),
  value: z.string().optional(),
  enum: z.array(z.string()).optional(),
  default: z.unknown().optional(),
});

const KIND_OF_TYPE = {
  string: 'text',
  number: 'number',
  integer: 'number',
  boolean: 'boolean',
  array: 'list',
  object: 'pairs',
} as const;

/** Read off the schema, so that no key can be forgotten; a key without a description throws here, at the start. */
export const CONFIG_FORMS: readonly ConfigForm[] = Object.entries(
  z.toJSONSchema(configSchema, { io: 'input' }).properties ?? {},
).map(([key, json]) => {
  const property = propertySchema.parse(json);
  const kind = KIND_OF_TYPE[property.type];
  const { default: fallback, description } = property;
  const isPlain = kind === 'text' || kind === 'number' || fallback === true;
  return {
    key: key as ConfigKey,
    kind,
    value: property.value ?? property.enum?.join('|') ?? (kind === 'number' ? 'n' : 'text'),
    description: fallback === undefined || !isPlain ? description : `${description} (${fallback})`,
  };
});

const KINDS_SAID: Readonly<Record<string, string>> = {
  number: 'a number',
  int: 'a whole number',
  string: 'a text',
  boolean: 'true or false',
  array: 'a list',
  object: 'a map of keys',
  record: 'a map of keys',
};

/** The schema library speaks to programmers; our own messages are sentences already. */
export function issueText(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      if (issue.message.startsWith('is not a duration')) return issue.message;
      return `must be ${KINDS_SAID[issue.expected] ?? issue.expected}`;
    case 'invalid_value':
      return `must be one of ${issue.values.map(String).join(', ')}`;
    case 'too_small':
    case 'too_big': {
      const isLess = issue.code === 'too_small';
      const number = isLess ? issue.minimum : issue.maximum;
      const bound = `${issue.exact === true ? 'exactly' : isLess ? 'at least' : 'at most'} ${number}`;
      if (issue.origin === 'string')
        return isLess && number === 1 ? 'must not be empty' : `must have ${bound} characters`;
      return issue.origin === 'array' ? `must have ${bound} items` : `must be ${bound}`;
    }
    case 'invalid_key': {
      const [inner] = issue.issues;
      return inner === undefined ? 'has a wrong name' : `has a name that ${issueText(inner)}`;
    }
    default:
      return issue.message;
  }
}
