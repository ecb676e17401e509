/** Three daemons, every task on each of them: what holding finished and waiting tasks costs. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { SubmitInput } from '../../src/api/task.ts';
import { type Connection, openConnection } from '../../src/client/index.ts';
import type { TestNetwork } from '../../src/testnet/testnet.ts';
import type { Setting } from '../common/bench.ts';
import { Inspector } from '../common/inspector.ts';
import { inspectorOf, meshUp } from '../common/mesh.ts';
import { residentMiB } from '../common/proc.ts';
import { rounded, type Spread, spreadOf } from '../common/statistics.ts';
import { coveyOn } from '../throughput/deploy.ts';
import { Crew } from '../throughput/measure.ts';
import { NAME, PAYLOAD, type Phase } from '../throughput/system.ts';

const PEERS = 3;
const BULK = 500;
/** Bulks on their way at once. */
const AT_ONCE = 4;
const LISTINGS = 20;
/** Nobody works on it. */
const UNSERVED = 'unserved';
const FIRST_SUBMIT_MS_MAX = 120_000;

const run = promisify(execFile);

export interface HeldOptions {
  readonly finished: number;
  readonly waiting: number;
  readonly phase: Phase;
}

interface Memory {
  readonly resident_mib: number;
  readonly live_bytes: number;
}

export interface HeldFigures {
  readonly peers: number;
  readonly done_per_s_empty: number;
  readonly done_per_s_held: number;
  readonly memory: Readonly<Record<'empty' | 'finished' | 'waiting', Memory>>;
  /** After a collection, in the first daemon, which holds a copy of every task. */
  readonly bytes_per_finished: number | null;
  readonly bytes_per_waiting: number | null;
  readonly disk_bytes_per_finished: number | null;
  readonly list_100_ms: Spread;
  readonly list_waiting_100_ms: Spread;
  /** Of the first daemon, killed and started again while the others live: until it is ready, and has taken a task. */
  readonly ready_s: number;
  readonly first_submit_s: number;
  readonly all_first_submit_s: number;
}

export async function heldTasks(options: HeldOptions, setting: Setting): Promise<HeldFigures> {
  const network = await meshUp({
    peers: PEERS,
    dir: join(setting.dir, 'h'),
    inspected: true,
    config: { retention_count: 10_000_000 },
  });
  try {
    return await new Holding(network, options, setting).measure();
  } finally {
    await network.down({ graceMs: 0 });
  }
}

class Holding {
  readonly #network: TestNetwork;
  readonly #options: HeldOptions;
  readonly #setting: Setting;

  constructor(network: TestNetwork, options: HeldOptions, setting: Setting) {
    this.#network = network;
    this.#options = options;
    this.#setting = setting;
  }

