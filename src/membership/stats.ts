/** What membership does, for `covey gossip` and `covey doctor`: read from the other services of the room. */
import type { PeerId } from '../ports/identity.ts';
import type { Address } from '../ports/network.ts';
import { ClockJumps, type Jumps } from './clock-jumps.ts';
import type { Core } from './core.ts';
import type { Detector } from './detector.ts';
import type { Dialer } from './dialer.ts';
import { FLAPS_MIN } from './flapping.ts';
import type { HealthReport } from './health.ts';
import type { Links } from './links.ts';
import type { Unreached } from './reach.ts';
import type { Refusal, Telemetry } from './telemetry.ts';
import type { Rates } from './traffic.ts';

/** One whom this peer observes. */
export interface Observed {
  readonly peerId: PeerId;
  readonly linked: boolean;
  readonly hears: boolean;
  readonly opinion: 'fine' | 'suspect' | 'accused';
  readonly phi: number;
  /** Since the last byte; undefined: none in this boot. */
  readonly heardMsAgo: number | undefined;
}

export interface GossipStats {
  readonly observes: readonly Observed[];
  readonly observedBy: readonly PeerId[];
  readonly links: readonly {
    readonly peerId: PeerId;
    readonly address: Address;
    readonly direction: 'inbound' | 'outbound';
    readonly up: boolean;
  }[];
  readonly rounds: Telemetry['rounds'];
  readonly news: Telemetry['news'];
  readonly facts: Telemetry['facts'];
  readonly health: HealthReport;
  /** What came from outside and was not taken, since the start, by reason. */
  readonly refused: Readonly<Record<string, number>>;
  /** Undefined where nothing is counted. */
  readonly rates: Rates | undefined;
}

export interface Flapping {
  readonly peerId: PeerId;
  readonly returns: number;
}

export class Stats {
  readonly #core: Core;
  readonly #links: Links;
  readonly #detector: Detector;
  readonly #dialer: Pick<Dialer, 'targets'>;
  readonly #jumps = new ClockJumps();

  constructor(core: Core, links: Links, detector: Detector, dialer: Pick<Dialer, 'targets'>) {
    this.#dialer = dialer;
    this.#core = core;
    this.#links = links;
    this.#detector = detector;
  }

  /** With the timer that looks after pauses. */
  tick(): void {
    const { clock, traffic } = this.#core.deps;
    const nowMs = clock.nowMs();
    this.#jumps.note(nowMs, clock.wallMs());
    traffic?.tick(nowMs);
  }

  gossip(): GossipStats {
    const { deps, peerId: self, telemetry } = this.#core;
    const nowMs = deps.clock.nowMs();
    return {
      observes: this.observes(),
      observedBy: this.#detector.rings.observersOf(self),
      links: deps.network.links().map(({ peerId, address, direction }) => {
        return { peerId, address, direction, up: this.#links.isUp(peerId) };
      }),
      rounds: { ...telemetry.rounds },
      news: { ...telemetry.news },
      facts: { ...telemetry.facts },
      health: this.#detector.health.report(nowMs),
      refused: this.#core.refused.counts,
      rates: deps.traffic?.rates(nowMs),
    };
  }

  observes(): Observed[] {
    return this.#detector.rings.observedBy(this.#core.peerId).map((peerId) => ({
      peerId,
      linked: this.#links.isUp(peerId),
      hears: this.#detector.hearing.hears(peerId),
      phi: this.#detector.hearing.phiOf(peerId),
      ...this.#detector.hearing.impressionOf(peerId),
    }));
  }

  /** Addresses of linked members that this peer cannot connect to; asks once more. */
  unreached(): Promise<Unreached[]> {
    return this.#detector.unreached();
  }

  get health(): HealthReport {
    return this.#detector.health.report(this.#core.deps.clock.nowMs());
  }

  get jumps(): Jumps | undefined {
    return this.#jumps.seen;
  }

  /** What is kept of single peers: none of it of those who were never let in. */
  get remembered(): number {
    return this.#detector.watched + this.#dialer.targets;
  }

  get refusals(): Refusal[] {
    return this.#core.telemetry.refusals;
  }

  flapping(): Flapping[] {
    const found: Flapping[] = [];
    for (const [peerId] of this.#core.view.entries()) {
      const returns = this.#core.roster.returnsOf(peerId);
      if (returns >= FLAPS_MIN) found.push({ peerId, returns });
    }
    return found;
  }
}
