/** What simulated commands do: a function of their words, `job DURATION_MS FAILURES [deaf]`, and of the attempt. */
import { utf8 } from '../base/hash.ts';
import type { SpawnRequest } from '../ports/processes.ts';
import type { SimCommand } from './processes.ts';

export interface Job {
  readonly durationMs: number;
  /** So many attempts exit with 3, the next with 0. */
  readonly failures: number;
  /** Only KILL ends it. */
  readonly isDeaf: boolean;
}

export const argvOf = ({ durationMs, failures, isDeaf }: Job): string[] => [
  'job',
  String(durationMs),
  String(failures),
  ...(isDeaf ? ['deaf'] : []),
];

export function commandOf(request: SpawnRequest): SimCommand {
  const [, durationMs, failures, deaf] = request.argv;
  const attempt = Number(request.env.COVEY_ATTEMPT);
  return {
    durationMs: Number(durationMs),
    exitCode: attempt <= Number(failures) ? 3 : 0,
    // The run names itself in its result, so that a checker can tell whose result was accepted.
    stdout: utf8(`${request.runId}\n`),
    ignoresTerm: deaf === 'deaf',
  };
}
