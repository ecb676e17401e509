/**
 * `system.doctor`: asks the members that can be reached what they know of themselves, for a bounded time, and judges it
 * together with what this peer knows. Who did not answer is named: silence is a finding too.
 */
import type { MethodResult } from '../api/methods.ts';
import { ok } from '../base/result.ts';
import type { Member } from '../membership/types.ts';
import type { Peer } from '../peer/peer.ts';
import { type Descriptors, type Report, readReport, reportOf, toBody } from './checkup.ts';
import { diagnose } from './diagnosis.ts';
import type { Answer, Silent } from './findings.ts';
import { DOCTOR_ASKS_MAX } from './limits.ts';

const SILENCES: Readonly<Record<string, string>> = {
  METHOD_NOT_FOUND: 'its version cannot be asked',
  TIMEOUT: 'no answer in time',
  UNREACHABLE: 'the link to it ended',
};

export class Doctor {
  readonly #peer: Peer;
  readonly #descriptors: () => Promise<Descriptors | undefined>;

  constructor(peer: Peer, descriptors: () => Promise<Descriptors | undefined> = noDescriptors) {
    this.#peer = peer;
    this.#descriptors = descriptors;
    peer.messenger.onRequest('mesh.checkup', async () => ok(toBody(await this.#report())));
  }

  #report(): Promise<Report> {
    return reportOf(this.#peer, this.#descriptors);
  }

  async examine(timeoutMs: number): Promise<MethodResult<'system.doctor'>> {
    const { membership, options, ports } = this.#peer;
    if (membership.expelled !== undefined) return outside(this.#peer);
    const self = membership.self();
    const members = membership.members();
    const present = members.filter(
      ({ peerId, status }) =>
        peerId !== self.peerId && (status === 'alive' || status === 'suspect'),
    );
    const asked = present.slice(0, DOCTOR_ASKS_MAX);
    const [own, ...answers] = await Promise.all([
      this.#report(),
      ...asked.map((member) => this.#ask(member, timeoutMs)),
    ]);
    const heard: Answer[] = [{ peerId: self.peerId, report: own, skewMs: 0, doubtMs: 0 }];
    const silent: Silent[] = [];
    for (const answer of answers) {
      if ('report' in answer) heard.push(answer);
      else silent.push(answer);
    }
    const { copies, copies_required } = options.config;
    const about = { self: self.peerId, nowWallMs: ports.clock.wallMs(), copies };
    const checks = diagnose({ ...about, copiesRequired: copies_required, members, heard, silent });
    return {
      checks,
      asked: asked.map(({ peerId, name }) => ({ peer_id: peerId, name })),
      silent: silent.map(({ peerId, name, why }) => ({ peer_id: peerId, name, why })),
    };
  }

  async #ask({ peerId, name }: Member, timeoutMs: number): Promise<Answer | Silent> {
    const { messenger, membership, ports, sight } = this.#peer;
    if (!sight.reaches(peerId)) return { peerId, name, why: 'no link to it' };
    // It would answer, but that the two cannot reach each other is what somebody has to hear.
    if (membership.mesh.wayTo(peerId) === 'relay')
      return { peerId, name, why: 'it is reached through others alone' };
    const sentMs = ports.clock.nowMs();
    const answer = await messenger.call(peerId, 'mesh.checkup', {}, { timeoutMs });
    if (!answer.ok) {
      const why = SILENCES[answer.error.code] ?? answer.error.message;
      return { peerId, name, why };
    }
    const report = readReport(answer.value);
    if (!report.ok) return { peerId, name, why: report.error };
    // It took its time somewhere between the question and the answer: nobody knows where.
    const tookMs = ports.clock.nowMs() - sentMs;
    const skewMs = report.value.wall_ms - (ports.clock.wallMs() - tookMs / 2);
    return { peerId, report: report.value, skewMs, doubtMs: tookMs / 2 };
  }
}

/** It has nobody to ask, and what it knows of others is of the past. */
function outside({ membership }: Peer): MethodResult<'system.doctor'> {
  const summary = `this peer is no member of its mesh: ${membership.expelledText ?? ''}`;
  const todo =
    membership.expelled?.kind === 'revoked'
      ? 'Stop it. With a new data directory and a new token this host is a member again, as another peer.'
      : "Let it in again at a member: 'covey access allow PEER_ID', or 'covey join' here with a new token.";
  return { checks: [{ check: 'members', status: 'fail', summary, todo }], asked: [], silent: [] };
}

const noDescriptors = (): Promise<undefined> => Promise.resolve(undefined);