  async measure(): Promise<HeldFigures> {
    const { finished, waiting } = this.#options;
    // A first load, so that what any daemon allocates once is not counted as of the tasks.
    const doneEmpty = await this.#rate();
    const empty = await this.#memory();
    const diskBefore = await this.#diskBytes();
    await this.#fill(finished, { type: NAME, payload: PAYLOAD }, 'completed');
    const afterFinished = await this.#memory();
    const diskAfter = await this.#diskBytes();
    await this.#fill(waiting, { type: UNSERVED, payload: PAYLOAD }, 'waiting');
    const afterWaiting = await this.#memory();
    const per = (bytes: number, count: number): number | null =>
      count === 0 ? null : rounded(bytes / count, 1);
    const lists = await this.#listings();
    const doneHeld = await this.#rate();
    return {
      peers: PEERS,
      done_per_s_empty: doneEmpty,
      done_per_s_held: doneHeld,
      memory: { empty, finished: afterFinished, waiting: afterWaiting },
      bytes_per_finished: per(afterFinished.live_bytes - empty.live_bytes, finished),
      bytes_per_waiting: per(afterWaiting.live_bytes - afterFinished.live_bytes, waiting),
      disk_bytes_per_finished: per(diskAfter - diskBefore, finished),
      ...lists,
      ...(await this.#startUp()),
    };
  }

  async #rate(): Promise<number> {
    const crew = await Crew.of(coveyOn(this.#network), this.#setting, this.#options.phase);
    const { done_per_s } = await crew.measure(this.#options.phase);
    await crew.end();
    return done_per_s;
  }

  /** In bulk, and if they are to be done, until they are. */
  async #fill(count: number, task: SubmitInput, until: 'completed' | 'waiting'): Promise<void> {
    const beganMs = performance.now();
    const crew =
      until === 'completed'
        ? await Crew.of(coveyOn(this.#network), this.#setting, this.#options.phase)
        : undefined;
    const connection = await connectionTo(this.#network.socket(1));
    let left = count;
    const slot = async (): Promise<void> => {
      while (left > 0) {
        const size = Math.min(BULK, left);
        left -= size;
        await submitBlock(connection, size, task, until === 'completed');
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, slot));
    connection.close();
    await crew?.end();
    const seconds = rounded((performance.now() - beganMs) / 1_000, 1);
    this.#setting.say(`${count} tasks ${until} after ${seconds} s`);
  }

  async #memory(): Promise<Memory> {
    const inspector = await Inspector.open(await inspectorOf(this.#network, 1));
    const { heap, external } = await inspector.liveBytes();
    inspector.close();
    const resident = await residentMiB(this.#network.pid(1));
    return { resident_mib: rounded(resident, 1), live_bytes: heap + external };
  }

  async #diskBytes(): Promise<number> {
    const { stdout } = await run('du', ['-s', '-B1', this.#network.dataDir(1)]);
    return Number(stdout.split('\t')[0]);
  }

  async #listings(): Promise<Pick<HeldFigures, 'list_100_ms' | 'list_waiting_100_ms'>> {
    const connection = await connectionTo(this.#network.socket(1));
    const times = async (filter: { readonly state?: 'waiting' }): Promise<Spread> => {
      const tookMs: number[] = [];
      for (let i = 0; i < LISTINGS; i += 1) {
        const beganMs = performance.now();
        const answer = await connection.call('task.list', { ...filter, limit: 100 });
        if (!answer.ok) throw new Error(`task.list: ${answer.error.message}`);
        tookMs.push(performance.now() - beganMs);
      }
      return spreadOf(tookMs);
    };
    const figures = {
      list_100_ms: await times({}),
      list_waiting_100_ms: await times({ state: 'waiting' }),
    };
    connection.close();
    return figures;
  }

  async #startUp() {
    const beganMs = performance.now();
    await this.#network.restart(1, { graceful: false });
    const readyMs = performance.now() - beganMs;
    const firstMs = await this.#firstSubmitMs(beganMs);
    await this.#network.waitForAllAlive();
    await Promise.all(this.#network.indices.map((index) => this.#network.kill(index)));
    const allBeganMs = performance.now();
    const restarts = this.#network.indices.map((index) => this.#network.restart(index));
    const allFirstMs = await this.#firstSubmitMs(allBeganMs);
    await Promise.all(restarts);
    return {
      ready_s: rounded(readyMs / 1_000, 3),
      first_submit_s: rounded(firstMs / 1_000, 3),
      all_first_submit_s: rounded(allFirstMs / 1_000, 3),
    };
  }

  #firstSubmitMs(beganMs: number): Promise<number> {
    return this.#network.waitFor(
      'a task is accepted',
      async () => {
        const receipt = await this.#network.call(1, 'task.submit', { type: UNSERVED });
        return receipt.ok ? performance.now() - beganMs : undefined;
      },
      FIRST_SUBMIT_MS_MAX,
    );
  }
}

async function connectionTo(socket: string): Promise<Connection> {
  const opened = await openConnection(socket, { clientName: 'bench' });
  if (!opened.ok) throw new Error(opened.error.message);
  return opened.value;
}

async function submitBlock(
  connection: Connection,
  size: number,
  task: SubmitInput,
  untilDone: boolean,
): Promise<void> {
  const tasks = Array.from({ length: size }, () => task);
  const answer = await connection.call('task.submit_bulk', { tasks });
  if (!answer.ok) throw new Error(`task.submit_bulk: ${answer.error.message}`);
  let pending = answer.value.receipts.map((receipt) => {
    if ('error' in receipt) throw new Error(`a task was refused: ${receipt.error.message}`);
    return receipt.id;
  });
  while (untilDone && pending.length > 0) {
    const waited = await connection.call('task.wait', { ids: pending, timeout_ms: 60_000 });
    if (!waited.ok) throw new Error(`task.wait: ${waited.error.message}`);
    const { done } = waited.value;
    const ended = new Set(done.map(({ id }) => id));
    pending = pending.filter((id) => !ended.has(id));
  }
}
