/**
 * Everything that may go wrong in a simulated world: each fault with its name, what it is, and how it strikes. A
 * story draws from this table, `--faults` chooses from it, and coverage is counted by it: a fault that no seed of a
 * thousand ever strikes is a hole in the simulator.
 *
 * A fault says whether it struck: one that finds nothing to strike (every daemon is down already) counts as nothing.
 */
import { randomBelow, randomFloat } from '../base/random.ts';
import { RESERVE_BYTES_MAX } from '../ports/room.ts';
import { AMPLE } from './disk.ts';
import { AWAY_FAULTS } from './faults-away.ts';
import { HOST_FAULTS } from './faults-host.ts';
import { MESH_FAULTS } from './faults-mesh.ts';
import { between } from './options.ts';
import { isUnderstood } from './speech.ts';
import {
  askInto,
  bothWays,
  crash,
  crashInSync,
  cutOff,
  directionsWhere,
  type Fault,
  pairOf,
  pauseMs,
  restart,
  silenceMs,
  type Trouble,
  withOne,
} from './trouble.ts';
import type { World } from './world.ts';

/** A disk that takes 30 s has failed; a stall is longer than any timeout of a call, or shorter. */
const STALL_MS_MIN = 300;
const STALL_MS_MAX = 29_000;
const CLOCK_JUMP_MS_MAX = 2 * 3_600_000;
/** Nothing is taken; only what settles; all but creations. */
const ROOMS = [0, RESERVE_BYTES_MAX / 4, (RESERVE_BYTES_MAX * 3) / 4];
const SOON_TASKS = 3;
const SOON_MS = 200;
const LOOKS_MS = [800, 2_000, 5_000];
const SLOW_MS_MAX = 1_500;
const LOSSY_MAX = 0.5;
const FLAPS_MAX = 6;
const AMBUSH_MS_MAX = 5;
const BACKUP_AGE_MS_MAX = 15_000;

function breakLink(trouble: Trouble, manner: 'reset' | 'half'): boolean {
  const pair = pairOf(trouble);
  if (pair === undefined) return false;
  trouble.world.wires.breakLink(pair, manner);
  return true;
}

function flap(trouble: Trouble, i: number, times: number): void {
  const { world, later, random } = trouble;
  world.wires.block(directionsWhere(trouble, (from, to) => from === i || to === i));
  later(between(random, 200, 3_000), () => {
    world.heal();
    if (times > 1) later(between(random, 200, 3_000), () => flap(trouble, i, times - 1));
  });
}

