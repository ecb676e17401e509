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
    .string()
    .default(fallback)
    .transform((text, context) => {
      const parsed = parseDuration(text);
      if (parsed.ok) return parsed.value;
      context.addIssue({ code: 'custom', message: parsed.error });
      return z.NEVER;
    });

/** `HOST:PORT`; an IPv6 host in brackets. */
export const addressSchema = z
  .string()
  .regex(/^(\[[0-9A-Fa-f:.]+\]|[^\s:[\]]+):\d{1,5}$/, 'must be HOST:PORT, an IPv6 host in brackets')
  .refine(
    (text) => Number(text.slice(text.lastIndexOf(':') + 1)) <= 65_535,
    'the port is above 65535',
  );

export const DEFAULT_PORT = 26_839;

export const configSchema = z.strictObject({
  bind: addressSchema.default(`127.0.0.1:${DEFAULT_PORT}`),
  advertise: z
    .array(addressSchema)
    .max(8)
    .default([])
    .meta({ description: 'default: the bound address' }),
  /** For test networks on one host: the local address of outgoing connections. */
  dial_from: z.string().optional(),
  name: nameSchema.optional().meta({ description: "default: the host's name" }),
  labels: labelsSchema.default({}),
  slots: z
    .int()
    .min(0)
    .max(4_096)
    .optional()
    .meta({ description: 'commands at once; default: the number of cores' }),
  exec: z.boolean().default(true).meta({ description: 'whether commands run here at all' }),
  allow_root: z.boolean().default(false),
  log_level: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
  log_format: z.enum(['json', 'text']).default('text'),
  shutdown_timeout: duration('25s'),
  kill_grace: duration('5s').meta({ description: 'between TERM and KILL of a command' }),
  /** Copies (N) and copies before an acknowledgement (W). */
  copies: z.int().min(1).max(7).default(3),
  copies_required: z.int().min(1).max(7).default(2),
  heartbeat_interval: duration('500ms'),
  phi_threshold: z.number().min(1).max(16).default(8),
  heartbeat_pause: duration('2s').meta({
    description: 'a silence that alone never makes a member suspect',
  }),
  silence_patience: duration('7s').meta({
    description: 'a shorter silence never convicts; alone: twice',
  }),
  observers: z.int().min(2).max(16).default(8),
  anti_entropy_interval: duration('2s'),
  record_sync_interval: duration('5s'),
  takeover_patience: duration('5s'),
  start_patience: duration('8s'),
  redial_max: duration('10s').meta({
    description: 'cap of the backoff between dials of one member',
  }),
  worker_hold: duration('30s').meta({
    description: 'how long attempts of a gone worker connection are held in a planned stop',
  }),
  retention_age: duration('24h').meta({ description: 'of final tasks' }),
  retention_count: z.int().min(0).max(10_000_000).default(100_000),
  tombstone_ttl: duration('30d'),
});
export type Config = z.output<typeof configSchema>;
export type ConfigInput = z.input<typeof configSchema>;
export const CONFIG_KEYS = Object.keys(configSchema.shape) as (keyof Config)[];
