/** A member as clients see it. */
import { z } from 'zod';

export const MEMBER_STATUSES = ['alive', 'suspect', 'dead', 'left', 'removed'] as const;
export type MemberStatus = (typeof MEMBER_STATUSES)[number];

export const memberSchema = z.object({
  peer_id: z.string(),
  store_id: z.string().optional(),
  name: z.string(),
  self: z.boolean(),
  status: z.enum(MEMBER_STATUSES),
  stopping: z.boolean(),
  phi: z
    .number()
    .meta({ description: 'capped at 100; 0 for oneself and where this peer does not observe' }),
  incarnation: z.int(),
  boot_count: z.int(),
  since: z.string(),
  evidence: z
    .string()
    .optional()
    .meta({ description: 'why the status was entered: what was seen, and by whom' }),
  addresses: z.array(z.string()),
  labels: z.record(z.string(), z.string()),
  version: z.string(),
  shortage: z.enum(['scarce', 'full']).optional().meta({
    description:
      'of room on its disk; scarce: others own what it would start; full: nothing runs there either',
  }),
  set_aside: z
    .int()
    .optional()
    .meta({ description: 'unfinished tasks that its store set aside after a long absence' }),
  load: z.object({
    slots: z.int(),
    slots_free: z.int(),
    active: z.int(),
    waiting: z.int(),
    workers: z.record(z.string(), z.object({ total: z.int(), free: z.int() })),
  }),
});
export type MemberView = z.output<typeof memberSchema>;
