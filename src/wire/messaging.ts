/** What the rooms see of the exchange with other members: requests, messages, and their handlers. Peers are PeerIds. */
import type { CoveyError } from '../base/errors.ts';
import type { Result } from '../base/result.ts';
import type { WireMap } from './envelope.ts';

export type CallResult = Result<WireMap, CoveyError>;
export type MessageHandler = (from: string, body: WireMap) => void;
export type RequestHandler = (from: string, body: WireMap) => CallResult | Promise<CallResult>;

/** What the rooms see of the messenger. */
export interface Messaging {
  call(to: string, type: string, body: WireMap, options?: CallOptions): Promise<CallResult>;
  /** Fire and forget; false when it was not taken. */
  cast(to: string, type: string, body: WireMap): boolean;
  onRequest(type: string, handler: RequestHandler): void;
  onMessage(type: string, handler: MessageHandler): void;
}

export interface CallOptions {
  readonly timeoutMs?: number;
  readonly frameClass?: 'data' | 'bulk';
}
