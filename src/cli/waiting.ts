/** Why a task waits, said on stderr while somebody sits in front of `covey run`: silence looks like a hang. */
import { isFinalState, type TaskState } from '../api/task.ts';
import { printable } from './bytes.ts';
import type { Cli } from './context.ts';

/** Between two looks; longer and longer, since most of them find a command that runs. */
const LOOK_MS_MAX = 10_000;
/** A reason that comes and goes must not fill a log. */
const LINES_MAX = 20;

const WAITS: readonly TaskState[] = ['waiting', 'delayed'];

export class WaitingNotice {
  readonly #cli: Cli;
  readonly #id: string;
  readonly #saysFullSlots: boolean;
  readonly #over = new AbortController();

  /** `saysFullSlots`: also that all slots are taken, which is no news to a script. */
  constructor(cli: Cli, id: string, saysFullSlots: boolean) {
    this.#cli = cli;
    this.#id = id;
    this.#saysFullSlots = saysFullSlots;
  }

  stop(): void {
    this.#over.abort();
  }

  async run(): Promise<void> {
    const { mesh, io } = this.#cli;
    let last: string | undefined;
    let delayMs = io.noticeMs;
    for (let lines = 0; lines < LINES_MAX; ) {
      await mesh.sleep(delayMs, this.#over.signal);
      if (this.#over.signal.aborted || mesh.closed) return;
      const why = await this.#reason();
      if (this.#over.signal.aborted || why === 'final') return;
      const isNews = why !== undefined && why !== last;
      last = why;
      delayMs = why === undefined || !isNews ? Math.min(2 * delayMs, LOOK_MS_MAX) : io.noticeMs;
      if (!isNews || (why === 'no_free_slot' && !this.#saysFullSlots)) continue;
      lines++;
      await this.#cli.say(`${this.#id} waits: ${printable(why)}; covey explain ${this.#id}`);
    }
  }

  /** Undefined: it does not wait, or nobody can be asked now, which the lost connection says itself. */
  async #reason(): Promise<string | undefined> {
    const answer = await this.#cli.call('task.get', { id: this.#id });
    if (!answer.ok) return undefined;
    const { state, reason } = answer.value;
    if (isFinalState(state)) return 'final';
    if (!WAITS.includes(state)) return undefined;
    return reason === undefined || reason === '' ? state : reason;
  }
}
