/** The command line of `npm run chaos`, and what is drawn from its seed. */
import { randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';
import { messageOf } from '../base/errors.ts';
import { type Random, randomBelow } from '../base/random.ts';
import { err, ok, type Result } from '../base/result.ts';
import { PEERS_MAX } from './state.ts';

export const FAULT_KINDS = [
  'kill',
  'term',
  'pause',
  'isolate',
  'halves',
  'disk',
  'wipe',
  'worker',
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

export const USAGE = `usage: npm run chaos -- [--minutes 10] [--peers 5] [--seed SEED] [--faults all|none|LIST] [--json] [--keep]
  --minutes M    how long faults strike; healing and the verdict come after it
  --peers N      daemons
  --seed SEED    of the draws of faults and tasks; default: a fresh one, which is printed
  --faults LIST  of ${FAULT_KINDS.join(', ')}
  --json         the verdict as one line of JSON on standard output
  --keep         keep the logs of the daemons also when all held
exit codes: 0 held, 10 safety, 11 liveness, 12 the run itself failed, 64 usage
`;

export const EXIT = { held: 0, safety: 10, liveness: 11, crash: 12, usage: 64 } as const;
const MINUTES_MAX = 24 * 60;

export interface ChaosOptions {
  readonly minutes: number;
  readonly peers: number;
  readonly seed: string;
  readonly faults: readonly FaultKind[];
  readonly json: boolean;
  readonly keep: boolean;
}

function faultsOf(text: string): Result<readonly FaultKind[], string> {
  if (text === 'all') return ok(FAULT_KINDS);
  if (text === 'none') return ok([]);
  const names = text.split(',').map((name) => name.trim());
  const unknown = names.find((name) => !FAULT_KINDS.some((kind) => kind === name));
  if (unknown !== undefined)
    return err(`no fault '${unknown}'; there are ${FAULT_KINDS.join(', ')}`);
  return ok(FAULT_KINDS.filter((kind) => names.includes(kind)));
}

export function parseOptions(argv: readonly string[]): Result<ChaosOptions | 'help', string> {
  try {
    const { values } = parseArgs({
      // npm hands a second `--` through.
      args: argv.filter((word) => word !== '--'),
      options: {
        minutes: { type: 'string', default: '10' },
        peers: { type: 'string', default: '5' },
        seed: { type: 'string' },
        faults: { type: 'string', default: 'all' },
        json: { type: 'boolean', default: false },
        keep: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    if (values.help) return ok('help');
    const minutes = Number(values.minutes);
    if (!(minutes > 0 && minutes <= MINUTES_MAX)) return err('--minutes needs a positive number');
    const peers = Number(values.peers);
    if (!Number.isInteger(peers) || peers < 2 || peers > PEERS_MAX)
      return err(`--peers needs a whole number from 2 to ${PEERS_MAX}`);
    const faults = faultsOf(values.faults);
    if (!faults.ok) return faults;
    const seed = values.seed ?? randomBytes(4).toString('hex');
    const { json, keep } = values;
    return ok({ minutes, peers, seed, faults: faults.value, json, keep });
  } catch (thrown) {
    return err(messageOf(thrown));
  }
}

export const pick = <T>(random: Random, items: readonly T[]): T | undefined =>
  items[randomBelow(random, items.length)];
export const between = (random: Random, min: number, max: number): number =>
  min + randomBelow(random, max - min + 1);
