/** The fake daemon's answers for those who look at the mesh; its log is real. */
import { LogTap } from '../../src/base/log-tap.ts';
import { ok } from '../../src/base/result.ts';
import { silentLogger } from '../../src/base/telemetry.ts';
import type { ControlBackend } from '../../src/control/backend.ts';
import { Monitors } from '../../src/control/monitor.ts';
import type { Clock } from '../../src/ports/clock.ts';
import { FAKE_PEER, FAKE_STORE } from './fake-task.ts';

const FLOW = { frames_sent: 2, bytes_sent: 100.5, frames_received: 3, bytes_received: 200 };
const CLASSES = { control: FLOW, data: FLOW, bulk: FLOW, admit: FLOW, news: FLOW };
const OTHER = { peer_id: 'other-peer', name: 'other' };
const STATS = {
  view_hash: 'fake',
  members: 2,
  observes: [
    { ...OTHER, linked: true, hears: true, opinion: 'fine' as const, phi: 0.2, heard_ms_ago: 120 },
  ],
  observed_by: [{ ...OTHER, linked: true }],
  anti_entropy: {
    ...{ started: 10, started_different: 1, asked: 9, asked_different: 2 },
    ...{ facts_sent: 4, facts_received: 5 },
  },
  news: { published: 3, received: 7 },
  health: {
    ...{ step: 0, patience: 1, paused_lately: false, lag_ms: 1, lag_ms_max: 40 },
    ...{ pauses: 1, longest_pause_ms: 3_000, last_pause_ms_ago: 60_000 },
  },
  links: [
    {
      ...OTHER,
      address: '127.0.0.2:26839',
      direction: 'outbound' as const,
      up: true,
      per_second: FLOW,
    },
  ],
  traffic: { window_ms: 60_000, per_second: CLASSES, since_start: CLASSES },
};

export class FakeObserve {
  readonly tap: LogTap;
  readonly #monitors: Monitors;

  constructor(clock: Clock) {
    this.tap = new LogTap(silentLogger, 'error', () => clock.wallMs());
    this.#monitors = new Monitors(this.tap, clock);
  }

  methods() {
    const preferred = { peer_id: FAKE_PEER, store_id: FAKE_STORE, name: 'fake' };
    const member = { ...preferred, host: '127.0.0.1', status: 'alive' as const };
    return {
      'members.stats': async () => ok(STATS),
      'ring.show': async () =>
        ok({
          checksum: 'fake-ring',
          copies: 3,
          members: [{ ...member, weight: 1, tokens: 2_048, share: 1 }],
        }),
      'ring.owner': async () => ok({ preference: [{ ...preferred, reason: 'the first' }] }),
      'system.doctor': async () =>
        ok({
          checks: [{ check: 'disk', status: 'ok' as const, summary: 'every store has room' }],
          asked: [OTHER],
          silent: [],
        }),
      'system.monitor': async (params, session) => this.#monitors.subscribe(session, params),
    } satisfies Partial<ControlBackend>;
  }

  unsubscribe(...[session, id]: Parameters<Monitors['unsubscribe']>): boolean {
    return this.#monitors.unsubscribe(session, id);
  }
}
