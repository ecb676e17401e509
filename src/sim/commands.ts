/** What simulated commands do: a function of their words, `job DURATION_MS FAILURES [FATE]`, and of the attempt. */
import { OUTPUT_BYTES_MAX } from '../api/limits.ts';
import { utf8 } from '../base/hash.ts';
import type { SpawnRequest } from '../ports/processes.ts';
import type { SimCommand } from './processes.ts';

/** A directory that is on no host. */
export const NOWHERE = '/nowhere';

export interface Job {
  readonly durationMs: number;
  /** So many attempts exit with 3, the next with 0. */
  readonly failures: number;
  /** Only KILL ends it. */
  readonly isDeaf: boolean;
  /**
   * dies: of a signal, when its time is up. floods: writes more than a completion may hold, at once. unstartable: no host
   * has the memory or the descriptors for it now. hangs: says a word, and is deaf.
   */
  readonly fate?: 'dies' | 'floods' | 'unstartable' | 'hangs';
}

const FLOOD = new Uint8Array(OUTPUT_BYTES_MAX + 1).fill(0x2e);

export const argvOf = ({ durationMs, failures, isDeaf, fate }: Job): string[] => {
  const words = ['job', String(durationMs), String(failures)];
  return isDeaf ? [...words, 'deaf'] : fate === undefined ? words : [...words, fate];
};

export function commandOf(request: SpawnRequest): SimCommand {
  const [, durationMs, failures, fate] = request.argv;
  const attempt = Number(request.env.COVEY_ATTEMPT);
  return {
    durationMs: Number(durationMs),
    exitCode: attempt <= Number(failures) ? 3 : 0,
    // The run names itself in its result, so that a checker can tell whose result was accepted.
    stdout: utf8(`${request.runId}\n`),
    ignoresTerm: fate === 'deaf' || fate === 'hangs',
    ...(fate === 'dies' ? { endsBy: 'SIGSEGV' } : {}),
    ...(fate === 'unstartable' ? { startError: 'spawn EAGAIN', isHostFault: true } : {}),
    ...(fate === 'hangs' ? { earlyStdout: utf8('begun\n') } : {}),
    ...(fate === 'floods' ? { earlyStdout: FLOOD } : {}),
  };
}