export const FAULTS = {
  crash: {
    what: 'kill -9 of a daemon at any moment; it comes back with its data',
    strike: withOne(crash),
  },
  ambush: {
    what: 'kill -9 a few milliseconds after a daemon showed a change of a task',
    strike: (trouble) => {
      const { world, random } = trouble;
      const waitMs = randomFloat(random) * AMBUSH_MS_MAX;
      const onFinal = randomBelow(random, 2) === 0;
      world.onTold = ({ host, final }) => {
        if (onFinal && final === undefined) return;
        world.onTold = undefined;
        world.clock.after(waitMs, () => {
          const i = world.hosts.findIndex(({ name }) => name === host);
          if (world.hosts[i]?.state === 'up' && !world.isOver) crash(trouble, i);
        });
      };
      return true;
    },
  },
  crash_in_write: {
    what: 'kill -9 while a write is on its way to the disk',
    strike: withOne((trouble, i) => crashInSync(trouble, i, () => undefined)),
  },
  restart_old_data: {
    what: 'kill -9, and a start with an older copy of store/, taken at some moment of the story',
    strike: withOne((trouble, i) => {
      const { world, random, later } = trouble;
      const host = world.host(i);
      const image = host.disk.snapshot();
      later(between(random, 100, BACKUP_AGE_MS_MAX), () => {
        if (world.isOver || host.state !== 'up') return;
        world.crash(i);
        host.putBack(image);
        later(pauseMs(trouble), () => restart(trouble, i));
      });
      return true;
    }),
  },
  restart_no_data: {
    what: 'kill -9, and a start with an empty store/; identity/ is kept',
    strike: withOne((trouble, i) => {
      trouble.world.crash(i);
      trouble.world.host(i).putBack([]);
      trouble.later(pauseMs(trouble), () => restart(trouble, i));
      return true;
    }),
  },
  bit_flip: {
    what: 'one bit of one value on a disk turns',
    strike: withOne((trouble, i) => trouble.world.host(i).flipBit(trouble.random)),
  },
  stop: {
    what: 'SIGTERM, and a later start',
    strike: withOne((trouble, i) => {
      void trouble.world.stop(i);
      trouble.later(500 + pauseMs(trouble), () => restart(trouble, i));
      return true;
    }),
  },
  freeze: {
    what: 'SIGSTOP of a daemon, or a blocked event loop; then it goes on',
    strike: withOne((trouble, i) => {
      const { world, later } = trouble;
      world.host(i).freeze();
      askInto(trouble);
      later(silenceMs(trouble) ?? pauseMs(trouble), () => world.host(i).thaw());
      return true;
    }),
  },
  partition_one: {
    what: 'one host is out of reach of all others',
    strike: (trouble) => {
      const i = randomBelow(trouble.random, trouble.world.hosts.length);
      return cutOff(
        trouble,
        directionsWhere(trouble, (from, to) => from === i || to === i),
      );
    },
  },
  partition_halves: {
    what: 'two sides, drawn for each host',
    strike: (trouble) => {
      const side = trouble.world.hosts.map(() => randomBelow(trouble.random, 2));
      return cutOff(
        trouble,
        directionsWhere(trouble, (from, to) => side[from] !== side[to]),
      );
    },
  },
  partition_ring: {
    what: 'each host reaches only its neighbours in a ring: every one sees a majority, no two the same',
    strike: (trouble) => {
      const count = trouble.world.hosts.length;
      const isNear = (a: number, b: number) => [1, count - 1].includes(Math.abs(a - b));
      return cutOff(
        trouble,
        directionsWhere(trouble, (from, to) => !isNear(from, to)),
      );
    },
  },
  partition_bridge: {
    what: 'two sides that only one host can both reach',
    strike: (trouble) => {
      const count = trouble.world.hosts.length;
      const bridge = randomBelow(trouble.random, count);
      const isLeft = (i: number) => (i + count - bridge) % count <= (count - 1) / 2;
      return cutOff(
        trouble,
        directionsWhere(
          trouble,
          (from, to) => from !== bridge && to !== bridge && isLeft(from) !== isLeft(to),
        ),
      );
    },
  },
  partition_one_way: {
    what: 'what one host sends reaches nobody, while it hears all',
    strike: (trouble) => {
      const i = randomBelow(trouble.random, trouble.world.hosts.length);
      return cutOff(
        trouble,
        directionsWhere(trouble, (from) => from === i),
      );
    },
  },
  partition_pair: {
    what: 'two hosts cannot reach one another; all others reach both',
    strike: (trouble) => {
      const pair = pairOf(trouble);
      return pair !== undefined && cutOff(trouble, bothWays(...pair));
    },
  },
  flapping: {
    what: 'one host comes and goes, several times',
    strike: (trouble) => {
      const { random, world } = trouble;
      flap(trouble, randomBelow(random, world.hosts.length), between(random, 2, FLAPS_MAX));
      return true;
    },
  },
  link_reset: {
    what: 'the connections between two hosts are reset',
    strike: (trouble) => breakLink(trouble, 'reset'),
  },
  half_open: {
    what: 'one end of a connection is gone, and the other does not hear of it before it sends',
    strike: (trouble) => breakLink(trouble, 'half'),
  },
  slow_link: {
    what: 'what one host sends to another takes up to 1.5 s longer',
    strike: (trouble) => {
      const pair = pairOf(trouble);
      if (pair === undefined) return false;
      const { world, random, later } = trouble;
      world.wires.slow(pair, between(random, 50, SLOW_MS_MAX));
      later(pauseMs(trouble) * 2, () => world.wires.slow(pair, 0));
      return true;
    },
  },
  lossy_gossip: {
    what: 'up to half of all gossip is lost',
    strike: ({ world, random, later }) => {
      world.wires.lossy({ lost: LOSSY_MAX * randomFloat(random) });
      later(between(random, 1_000, 20_000), () => {
        world.wires.lossy({ lost: 0 });
      });
      return true;
    },
  },
  doubled_gossip: {
    what: 'up to half of all gossip comes twice, in any order',
    strike: ({ world, random, later }) => {
      world.wires.lossy({ doubled: LOSSY_MAX * randomFloat(random) });
      later(between(random, 1_000, 20_000), () => {
        world.wires.lossy({ doubled: 0 });
      });
      return true;
    },
  },
  clock_jump: {
    what: 'the wall clock of a host is set, up to two hours back or forth',
    strike: withOne(({ world, random }, i) => {
      const offsetMs = Math.round((2 * randomFloat(random) - 1) * CLOCK_JUMP_MS_MAX);
      world.host(i).setClock({ wallOffsetMs: offsetMs });
      return true;
    }),
  },
  disk_full: {
    what: 'a disk has no room for a while, or so little that new tasks, or new attempts too, are refused',
    strike: withOne((trouble, i) => {
      const { disk } = trouble.world.host(i);
      const room = randomBelow(trouble.random, ROOMS.length);
      // What is due by then waits, and somebody wants to know why.
      for (let n = 0; n < SOON_TASKS; n++) trouble.provoke('soon', i);
      trouble.later(SOON_MS, () => {
        disk.space = { ...AMPLE, freeBytes: ROOMS[room] ?? 0 };
      });
      for (const delayMs of LOOKS_MS) trouble.later(delayMs, () => trouble.ask('list_waiting', i));
      trouble.later(SOON_MS + pauseMs(trouble), () => {
        disk.space = AMPLE;
      });
      return true;
    }),
  },
  disk_failure: {
    what: 'a sync fails with EIO: the daemon exits, and is started again',
    strike: withOne((trouble, i) => {
      const host = trouble.world.host(i);
      host.disk.failNextSync = true;
      const lookAfter = (): void => {
        // It may write nothing for a long time, and ends only then. One that is down already writes nothing at all.
        if (host.disk.failNextSync && host.state !== 'down') trouble.later(1_000, lookAfter);
        else trouble.later(1_000, () => restart(trouble, i));
      };
      trouble.later(pauseMs(trouble), lookAfter);
      return true;
    }),
  },
  disk_stall: {
    what: 'every sync of a disk takes 0.3 to 29 s longer for a while',
    strike: withOne((trouble, i) => {
      const { world, random, later } = trouble;
      const { disk } = world.host(i);
      disk.stallMs = Math.floor(
        STALL_MS_MIN * (STALL_MS_MAX / STALL_MS_MIN) ** randomFloat(random),
      );
      later(pauseMs(trouble), () => {
        disk.stallMs = 0;
      });
      return true;
    }),
  },
  ...HOST_FAULTS,
  ...MESH_FAULTS,
  ...AWAY_FAULTS,
} as const satisfies Readonly<Record<string, Fault>>;

export type FaultName = keyof typeof FAULTS;
export const FAULT_NAMES = Object.keys(FAULTS) as FaultName[];

/** Everything that is still wrong ends: nothing is blocked, slow, full or frozen any more. */
export function endFaults(world: World): void {
  world.onTold = undefined;
  world.heal();
  world.wires.mend();
  for (const host of world.hosts) {
    if (!isUnderstood(host.speech)) {
      // Rolled back: nothing else brings it in again.
      host.speech = undefined;
      if (host.state !== 'down') host.crash();
    }
    host.thaw();
    host.resume();
    host.setClock({ wallOffsetMs: 0, rate: 1 });
    host.spool.isBroken = false;
    Object.assign(host.disk, {
      full: false,
      space: AMPLE,
      failNextSync: false,
      stallMs: 0,
      onSync: undefined,
    });
  }
}
