/** When a suspect is convicted: how many observers, what evidence, how long a silence. */
import { describe, expect, it } from 'vitest';
import {
  isStale,
  judge,
  type Observation,
  type Others,
  opinionOf,
  type Standing,
} from '../../src/membership/conviction.ts';

const config = { phiThreshold: 8, heartbeatPauseMs: 2_000, silencePatienceMs: 7_000 };
const healthy: Standing = { patience: 1, pausedLately: false };
const seen = (more: Partial<Observation>): Observation => ({
  silenceMs: 300,
  phi: 0.2,
  linked: true,
  isUnmet: false,
  endedAbruptly: false,
  saidGoodbye: false,
  refusedForMs: undefined,
  ...more,
});
const crashed = (refusedForMs: number) =>
  seen({ linked: false, endedAbruptly: true, refusedForMs, silenceMs: refusedForMs });
const silent = (silenceMs: number, more: Partial<Observation> = {}) =>
  seen({ silenceMs, phi: 100, ...more });
const others = (reachable: number, accusing = 0, objecting = 0): Others => ({
  reachable,
  accusing,
  objecting,
});
const convicts = (seenNow: Observation, said: Others, standing = healthy): boolean =>
  judge(opinionOf(seenNow, config, standing), seenNow, said, config).convict;

describe('conviction', () => {
  it('needs a second observer, whatever the evidence', () => {
    expect(convicts(crashed(0), others(3, 1))).toBe(true);
    expect(convicts(crashed(5_000), others(3, 0))).toBe(false);
    expect(convicts(silent(7_000), others(3, 1))).toBe(true);
    expect(convicts(silent(60_000), others(3, 0))).toBe(false);
  });

  it('waits while another observer hears the accused', () => {
    expect(convicts(silent(60_000), others(3, 2, 1))).toBe(false);
    expect(convicts(crashed(5_000), others(3, 2, 1))).toBe(false);
  });

  it('alone: by crash after a second of refusals, by silence after twice the patience', () => {
    expect(convicts(crashed(999), others(0))).toBe(false);
    expect(convicts(crashed(1_000), others(0))).toBe(true);
    expect(convicts(silent(13_999), others(0))).toBe(false);
    expect(convicts(silent(14_000), others(0))).toBe(true);
    const patient = { ...config, silencePatienceMs: 20_000 };
    const opinion = opinionOf(silent(20_000), patient, healthy);
    expect(judge(opinion, silent(20_000), others(0), patient).convict).toBe(true);
  });

  it('gives a boot that was announced and never heard twice the patience', () => {
    const unmet = (silenceMs: number) => silent(silenceMs, { isUnmet: true, linked: false });
    expect(convicts(unmet(13_999), others(3, 3))).toBe(false);
    expect(convicts(unmet(14_000), others(3, 3))).toBe(true);
  });

  it('takes a link for dead on which nothing came for three patiences', () => {
    expect(isStale(silent(20_999), config, healthy)).toBe(false);
    expect(isStale(silent(21_000), config, healthy)).toBe(true);
    expect(isStale(silent(21_000, { linked: false }), config, healthy)).toBe(false);
    expect(isStale(silent(21_000), config, { patience: 2, pausedLately: false })).toBe(false);
    expect(isStale(silent(90_000), config, { patience: 1, pausedLately: true })).toBe(false);
  });

  it('never by phi alone, and never within the patience', () => {
    expect(convicts(silent(6_999), others(3, 3))).toBe(false);
    expect(opinionOf(silent(2_500), config, healthy).opinion).toBe('suspect');
    expect(opinionOf(silent(1_999), config, healthy).opinion).toBe('fine');
    expect(opinionOf(seen({ silenceMs: 3_000, phi: 7.9 }), config, healthy).opinion).toBe('fine');
  });

  it('takes a refused port for a crash only after an end without goodbye', () => {
    const goodbye = { ...crashed(3_000), saidGoodbye: true, endedAbruptly: false };
    expect(opinionOf(goodbye, config, healthy).opinion).not.toBe('accused');
    const neverSeenEnding = { ...crashed(1_500), endedAbruptly: false };
    expect(opinionOf(neverSeenEnding, config, healthy).opinion).toBe('fine');
    const back = { ...crashed(500), linked: true };
    expect(opinionOf(back, config, healthy).opinion).toBe('fine');
  });

  it('does not wait for twice the patience when one said goodbye and its port refuses', () => {
    const gone = silent(7_200, { saidGoodbye: true, linked: false, refusedForMs: 7_100 });
    expect(convicts(gone, others(0))).toBe(true);
    expect(convicts({ ...gone, refusedForMs: 100 }, others(0))).toBe(false);
  });

  it('judges nobody after an own pause, and later when it lags itself', () => {
    expect(opinionOf(silent(60_000), config, { patience: 1, pausedLately: true })).toEqual({
      opinion: 'fine',
    });
    const lagging = { patience: 2, pausedLately: false };
    expect(opinionOf(silent(13_900), config, lagging).opinion).toBe('suspect');
    expect(opinionOf(silent(14_000), config, lagging).opinion).toBe('accused');
  });
});
