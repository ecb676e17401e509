/** `coveyd --join`: a daemon that joins a mesh at its start, as soon as its inviter is there. */
import { isRetryable } from './base/errors.ts';
import { jitter } from './base/random.ts';
import type { Logger } from './base/telemetry.ts';
import { decodeToken } from './membership/token.ts';
import type { Peer } from './peer/peer.ts';
import { sleep } from './ports/clock.ts';

/** Between two tries; an inviter that starts at the same time is there after the first. */
const JOIN_RETRY_FIRST_MS = 1_000;
const JOIN_RETRY_MAX_MS = 30_000;
const JOIN_WARNING_MS = 60_000;

/**
 * `--join`: hosts that start together find their inviter a little later. What may pass is tried again for as long as
 * the token is good and nobody else has joined this peer; the rest is one line of level error.
 */
export async function joinPatiently(peer: Peer, token: string, log: Logger): Promise<void> {
  const { clock, random } = peer.ports;
  const decoded = decodeToken(token);
  const expiresAtMs = decoded.ok ? decoded.value.expiresAtMs : 0;
  let delayMs = JOIN_RETRY_FIRST_MS;
  let warnedAt = Number.NEGATIVE_INFINITY;
  for (;;) {
    const joined = await peer.membership.join(token);
    if (joined.ok) {
      log.log('info', 'joined', { mesh: joined.value.meshId, members: joined.value.members });
      return;
    }
    const { code, message: why } = joined.error;
    if (!isRetryable(code) || clock.wallMs() >= expiresAtMs) {
      log.log('error', 'the mesh could not be joined', { code, why });
      return;
    }
    if (clock.nowMs() - warnedAt >= JOIN_WARNING_MS) {
      warnedAt = clock.nowMs();
      log.log('warn', 'the mesh could not be joined yet; trying on', { code, why });
    }
    await sleep(clock, jitter(random, delayMs, 0.2));
    delayMs = Math.min(2 * delayMs, JOIN_RETRY_MAX_MS);
    // Invited somebody, or joined by hand: this is a mesh with others now, and stays in it.
    if (peer.isClosed || peer.membership.members().length > 1) return;
  }
}
