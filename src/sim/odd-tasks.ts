/**
 * Tasks that do not just exit: their commands hang, die or flood their output, nobody can run them, or their time is up
 * before. Each with the ends that it may come to, so that a checker can tell a wrong one.
 */
import type { SubmitInput } from '../api/task.ts';
import { type Random, randomBelow } from '../base/random.ts';
import { MINUTE_MS } from '../base/units.ts';
import { argvOf, NOWHERE } from './commands.ts';
import type { Submitted } from './evidence.ts';
import { between } from './options.ts';

export type About = Pick<Submitted, 'kind' | 'attempts' | 'failures' | 'key' | 'ends'>;

export interface OddTask {
  readonly input: SubmitInput;
  readonly about: About;
}

/** Not even the end of the story ends a command that hangs. */
const FOR_EVER_MS = 30 * 86_400_000;
/** So many that most are free. */
const KEYS = 8;
const CALM = { failures: 0, isDeaf: false } as const;
/** A loss, or a client that cancels it, may always come first. */
const ALWAYS = ['failed(losses)', 'canceled'] as const;

const exec = (input: Partial<SubmitInput>, ends: readonly string[]): OddTask => ({
  input: { exec: { argv: argvOf({ durationMs: 200, ...CALM }), cwd: '/work' }, ...input },
  about: { kind: 'exec', attempts: input.attempts ?? 1, failures: 0, ends: [...ends, ...ALWAYS] },
});
const running = (
  what: Partial<Parameters<typeof argvOf>[0]>,
  input: Partial<SubmitInput>,
  ends: readonly string[],
): OddTask =>
  exec(
    { exec: { argv: argvOf({ durationMs: 200, ...CALM, ...what }), cwd: '/work' }, ...input },
    ends,
  );

export const ODD_TASKS = {
  /** It ignores TERM and never ends by itself: only its run timeout ends it. */
  hangs: (random) =>
    running(
      { durationMs: FOR_EVER_MS, fate: 'hangs' },
      { run_timeout_ms: between(random, 200, 4_000), attempts: between(random, 1, 2) },
      ['failed(timeout)'],
    ),
  dies: (random) =>
    running({ durationMs: randomBelow(random, 2_000), fate: 'dies' }, {}, ['failed(exit)']),
  /** More than a completion may hold. */
  floods: () => running({ fate: 'floods' }, {}, ['failed(error)']),
  hurried: (random) =>
    running({ durationMs: 10_000 }, { run_timeout_ms: between(random, 1, 2_000) }, [
      'failed(timeout)',
    ]),
  /** No worker takes its type. */
  nobody: (random) => ({
    input: { type: 'nobody', payload: 1, queue_timeout_ms: between(random, 300, 6_000) },
    about: {
      kind: 'worker',
      attempts: 1,
      failures: 0,
      ends: ['expired(queue_timeout)', ...ALWAYS],
    },
  }),
  /** Every peer refuses it: its directory is on no host. */
  nowhere: (random) =>
    exec(
      {
        exec: { argv: argvOf({ durationMs: 1, ...CALM }), cwd: NOWHERE },
        total_timeout_ms: between(random, 1_000, 6_000),
      },
      ['failed(timeout)'],
    ),
  /** Every peer places it, and cannot start it. */
  unstartable: (random) =>
    running({ fate: 'unstartable' }, { total_timeout_ms: between(random, 500, 6_000) }, [
      'failed(timeout)',
    ]),
  /** Time is up before it is due. */
  too_late: (random) =>
    exec({ delay_ms: 5_000, total_timeout_ms: between(random, 500, 4_000) }, ['failed(timeout)']),
  /** It fails, and fails again after a pause that is longer than it has. */
  backs_off: (random) =>
    running(
      { failures: 100 },
      {
        attempts: 3,
        backoff: { type: 'fixed', delay_ms: between(random, 1_000, 5_000) },
        total_timeout_ms: 6_000,
      },
      ['failed(exit)', 'failed(timeout)'],
    ),
  /** Due when the moment that it is meant for has come. */
  soon: () => exec({ delay_ms: 400 }, ['completed']),
  /** Where the key's home is silent its client waits for an answer in vain. */
  keyed: (random) => {
    const key = `silence ${randomBelow(random, KEYS)}`;
    const { input, about } = exec({ dedupe_key: key }, ['completed']);
    return { input, about: { ...about, key } };
  },
  every_copy: () => exec({ durability: 'all' }, ['completed']),
  quorum: () => exec({ durability: 'quorum' }, ['completed']),
} as const satisfies Readonly<Record<string, (random: Random) => OddTask>>;

export type Oddity = keyof typeof ODD_TASKS;
/** Those of clients; the others are for the moments of a fault. */
export const ODDITIES = (Object.keys(ODD_TASKS) as Oddity[]).filter(
  (what) => what !== 'soon' && what !== 'keyed',
);

/** Refusals are so far apart, in the end, that PLACED_MAX of them take so long. */
export const REJECTED_MS = 50 * MINUTE_MS;

/** Placed again and again, and refused by every peer, until nobody tries any more. */
export const rejectedTask = (): OddTask =>
  running({ fate: 'unstartable' }, {}, ['failed(rejected)']);
