/** What the bench needs of a system to measure it: three of them answer to this. */
import type { Launched, Owned } from '../common/launch.ts';
import type { Views } from './views.ts';

export interface Place {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  /** A second port, for systems that are asked through one. */
  readonly controlPort: number;
  readonly dir: string;
}

export interface Running {
  readonly place: Place;
  readonly launched: Launched;
  /** Its ready line: port and socket listen, no join was tried. */
  readonly readyMs: number;
  /** Bytes of frames sent since the start, without encryption and TCP. */
  countedBytes?(): Promise<number | undefined>;
  close?(): void;
}

export interface Setting {
  readonly owned: Owned;
  readonly views: Views;
}

export interface Backend {
  readonly name: 'covey' | 'serf' | 'upring';
  /** What `left` is in its events: some call a graceful leave a death. */
  readonly leftStatus: 'left' | 'dead';
  /** Its connections come from its own address, too: what is cut by that address is cut off. */
  readonly dialsFromItsAddress: boolean;
  /** Whatever the newcomers need, minted before they start. */
  tokens(first: Running, count: number): Promise<readonly string[]>;
  start(setting: Setting, place: Place, token: string | undefined): Promise<Running>;
}
