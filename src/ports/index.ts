/** The seams: everything a Peer touches outside its own memory comes through these. */
import type { Clock } from './clock.ts';
import type { Identity } from './identity.ts';
import type { Network } from './network.ts';
import type { Processes, Spool } from './processes.ts';
import type { Random } from './random.ts';
import type { Store } from './store.ts';

export interface Ports {
  readonly clock: Clock;
  readonly random: Random;
  readonly identity: Identity;
  readonly network: Network;
  /** `identity/`: allow-list, peer book, mesh id. */
  readonly identityStore: Store;
  /** `store/`: records, store id, boots. */
  readonly store: Store;
  readonly processes: Processes;
  readonly spool: Spool;
}
