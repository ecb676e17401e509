/** One system, deployed, tuned and measured phase by phase: servers, worker programs and the submitting program. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { COVEY_NODE } from '../../src/testnet/paths.ts';
import type { Setting } from '../common/bench.ts';
import { firstLine, type Launched, parseJson } from '../common/launch.ts';
import type { Deployment, Tuning } from './deploy.ts';
import type { PhaseFigures, PhaseOrder } from './load.ts';
import type { Phase, Where } from './system.ts';

const LOAD = fileURLToPath(new URL('./load.ts', import.meta.url));
const WORKER = fileURLToPath(new URL('./worker.ts', import.meta.url));
const TUNE_MS = 2_000;

/** What is done when the window of a phase opens and when it closes. */
export interface Around {
  readonly open: () => void;
  readonly close: () => void;
}

export const NOTHING: Around = { open: () => undefined, close: () => undefined };

class Programs {
  readonly #setting: Setting;

  constructor(setting: Setting) {
    this.#setting = setting;
  }

  async start(program: string, where: Where): Promise<Launched> {
    const launched = await this.#setting.owned.launch(
      [COVEY_NODE, program, JSON.stringify(where)],
      { logFile: join(this.#setting.dir, 'programs.log') },
    );
    await firstLine(launched, where.system, (line) =>
      parseJson(line)?.event === 'ready' ? true : undefined,
    );
    return launched;
  }

  workers(deployment: Deployment, tuning: Tuning): Promise<Launched[]> {
    return Promise.all(
      Array.from({ length: tuning.workers }, (_, index) =>
        this.start(WORKER, deployment.worker(index, tuning)),
      ),
    );
  }
}

async function endAll(programs: readonly Launched[]): Promise<void> {
  for (const { child } of programs) child.stdin?.end();
  await Promise.all(programs.map(({ exited }) => exited));
}

/** One phase in the submitting program. */
async function perform(client: Launched, order: PhaseOrder, around: Around): Promise<PhaseFigures> {
  const { promise, resolve, reject } = Promise.withResolvers<PhaseFigures>();
  client.onLine((line) => {
    const said = parseJson(line);
    if (said?.event === 'open') around.open();
    if (said?.event === 'close') around.close();
    if (said?.event === 'figures') resolve(said.figures as PhaseFigures);
  });
  void client.exited.then(() => reject(new Error('the submitting program has ended')));
  client.tell(order);
  const figures = await promise;
  client.forgetLines();
  return figures;
}

/** Worker programs and the submitting program of one deployment, ready to be measured. */
export class Crew {
  readonly settings: Readonly<Record<string, unknown>>;
  readonly #client: Launched;
  readonly #workers: readonly Launched[];
  readonly #pids: Readonly<Record<string, number>>;

  private constructor(
    deployment: Deployment,
    client: Launched,
    workers: readonly Launched[],
    settings: Readonly<Record<string, unknown>>,
  ) {
    this.#client = client;
    this.#workers = workers;
    this.settings = { ...deployment.settings, ...settings };
    const named = workers.map(({ pid }, i): [string, number] => [`worker-${i + 1}`, pid]);
    this.#pids = { ...deployment.pids, ...Object.fromEntries(named) };
  }

  /** `tuneIn`: the phase in which the tunings are compared, where there are several. */
  static async of(deployment: Deployment, setting: Setting, tuneIn: Phase): Promise<Crew> {
    const programs = new Programs(setting);
    const client = await programs.start(LOAD, deployment.client);
    const { tuning, tried } = await tuned(deployment, client, programs, tuneIn);
    const workers = await programs.workers(deployment, tuning);
    return new Crew(deployment, client, workers, { ...tuning, tried });
  }

  measure(phase: Phase, around: Around = NOTHING): Promise<PhaseFigures> {
    return perform(this.#client, { phase, pids: this.#pids }, around);
  }

  end(): Promise<void> {
    return endAll([...this.#workers, this.#client]);
  }
}

/** Of several tunings the one with the most tasks done. */
async function tuned(
  deployment: Deployment,
  client: Launched,
  programs: Programs,
  phase: Phase,
): Promise<{ tuning: Tuning; tried: readonly object[] }> {
  const [only, ...more] = deployment.tunings;
  if (only === undefined) throw new Error('no tuning');
  if (more.length === 0) return { tuning: only, tried: [] };
  const tried: { tuning: Tuning; done_per_s: number }[] = [];
  for (const tuning of deployment.tunings) {
    const workers = await programs.workers(deployment, tuning);
    const ms = Math.min(TUNE_MS, phase.ms);
    const order = { phase: { ...phase, name: 'tuning', ms, warmMs: ms / 2 }, pids: {} };
    const { done_per_s } = await perform(client, order, NOTHING);
    tried.push({ tuning, done_per_s });
    await endAll(workers);
  }
  tried.sort((a, b) => b.done_per_s - a.done_per_s);
  return { tuning: tried[0]?.tuning ?? only, tried };
}
