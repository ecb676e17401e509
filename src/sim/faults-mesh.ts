/** Faults of the mesh: who belongs to it, whose store is whose, who speaks which version. */
import { randomBelow } from '../base/random.ts';
import { type Fact, homeOf, withFact } from '../records/record.ts';
import { intrude } from './intruder.ts';
import { HOSTS_MAX, Newcomer } from './newcomer.ts';
import { between, pick } from './options.ts';
import { drawSpeech, isUnderstood } from './speech.ts';
import { type Fault, pairOf, pauseMs, restart, someOf, type Trouble, withOne } from './trouble.ts';

const NEWCOMERS_MAX = 3;
const STORM_MS_MAX = 2_000;
/** Between an upgrade and the next step, in either direction. */
const VERSION_MS_MAX = 15_000;

/** As a package manager does: stops the daemon, or kills it, and starts the other version. */
function changeVersion(trouble: Trouble, i: number): void {
  const { world, random } = trouble;
  const host = world.host(i);
  host.speech = drawSpeech(random);
  if (host.state === 'up' && randomBelow(random, 2) === 0) void world.stop(i);
  else if (host.state !== 'down') world.crash(i);
  trouble.later(between(random, 50, 3_000), () => restart(trouble, i));
  for (let n = 0; n < LATER_FACTS; n++)
    trouble.later(between(random, 3_500, VERSION_MS_MAX), () => writeLater(trouble, i));
}

/** Facts of a type, and with members, that the version of now does not know. */
const LATER_FACTS = 4;
const WRITE_MS_MAX = 1_000;

/** As a daemon of a later version does, of a task in whose home it is; the others carry it. */
function writeLater({ world, random, later }: Trouble, i: number): void {
  const host = world.host(i);
  const { peer, speech } = host;
  if (peer === undefined || speech === undefined || !isUnderstood(speech)) return;
  const { storeId } = peer.identity;
  const held = host.records().filter((record) => homeOf(record).includes(storeId));
  const id = pick(random, held)?.id;
  if (id === undefined) return;
  // The story does not end before that is written.
  later(WRITE_MS_MAX, () => undefined);
  const at = world.clock.wallMs();
  const said = {
    at,
    x_later: { said: 'in a later version', bytes: random.bytes(9), list: [1, null] },
  };
  const value =
    randomBelow(random, 2) === 0 ? { t: 'later', ...said } : { t: 'home', store: storeId, ...said };
  void peer.replica
    .change<Fact | undefined>(id, ({ current, fact }) => {
      if (current === undefined) return { value: undefined };
      const written = fact(value);
      return { value: written, next: withFact(current, written) };
    })
    .then((done) => {
      if (done.ok && done.value !== undefined) world.steps.notes.wroteLater(id, done.value);
    });
}

export const MESH_FAULTS = {
  join_storm: {
    what: 'up to three new hosts join at once, some with a wrong address or token first',
    strike: (trouble) => {
      const { world, random } = trouble;
      const room = HOSTS_MAX - world.hosts.length;
      const count = Math.min(room, between(random, 1, NEWCOMERS_MAX));
      for (let n = 0; n < count; n++) {
        const newcomer = new Newcomer(world, random);
        // Once the story is over nobody new comes: it would begin to join when all else is done.
        world.clock.after(randomBelow(random, STORM_MS_MAX), () => {
          if (!world.isOver) void newcomer.run();
        });
      }
      return count > 0;
    },
  },
  leave_storm: {
    what: 'up to half of the peers leave the mesh at about the same time, and come back later',
    strike: (trouble) => {
      const { world, random, later } = trouble;
      const leaving = someOf(trouble, Math.floor(world.hosts.length / 2));
      for (const i of leaving) {
        later(randomBelow(random, STORM_MS_MAX), () => void world.host(i).leave());
        later(STORM_MS_MAX + 500 + pauseMs(trouble), () => restart(trouble, i));
      }
      return leaving.length > 0;
    },
  },
  intruder: {
    what: 'a stranger says hello to a member, and again after another member has revoked it',
    strike: withOne((trouble, i) => {
      const by = pairOf(trouble)?.[1] ?? i;
      if (!trouble.world.isMember(i)) return false;
      void intrude(trouble.world, trouble.random, i, by);
      return true;
    }),
  },
  cloned_store: {
    what: 'kill -9, and a start with a copy of the store/ of another host that goes on with its own',
    strike: (trouble) => {
      const { world, later } = trouble;
      const pair = pairOf(trouble);
      if (pair === undefined) return false;
      const [i, from] = pair;
      if (world.host(i).state !== 'up' || world.host(from).state !== 'up') return false;
      world.crash(i);
      world.host(i).putBack(world.host(from).disk.snapshot());
      later(pauseMs(trouble), () => restart(trouble, i));
      return true;
    },
  },
  other_version: {
    what: 'a daemon is upgraded to a later version, and another time perhaps rolled back',
    strike: withOne((trouble, i) => {
      const { random, later } = trouble;
      changeVersion(trouble, i);
      const times = pick(random, [0, 1, 1, 2]) ?? 1;
      for (let n = 1; n <= times; n++)
        later(n * (4_000 + randomBelow(random, VERSION_MS_MAX)), () => {
          if (!trouble.world.isOver) changeVersion(trouble, i);
        });
      return true;
    }),
  },
} as const satisfies Readonly<Record<string, Fault>>;
