/** What the other rooms see of the members, and what that costs where there are a thousand. */
import { expect, it } from 'vitest';
import { NO_LOAD } from '../../src/membership/types.ts';
import { type MembershipSight, Sight } from '../../src/peer/sight.ts';
import { SimClock } from '../../src/sim/clock.ts';
import { requiredNow } from '../../src/tasks/mesh-view.ts';

type Member = ReturnType<MembershipSight['self']>;

const memberOf = (n: number, status: Member['status'] = 'alive'): Member =>
  ({ peerId: `peer-${n}`, storeId: `store-${n}`, status, load: NO_LOAD }) as unknown as Member;

function sightOf(first: readonly Member[]) {
  let members = first;
  let links = 0;
  const sight = new Sight(
    {
      self: () => memberOf(0),
      members: () => members,
      member: (peerId) => members.find((member) => member.peerId === peerId),
      memberOfStore: (store) => members.find(({ storeId }) => storeId === store),
      isRemoved: () => false,
      linked: () => {
        links += 1;
        return true;
      },
      hearingForMs: () => 0,
    },
    new SimClock(),
  );
  const become = (next: readonly Member[]): void => {
    members = next;
  };
  return { sight, become, links: () => links };
}

it('says how many copies are required without looking at the links of a thousand members', () => {
  const { sight, links } = sightOf(Array.from({ length: 1_000 }, (_, n) => memberOf(n)));
  expect(requiredNow(sight, 2)).toBe(2);
  expect(links()).toBe(0);
});

it('lists the present stores anew only when the members have changed', () => {
  const { sight, become } = sightOf([memberOf(0), memberOf(1), memberOf(2, 'suspect')]);
  const before = sight.directory.present();
  expect(before).toEqual(['store-0', 'store-1', 'store-2']);
  expect(sight.directory.present()).toBe(before);
  become([memberOf(0), memberOf(1, 'dead'), memberOf(2, 'left')]);
  expect(sight.directory.present()).toEqual(['store-0']);
  expect(requiredNow(sight, 2)).toBe(1);
});
