/** News: what is taken from gossipsub, and how its streams are kept open. */
import { TopicValidatorResult } from '@chainsafe/libp2p-gossipsub';
import { Allowances } from '../base/allowance.ts';
import type { PeerId } from '../ports/identity.ts';
import { NEWS_BYTES_MAX, type NetworkHandlers } from '../ports/network.ts';
import type { HandlerQueue } from './libp2p-handlers.ts';
import type { Link } from './libp2p-link.ts';
import { GOSSIP_PROTOCOL_PREFIX, NEWS_TOPIC, type NodeParts, type Stream } from './libp2p-node.ts';

/**
 * News from one peer, its own and what it hands on, in bytes: each fact in it costs a verification. A thousand members that
 * say something at once; what is left out comes with anti-entropy.
 */
const NEWS_ALLOWANCE = { burst: 1_024 * 1_024, perSecond: 128 * 1_024 };
/** Peers whose news is counted: more than there are links. */
const SOURCES_MAX = 512;
/** A peer that does not take our gossip stream is asked again after this, doubling up to the maximum. */
const GOSSIP_RETRY_MS = 2_000;
const GOSSIP_RETRY_MS_MAX = 60_000;

export function hearNews(
  { gossip }: NodeParts,
  handlers: HandlerQueue<NetworkHandlers>,
  isMember: (peerId: PeerId) => boolean,
): void {
  const allowances = new Allowances(NEWS_ALLOWANCE, SOURCES_MAX);
  // Before it is handed on: what is ignored here goes nowhere.
  gossip.topicValidators.set(NEWS_TOPIC, (source, { data }) => {
    const from = source.toString();
    if (!isMember(from)) {
      handlers.call((to) => to.refused?.('news: of a stranger'));
      return TopicValidatorResult.Ignore;
    }
    if (allowances.take(from, 256 + data.length, performance.now()))
      return TopicValidatorResult.Accept;
    handlers.call((to) => to.refused?.('news: too much of one peer'));
    return TopicValidatorResult.Ignore;
  });
  gossip.addEventListener('gossipsub:message', ({ detail: { propagationSource, msg } }) => {
    if (msg.topic !== NEWS_TOPIC || msg.data.length > NEWS_BYTES_MAX) return;
    if (!isMember(propagationSource.toString())) return;
    const bytes = new Uint8Array(msg.data);
    handlers.call((to) => to.news(bytes));
  });
}

const isGossip = (stream: Stream): boolean =>
  stream.direction === 'outbound' && stream.protocol.startsWith(GOSSIP_PROTOCOL_PREFIX);

/**
 * Called for each member's link now and then. Gossipsub does not open its stream again when it was refused (the
 * other end had not admitted us yet) or ended with one of two connections; offering the connection again makes
 * it do so.
 */
export function offerGossip(parts: NodeParts, link: Link): void {
  const connection = link.connection();
  if (!connection) return;
  if ([...link.connections].some(({ streams }) => streams.some(isGossip))) {
    link.gossipPauseMs = 0;
    return;
  }
  const nowMs = performance.now();
  if (nowMs < link.gossipRetryMs) return;
  // The second time in a row gossipsub itself may hold a stream that is dead: have it forget the peer.
  if (link.gossipPauseMs > 0) parts.gossipDisconnect(connection.remotePeer);
  const pauseMs = Math.max(GOSSIP_RETRY_MS, 2 * link.gossipPauseMs);
  link.gossipPauseMs = Math.min(GOSSIP_RETRY_MS_MAX, pauseMs);
  link.gossipRetryMs = nowMs + link.gossipPauseMs;
  parts.gossipConnect(connection.remotePeer, connection);
}
