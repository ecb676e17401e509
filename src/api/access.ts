/** Methods of the control socket about who is in the mesh: tokens, the allow-list, joining and leaving. */
import { z } from 'zod';
import { durationMsSchema, nameSchema } from './task.ts';

const empty = z.strictObject({});

export const ACCESS_METHODS = {
  'access.invite': {
    summary: 'Mints a single-use token for one new peer, or for another mesh.',
    params: z.strictObject({
      ttl_ms: z
        .int()
        .min(1_000)
        .max(30 * 86_400_000)
        .default(3_600_000),
      merge: z
        .boolean()
        .default(false)
        .meta({ description: 'for mesh.merge on a member of another mesh, and for nothing else' }),
    }),
    result: z.object({ token: z.string(), expires_at: z.string() }),
  },
  'access.list': {
    summary: 'The allow-list.',
    params: empty,
    result: z.object({
      entries: z.array(
        z.object({
          peer_id: z.string(),
          name: z.string(),
          admitted_by: z.string(),
          admitted_at: z.string(),
          revoked: z.boolean(),
          void: z.boolean().optional().meta({
            description: 'admitted by a peer that was revoked, unseen by the one that revoked it',
          }),
          barred_by: z.string().optional().meta({
            description: 'PeerId of the member that revoked it, or the one that had admitted it',
          }),
          barred_at: z.string().optional(),
        }),
      ),
    }),
  },
  'access.allow': {
    summary: 'Admits one PeerId without a secret; the token leads it here, and no other peer in.',
    params: z.strictObject({
      peer: z.string().min(1).max(128).meta({ description: 'its PeerId' }),
      name: nameSchema.optional(),
    }),
    result: z.object({
      peer_id: z.string(),
      token: z.string(),
      is_new: z.boolean().meta({ description: 'false: it was on the list before' }),
    }),
  },
  'access.revoke': {
    summary:
      'Cuts a peer off, for good: its PeerId never returns, and its store has no part in any home.',
    params: z.strictObject({
      peer: z.string().min(1).max(128).meta({ description: 'its PeerId' }),
    }),
    result: z.object({
      peer_id: z.string(),
      name: z.string(),
      store_id: z.string().optional().meta({ description: 'absent: it was never seen' }),
      already_by: z.string().optional().meta({ description: 'it was revoked before: by whom' }),
    }),
  },
  'mesh.join': {
    summary: 'Redeems a token at its inviter.',
    params: z.strictObject({ token: z.string().min(1).max(8_192) }),
    result: z.object({ mesh_id: z.string(), members: z.int() }),
  },
  'mesh.merge': {
    summary: 'Makes this mesh and the one that the token is from one.',
    params: z.strictObject({
      token: z.string().min(1).max(8_192),
      yes: z.boolean().default(false).meta({
        description: 'also if it cuts members off; without it MERGE_CUTS says whom',
      }),
    }),
    result: z.object({
      mesh_id: z.string(),
      members: z.int(),
      cut_off: z.array(z.string()).meta({ description: 'names: revoked in the other mesh' }),
      already: z.boolean().meta({ description: 'they were one mesh before' }),
    }),
  },
  'mesh.leave': {
    summary: 'Hands everything over, leaves, and ends the daemon.',
    params: z.strictObject({ timeout_ms: durationMsSchema.optional() }),
    result: z.object({ left: z.boolean(), only_here: z.array(z.string()) }),
  },
} as const;
