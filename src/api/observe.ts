/** Methods for an operator who looks at the mesh: what membership does, the ring, the daemon's log, and what is wrong. */
import { z } from 'zod';
import * as limits from './limits.ts';
import { MEMBER_STATUSES } from './member.ts';

export const LOG_LEVEL_NAMES = ['debug', 'info', 'warn', 'error'] as const;

const empty = z.strictObject({});
const named = { peer_id: z.string(), name: z.string() };
const namedPeer = z.object(named);

/** `data` of events of the topic `member`. */
export const memberEventDataSchema = z.looseObject({
  name: z.string(),
  incarnation: z.int(),
  was: z.enum(MEMBER_STATUSES).optional().meta({ description: 'the status before' }),
  evidence: z.string().optional().meta({ description: 'a sentence: what happened, seen by whom' }),
  cause: z
    .object({
      kind: z.string().meta({
        description:
          'phi, crash, silence, heard, greeted, refuted, admitted, left, removed, revoked, restarted, other_store, flapping; later versions may say more',
      }),
      seen_by: z
        .array(namedPeer)
        .meta({ description: 'of a verdict its author first, then those whose word it needed' }),
      via: z.string().meta({ description: 'own, greeting, news, anti_entropy or book' }),
      silence_ms: z.int().optional(),
      phi: z.number().optional(),
      boot_count: z.int().optional(),
      returns: z.int().optional().meta({ description: 'of flapping: how often it came back' }),
    })
    .optional(),
});
export type MemberEventData = z.output<typeof memberEventDataSchema>;

const flow = {
  frames_sent: z.number(),
  bytes_sent: z.number(),
  frames_received: z.number(),
  bytes_received: z.number(),
};
const flowSchema = z.object(flow);
const classesSchema = z.object({
  control: flowSchema,
  data: flowSchema,
  bulk: flowSchema,
  admit: flowSchema,
  news: flowSchema,
});

const statsSchema = z.object({
  view_hash: z.string(),
  members: z.int(),
  observes: z.array(
    z.object({
      ...named,
      linked: z.boolean(),
      hears: z.boolean(),
      opinion: z.enum(['fine', 'suspect', 'accused']),
      phi: z.number(),
      heard_ms_ago: z.int().optional(),
    }),
  ),
  observed_by: z.array(z.object({ ...named, linked: z.boolean() })),
  anti_entropy: z.object({
    started: z.int(),
    started_different: z.int(),
    asked: z.int(),
    asked_different: z.int(),
    facts_sent: z.int(),
    facts_received: z.int(),
  }),
  news: z.object({ published: z.int(), received: z.int() }),
  refused: z.record(z.string(), z.int()).optional().meta({
    description: 'what came from outside and was not taken, since the start, by reason',
  }),
  health: z.object({
    step: z.number().meta({ description: '0 in health; patience is doubled at 4' }),
    patience: z.number(),
    paused_lately: z.boolean().meta({ description: 'it stood still and accuses nobody for now' }),
    lag_ms: z.int(),
    lag_ms_max: z.int(),
    pauses: z.int(),
    longest_pause_ms: z.int(),
    last_pause_ms_ago: z.int().optional(),
  }),
  links: z.array(
    z.object({
      ...named,
      address: z.string(),
      direction: z.enum(['inbound', 'outbound']),
      up: z.boolean(),
      per_second: flowSchema.optional(),
    }),
  ),
  traffic: z
    .object({
      window_ms: z.int(),
      per_second: classesSchema,
      since_start: classesSchema,
    })
    .optional()
    .meta({ description: 'frames and their bytes, without encryption and TCP' }),
});

const preferenceSchema = z.object({
  peer_id: z.string(),
  store_id: z.string(),
  name: z.string(),
  reason: z.string().optional().meta({ description: 'why it stands at this place' }),
  in_id: z.boolean().optional().meta({ description: 'the task id names its store' }),
});

const ringSchema = z.object({
  checksum: z.string().meta({ description: 'the same at peers that see the same ring' }),
  copies: z.int(),
  members: z.array(
    z.object({
      ...named,
      store_id: z.string(),
      host: z.string(),
      zone: z.string().optional(),
      status: z.enum(MEMBER_STATUSES),
      weight: z.number(),
      tokens: z.int(),
      share: z.number().meta({ description: 'of all keys, of which it is the first; 0 to 1' }),
    }),
  ),
});

export const CHECK_STATUSES = ['ok', 'warn', 'fail'] as const;
const doctorSchema = z.object({
  checks: z.array(
    z.object({
      check: z.string(),
      status: z.enum(CHECK_STATUSES),
      summary: z.string(),
      todo: z.string().optional().meta({ description: 'what to do, one sentence' }),
    }),
  ),
  asked: z.array(namedPeer),
  silent: z.array(z.object({ ...named, why: z.string() })).meta({
    description: 'members that were asked and did not answer',
  }),
});
export type Check = z.output<typeof doctorSchema>['checks'][number];

export const OBSERVE_METHODS = {
  'members.stats': {
    summary: 'What the membership of this peer does: observers, gossip, links, its own health.',
    params: empty,
    result: statsSchema,
  },
  'ring.show': {
    summary: 'The members on the ring, with their share of the keys.',
    params: empty,
    result: ringSchema,
  },
  'ring.owner': {
    summary: 'The preference list of a key, or of a task id.',
    params: z.strictObject({ key: z.string().min(1).max(limits.NAME_BYTES_MAX) }),
    result: z.object({
      preference: z.array(preferenceSchema),
      also_named: z.array(preferenceSchema).optional().meta({
        description: 'of a task id: stores that it names and that are not in the list now',
      }),
    }),
  },
  'system.monitor': {
    summary: 'Notifications `monitor`: what this daemon logs, from now on.',
    params: z.strictObject({
      level: z.enum(LOG_LEVEL_NAMES).default('info'),
      backlog: z.int().min(0).max(limits.MONITOR_BACKLOG_MAX).default(0).meta({
        description: 'first so many of the last records of this level, debug ones never',
      }),
    }),
    result: z.object({ subscription: z.string() }),
  },
  'system.doctor': {
    summary: 'Looks for what is wrong, here and at the members that can be asked.',
    params: z.strictObject({
      timeout_ms: z.int().min(100).max(30_000).default(5_000).meta({
        description: 'for the answers of the members',
      }),
    }),
    result: doctorSchema,
  },
} as const;

export const monitorSchema = z.object({
  subscription: z.string(),
  seq: z.int().meta({ description: 'of this subscription; a `gap` says what is missing' }),
  at: z.string(),
  level: z.enum(LOG_LEVEL_NAMES),
  message: z.string(),
  fields: z.looseObject({}),
});
