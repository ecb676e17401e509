/** Faults of absence: an operator gives a store up that comes back after all, and a store that stays away for too long. */
import { randomBelow, randomFloat } from '../base/random.ts';
import type { RecordState } from '../records/record.ts';
import { taskOf } from '../tasks/task.ts';
import { between, pick } from './options.ts';
import {
  cutOff,
  directionsWhere,
  type Fault,
  pairOf,
  restart,
  type Trouble,
  withOne,
} from './trouble.ts';
import type { World } from './world.ts';

/** An operator looks so often, and gives up so late: a silent peer is convicted after 16 s at most. */
const LOOK_MS = 250;
/** One who is on the spot does it before all others have heard of the death. */
const QUICK_MS = 1;
const PATIENCE_MS = 25_000;
/** Between the removal and the return. */
const BACK_MS_MIN = 100;
const BACK_MS_MAX = 8_000;
/** Of `tombstone_ttl`: by their own running time, which a crash makes shorter, the others must have seen it pass. */
const AWAY_SHARE_MIN = 1.3;
const AWAY_SHARE_MAX = 2.5;

const WAYS = ['crash', 'leave', 'cut'] as const;

const isOut = (status: string | undefined): boolean => status === 'dead' || status === 'left';

/** Some operator removes the store of this host as soon as his daemon lets him; true: it was asked to. */
function tryForget({ world, random }: Trouble, i: number): boolean {
  const { peerId, name } = world.host(i);
  const operators = world.hosts.filter(
    ({ peer, state, isFrozen }) =>
      state === 'up' && !isFrozen && isOut(peer?.membership.member(peerId)?.status),
  );
  const at = pick(random, operators);
  const store = at?.peer?.membership.member(peerId)?.storeId;
  if (at?.peer === undefined || store === undefined) return false;
  const { notes } = world.steps;
  notes.forgotten.add(store);
  world.note(`an operator removes the store of ${name} at ${at.name}`);
  world.trace.add('operator forget', [at.name, name]);
  void at.peer.membership.forget(peerId).then((done) => {
    if (!done.ok) world.sightings.code(done.error.code);
  });
  return true;
}

/** Asks until it was done or nobody would, then lets the host come back. */
function forgetWhenOut(trouble: Trouble, i: number, lookMs: number, comeBack: () => void): void {
  const { world, later, random } = trouble;
  const untilMs = world.clock.nowMs() + PATIENCE_MS;
  const look = (): void => {
    if (tryForget(trouble, i)) later(between(random, BACK_MS_MIN, BACK_MS_MAX), comeBack);
    else if (world.isOver || world.clock.nowMs() > untilMs) comeBack();
    else later(lookMs, look);
  };
  later(lookMs, look);
}

function noteWhatIsMissed(world: World, i: number, sinceMs: number): void {
  const host = world.host(i);
  // Where all others have lost their disks meanwhile nobody remembers for how long it was away.
  const remembers = ({ name }: { name: string }): boolean =>
    name !== host.name && (world.replacedMs.get(name) ?? 0) < sinceMs;
  if (!world.hosts.some(remembers)) return;
  const isOpen = (record: RecordState | undefined): boolean =>
    record !== undefined && taskOf(record).final === undefined;
  const others = world.hosts.filter((other) => other !== host);
  const open = host.records().filter(isOpen);
  const ids = open.map(({ id }) => id);
  world.steps.notes.comesBack(host.name, ids, (id) =>
    others.some((other) => isOpen(other.durable(id))),
  );
}

export const AWAY_FAULTS = {
  forget: {
    what: 'an operator removes the store of a peer that crashed, left or is merely out of reach, and it comes back',
    strike: (trouble) => {
      const { world, random } = trouble;
      const [i] = pairOf(trouble) ?? [];
      if (i === undefined || world.host(i).state !== 'up' || !world.isMember(i)) return false;
      const how = pick(random, WAYS) ?? 'crash';
      if (how === 'crash') world.crash(i);
      else if (how === 'leave') void world.host(i).leave();
      else {
        world.wires.block(directionsWhere(trouble, (from, to) => from === i || to === i));
        forgetWhenOut(trouble, i, LOOK_MS, () => world.heal());
        return true;
      }
      const isQuick = how === 'crash' && randomBelow(random, 2) === 0;
      forgetWhenOut(trouble, i, isQuick ? QUICK_MS : LOOK_MS, () => restart(trouble, i));
      return true;
    },
  },
  away_too_long: {
    what: 'a host is down or cut off for longer than the others remember what is over (where they forget soon)',
    strike: withOne((trouble, i) => {
      const { world, random, later, ttlMs } = trouble;
      const { notes } = world.steps;
      // Where most were away for so long nobody is left who could tell what is over: all is set aside, as it must be.
      if (ttlMs === 0 || 2 * (notes.away.size + 1) >= world.hosts.length) return false;
      const { name } = world.host(i);
      const sinceMs = world.clock.nowMs();
      if (notes.away.has(name)) return false;
      notes.away.add(name);
      const share = AWAY_SHARE_MIN + (AWAY_SHARE_MAX - AWAY_SHARE_MIN) * randomFloat(random);
      const how = randomBelow(random, 4);
      if (how === 0) {
        const around = directionsWhere(trouble, (from, to) => from === i || to === i);
        later(share * ttlMs, () => void notes.away.delete(name));
        return cutOff(trouble, around, share * ttlMs);
      }
      if (how === 1) void world.stop(i);
      else world.crash(i);
      later(share * ttlMs, () => {
        notes.away.delete(name);
        if (world.host(i).state === 'down') noteWhatIsMissed(world, i, sinceMs);
        restart(trouble, i);
      });
      return true;
    }),
  },
} as const satisfies Readonly<Record<string, Fault>>;
