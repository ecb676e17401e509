/** Another daemon with the key of a member, let in behind a partition: what its records do when it heals. */
import { describe, expect, it } from 'vitest';
import { type SelfRecord, signFact, toWire } from '../../src/membership/fact.ts';
import { encodeMessage } from '../../src/membership/messages.ts';
import { type Host, World } from './membership-world.ts';

/** What the copy of `whom` answers to its record: a later epoch, signed with the same key. */
const outbid = (via: Host, whom: Host, bootCount: number): void => {
  const { meshId } = whom.membership;
  const self = whom.membership.self();
  const record: SelfRecord = {
    kind: 'record',
    peerId: whom.peerId,
    epoch: whom.epoch + 1,
    incarnation: 0,
    storeId: self.storeId,
    bootCount,
    bootId: 'copy',
    name: 'copy',
    addresses: ['127.77.9.9:1'],
    labels: {},
    version: '0',
    features: [],
    execEnabled: true,
    stopping: false,
    left: false,
  };
  const facts = [toWire(signFact(whom.identity, meshId, record))];
  via.send(whom, encodeMessage({ type: 'delta', facts, want: [] }));
};

describe('a member that is outbid with its own key', () => {
  const story = async (bootCount: number, times: number): Promise<Host> => {
    const world = new World(`outbid ${bootCount} ${times}`);
    const [a, b] = (await world.mesh(3)) as [Host, Host, Host];
    await world.clock.runFor(1_000);
    for (let n = 0; n < times; n++) {
      const before = b.epoch;
      outbid(a, b, bootCount);
      await world.timeUntil('it answers', () => b.epoch > before + 1, 2_000);
    }
    return b;
  };

  it('takes one or two for an old copy of identity/, of a process that has ended', async () => {
    expect((await story(0, 2)).twins).toEqual([]);
  });

  it('gives way at the third if it was started later, and goes on if not', async () => {
    expect((await story(0, 3)).twins).toEqual(['127.77.9.9:1']);
    const first = await story(9, 3);
    expect(first.twins).toEqual([]);
    const said = first.log.lines.map(({ message }) => message);
    expect(said).toContain('another daemon runs with the key of this peer');
  });
});
