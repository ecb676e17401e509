/** What a peer is made with besides its ports, and how its start may fail. */
import type { Config } from '../api/config.ts';
import type { Logger } from '../base/telemetry.ts';

export interface PeerOptions {
  readonly config: Config;
  readonly log: Logger;
  /** Of the software, for display. */
  readonly version: string;
  /** Commands at once. */
  readonly slots: number;
  /** Path of the control socket, told to commands as COVEY_SOCKET. */
  readonly socket: string;
  /** The disk failed: the daemon must stop acknowledging and exit. */
  readonly onFatal: (why: string) => void;
  /**
   * This peer has stopped, and a new one is to start from the same ports. With a reason: a member refused the store as
   * rolled back or copied, and it gets another id first (`renewStore`). Without: the peer is no member of its mesh any
   * more, or one again.
   */
  readonly onRenew: (why: string | undefined) => void;
  /** All of the store was read, after each pass through it. */
  readonly onStoreRead?: () => void;
}

export interface StartError {
  readonly code: 'in_use' | 'no_such_address' | 'failed';
  readonly detail: string;
}
