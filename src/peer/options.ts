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
   * A member refused the store as rolled back or copied. This peer has stopped; its store is to get another id
   * (`renewStore`) and a new peer to start with it.
   */
  readonly onRefused: (why: string) => void;
  /** All of the store was read, after each pass through it. */
  readonly onStoreRead?: () => void;
}

export interface StartError {
  readonly code: 'in_use' | 'no_such_address' | 'failed';
  readonly detail: string;
}
