/** Faults of one host: its clock, its suspension, its commands, what a torn write leaves on its disk. */
import { type Random, randomFloat } from '../base/random.ts';
import {
  crash,
  crashInSync,
  cutOff,
  directionsWhere,
  type Fault,
  pauseMs,
  withOne,
} from './trouble.ts';

/** A quartz is off by a ten-thousandth; the clock of a virtual machine under load, by much more. */
const DRIFT_MAX = 0.2;

/** After the output of a host became unreadable somebody wants to see it. */
const LOOKS_MS = [100, 300, 1_000, 1_500, 3_000];
/** One of them runs there, with some luck. */
const HANGING = 4;

/** Local milliseconds per millisecond: from a little off to far off, fast or slow. */
const drawRate = (random: Random): number => {
  const off = DRIFT_MAX * 10 ** (-3 * randomFloat(random));
  return randomFloat(random) < 0.5 ? 1 + off : 1 / (1 + off);
};

export const HOST_FAULTS = {
  torn_write: {
    what: 'kill -9 while a write is on its way, of which the disk keeps a part: a value is torn',
    strike: withOne((trouble, i) =>
      crashInSync(trouble, i, () => trouble.world.host(i).tearWrite(trouble.random)),
    ),
  },
  clock_drift: {
    what: 'the clock of a host runs up to a fifth too fast or too slow for a while',
    strike: withOne(({ world, random, later }, i) => {
      world.host(i).setClock({ rate: drawRate(random) });
      later(5 * pauseMs({ random }), () => world.host(i).setClock({ rate: 1 }));
      return true;
    }),
  },
  suspend: {
    what: 'a host sleeps: daemon and commands stand still, nobody reaches it, then all goes on',
    strike: withOne((trouble, i) => {
      const { world, later } = trouble;
      world.host(i).suspend();
      cutOff(
        trouble,
        directionsWhere(trouble, (from, to) => from === i || to === i),
      );
      later(pauseMs(trouble), () => world.host(i).resume());
      return true;
    }),
  },
  child_hangs: {
    what: 'a command hangs, deaf to TERM: nothing but KILL at its run timeout ends it',
    strike: ({ submit }) => submit('hangs'),
  },
  child_dies: {
    what: 'a command dies of a signal of its own',
    strike: ({ submit }) => submit('dies'),
  },
  child_floods: {
    what: 'a command writes more than a completion may hold',
    strike: ({ submit }) => submit('floods'),
  },
  child_outlives: {
    what: 'kill -9 of a daemon whose guardian takes up to a second to end its commands',
    strike: withOne((trouble, i) => {
      const { machine } = trouble.world.host(i);
      if (machine.running().length === 0) return false;
      machine.isGuardianLate = true;
      return crash(trouble, i);
    }),
  },
  spool_broken: {
    what: 'the output that a host keeps for `logs` cannot be read for a while',
    strike: withOne((trouble, i) => {
      const { spool } = trouble.world.host(i);
      spool.isBroken = true;
      trouble.submit('hangs');
      for (let n = 1; n < HANGING; n++) trouble.provoke('hangs');
      for (const delayMs of LOOKS_MS) trouble.later(delayMs, () => trouble.ask('logs_running'));
      trouble.later(pauseMs(trouble), () => {
        spool.isBroken = false;
      });
      return true;
    }),
  },
} as const satisfies Readonly<Record<string, Fault>>;
