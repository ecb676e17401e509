/** What is counted for an operator: traffic without timers, clock jumps, refusals, own pauses. */
import { describe, expect, it } from 'vitest';
import { ClockJumps } from '../../src/membership/clock-jumps.ts';
import { Health } from '../../src/membership/health.ts';
import { REFUSALS_KEPT_MAX } from '../../src/membership/limits.ts';
import { Telemetry } from '../../src/membership/telemetry.ts';
import { metered, Traffic } from '../../src/membership/traffic.ts';
import type { Network, NetworkHandlers } from '../../src/ports/network.ts';

describe('traffic', () => {
  it('tells frames and bytes of each second, by class and by peer, of the last minute', () => {
    const traffic = new Traffic();
    traffic.tick(0);
    for (let second = 0; second < 120; second++) {
      traffic.sent('control', 100, 'a');
      traffic.received('data', 1_000, 'b');
      if (second >= 60) traffic.sent('news', 50);
      traffic.tick((second + 1) * 1_000);
    }
    const { windowMs, classes, peers, totals } = traffic.rates(120_000);
    expect(windowMs).toBeGreaterThanOrEqual(55_000);
    expect(windowMs).toBeLessThanOrEqual(60_000);
    const none = { framesSent: 0, bytesSent: 0, framesReceived: 0, bytesReceived: 0 };
    expect(classes.control).toEqual({ ...none, framesSent: 1, bytesSent: 100 });
    expect(classes.data).toEqual({ ...none, framesReceived: 1, bytesReceived: 1_000 });
    expect(classes.news.framesSent).toBeCloseTo(1);
    expect(totals.news).toEqual({ ...none, framesSent: 60, bytesSent: 3_000 });
    expect(peers.get('a')).toEqual(classes.control);
    expect(peers.get('b')).toEqual(classes.data);
  });

  it('lets go of a peer that was silent for the whole window, and of no count of a class', () => {
    const traffic = new Traffic();
    traffic.tick(0);
    traffic.sent('data', 10, 'gone');
    for (let second = 5; second <= 300; second += 5) traffic.tick(second * 1_000);
    const { peers, totals } = traffic.rates(300_000);
    expect(peers.size).toBe(0);
    expect(totals.data.framesSent).toBe(1);
  });

  it('counts what a network took and gave, and changes nothing of it', async () => {
    const traffic = new Traffic();
    let handlers: NetworkHandlers | undefined;
    const heard: unknown[] = [];
    const fake = {
      start: (given: NetworkHandlers) => {
        handlers = given;
        return Promise.resolve({ ok: true, port: 1 });
      },
      send: (_to: string, _class: string, bytes: Uint8Array) =>
        bytes.length > 5 ? 'full' : 'sent',
      publish: (bytes: Uint8Array) => heard.push(bytes),
      admitCall: () => Promise.resolve(new Uint8Array(7)),
    } as unknown as Network;
    const network = metered(fake, traffic);
    const frame = (...args: unknown[]) => heard.push(args);
    await network.start(
      { frame, admitRequest: async () => undefined } as unknown as NetworkHandlers,
      { host: '', port: 0 },
    );
    const bytes = new Uint8Array(5);
    handlers?.frame('a', 'bulk', bytes);
    expect(network.send('a', 'data', bytes)).toBe('sent');
    expect(network.send('a', 'data', new Uint8Array(6))).toBe('full');
    network.publish(bytes);
    expect(await network.admitCall('a', bytes, 1)).toHaveLength(7);
    expect(await handlers?.admitRequest('x', bytes)).toBeUndefined();
    expect(heard).toEqual([['a', 'bulk', bytes], bytes]);
    const { totals } = traffic.rates(0);
    expect(totals.data).toMatchObject({ framesSent: 1, bytesSent: 5 });
    expect(totals.bulk).toMatchObject({ framesReceived: 1, bytesReceived: 5 });
    expect(totals.news).toMatchObject({ framesSent: 1, bytesSent: 5 });
    expect(totals.admit).toEqual({
      ...{ framesSent: 1, bytesSent: 5, framesReceived: 2, bytesReceived: 12 },
    });
  });
});

describe('a clock that is set', () => {
  it('is seen, in either direction; a slew and a suspend are none', () => {
    const jumps = new ClockJumps();
    for (let ms = 0; ms <= 60_000; ms += 250) jumps.note(ms, 1_000_000 + ms * 1.0005);
    // An hour asleep: both clocks count it.
    jumps.note(3_660_000, 1_000_030 + 3_660_000);
    expect(jumps.seen).toBeUndefined();
    jumps.note(3_660_250, 1_000_030 + 3_660_250 - 7_200_000);
    expect(jumps.seen).toEqual({ count: 1, lastMs: -7_200_000, atMs: 3_660_250 });
    jumps.note(3_660_500, 1_000_030 + 3_660_500);
    expect(jumps.seen).toMatchObject({ count: 2, lastMs: 7_200_000 });
  });
});

describe('refusals', () => {
  it('are one a peer and side, the last ones are kept', () => {
    const telemetry = new Telemetry();
    const error = { code: 'STORE_REFUSED', message: 'rolled back' };
    telemetry.refused('a', 'us', error, 1);
    telemetry.refused('a', 'them', error, 2);
    telemetry.refused('a', 'us', error, 3);
    expect(telemetry.refusals).toMatchObject([
      { peerId: 'a', by: 'them', count: 1, atMs: 2 },
      { peerId: 'a', by: 'us', count: 2, atMs: 3 },
    ]);
    for (let i = 0; i < REFUSALS_KEPT_MAX; i++) telemetry.refused(`p${i}`, 'us', error, 4);
    expect(telemetry.refusals).toHaveLength(REFUSALS_KEPT_MAX);
    expect(telemetry.refusals[0]?.peerId).toBe('p0');
  });
});

describe('own health', () => {
  it('reports how late ticks are, and pauses once each', () => {
    const health = new Health(2_500, 0);
    health.notice(250, true);
    health.notice(900, true);
    expect(health.report(900)).toMatchObject({ step: 1, patience: 1.25, lagMs: 400, pauses: 0 });
    // A frame is read before the tick runs: the pause is counted once.
    health.notice(6_000, false);
    health.notice(6_010, true);
    expect(health.report(6_020)).toMatchObject({
      ...{ pausedLately: true, pauses: 1, longestPauseMs: 4_850, lastPauseMs: 6_000 },
      ...{ lagMsMax: 400 },
    });
    expect(health.report(60_000)).toMatchObject({ pausedLately: false, pauses: 1 });
  });
});
