/**
 * Authenticated, encrypted messages between peers.
 *
 * A *link* is the state "at least one connection to this PeerId is open". Real connections come and go below
 * it (two peers may dial each other at the same moment): `opened` is reported when the first one is up,
 * `closed` when the last one has ended.
 *
 * Guarantees:
 * - The PeerId of a link is proven by the handshake; nobody can speak for another.
 * - Frames of one class on one link arrive whole, at most once, in the order sent, as long as the link lives;
 *   frames in flight when it, or one of several connections below it, ends are lost without notice. So are
 *   frames to a peer that has not admitted the sender. Between classes there is no order.
 * - Frames that one turn of the event loop sends to one peer and class may travel together.
 * - `send` never blocks, and the bytes given to it must not be changed any more. `full` means that more than SEND_BUFFER_BYTES_MAX wait to be written: the frame was
 *   not taken. `gone` means there is no link.
 * - Until `admit` was called for a PeerId its frames of every class but `admit` are not delivered and its
 *   other streams are reset: a stranger gets nothing but `/covey/admit/1`.
 * - `publish` is best effort: lossy, unordered, possibly repeated, with no word to the sender.
 * Handlers are called one at a time, never from inside a call of this interface.
 */
import type { PeerId } from './identity.ts';

/** Protocol ids are `/covey/<class>/1`. */
export const FRAME_CLASSES = ['control', 'data', 'bulk'] as const;
/** control: heartbeats, accusations, views. data: records and tasks. bulk: log follow, anti-entropy pages. */
export type FrameClass = (typeof FRAME_CLASSES)[number];

export const FRAME_BYTES_MAX = 8 * 1_024 * 1_024;
/** A peer that reads nothing costs its senders at most this much memory a class. */
export const SEND_BUFFER_BYTES_MAX = 16 * 1_024 * 1_024;
export const ADMIT_FRAME_BYTES_MAX = 64 * 1_024;
export const NEWS_BYTES_MAX = 16 * 1_024;

/** `host:port`, host a name, an IPv4 address or an IPv6 address in brackets. */
export type Address = string;

export type DialResult =
  /** isNew: this very dial made the connection; false: there was a link already. */
  | { readonly ok: true; readonly peerId: PeerId; readonly isNew: boolean }
  | {
      readonly ok: false;
      /** refused: ECONNREFUSED, the only one that is evidence of a crash. */
      readonly code: 'refused' | 'timeout' | 'wrong_peer' | 'unreachable' | 'stopped';
      readonly detail: string;
    };

/**
 * Names under which DNS lists places: SRV records of a name, `dnsaddr=` texts at `_dnsaddr.` of it; or whoever announces
 * himself on the local network (the name is empty).
 */
export type NameKind = 'srv' | 'dnsaddr' | 'mdns';

/** Where somebody may be found, and who, if that is said. */
export interface Place {
  readonly address: Address;
  readonly peerId?: PeerId;
}

export type SendResult = 'sent' | 'full' | 'gone';

export interface LinkInfo {
  readonly peerId: PeerId;
  /** Remote end of the connection. */
  readonly address: Address;
  readonly direction: 'inbound' | 'outbound';
}

export const NETWORK_REFUSALS = [
  'connection: too many strangers',
  'connection: too many links',
  'connection: too many of one peer',
  'connection: not admitted in time',
  'stream: of a stranger',
  'stream: too many requests',
  'stream: no answer in time',
  'frame: too long',
  'frame: too much in part of one peer',
  'news: too much of one peer',
  'news: of a stranger',
] as const;
export type NetworkRefusal = (typeof NETWORK_REFUSALS)[number];

export interface NetworkHandlers {
  /** The first connection to this peer is up. It may be a stranger. */
  opened(link: LinkInfo): void;
  /** The last connection ended; `error` tells a reset from an end of stream, for display. */
  closed(peerId: PeerId, error: string | undefined): void;
  frame(from: PeerId, frameClass: FrameClass, bytes: Uint8Array): void;
  /** One request on `/covey/admit/1`, from anybody; the returned bytes are the reply. Undefined: refuse, reset. */
  admitRequest(from: PeerId, bytes: Uint8Array): Promise<Uint8Array | undefined>;
  /** A published message, handed on by some member; who wrote it is in its payload. */
  news(bytes: Uint8Array): void;
  /** Something was turned away before it came to one of the others; for display. */
  refused?(reason: NetworkRefusal): void;
}

export type ListenResult =
  | { readonly ok: true; readonly port: number }
  | {
      readonly ok: false;
      readonly code: 'in_use' | 'no_such_address' | 'failed';
      readonly detail: string;
    };

export interface Network {
  /** Listens on `host:port` (port 0: any) and starts to call the handlers. Once. */
  start(
    handlers: NetworkHandlers,
    listen: { readonly host: string; readonly port: number },
  ): Promise<ListenResult>;
  /**
   * Connects, and proves that the other end is `peerId`, or tells whoever it is. An open link to `peerId` answers at
   * once. A name in the address is resolved anew.
   */
  dial(peerId: PeerId | undefined, address: Address, timeoutMs: number): Promise<DialResult>;
  /** Whoever asks on the local network (`mdns`) hears that this peer is there, from now on. Best effort. */
  announce(addresses: readonly Address[]): void;
  /** What DNS says now, the best first. Empty: nothing, or no answer in time. */
  resolve(kind: NameKind, name: string, timeoutMs: number): Promise<readonly Place[]>;
  /** A plain TCP connect to the address, closed at once: does something listen there? */
  probe(
    address: Address,
    timeoutMs: number,
  ): Promise<'accepted' | 'refused' | 'timeout' | 'unreachable'>;
  /**
   * One frame and its answer on `/covey/admit/1` over an open link. Undefined: reset or no answer in time, which
   * is 5 s at the other end.
   */
  admitCall(peerId: PeerId, bytes: Uint8Array, timeoutMs: number): Promise<Uint8Array | undefined>;
  /**
   * From now on this PeerId is a member, link or none: frames, news and identify are let through. A link to a
   * PeerId that is not admitted is closed after 10 s.
   */
  admit(peerId: PeerId): void;
  send(peerId: PeerId, frameClass: FrameClass, bytes: Uint8Array): SendResult;
  /** Ends every connection to the peer after what was sent has been written, 1 s at most; takes back `admit`. */
  disconnect(peerId: PeerId): Promise<void>;
  publish(bytes: Uint8Array): void;
  /** Peers with an open link. */
  links(): LinkInfo[];
  /** Stops listening, and closes every link as `disconnect` does. From the call on no handler is called. */
  stop(): Promise<void>;
}
