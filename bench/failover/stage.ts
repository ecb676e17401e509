/** A mesh with a worker program beside each daemon, and tasks whose owner and runner are known. */
import { join } from 'node:path';
import type { SubmitInput } from '../../src/api/task.ts';
import { fingerprintOf, parseTaskId } from '../../src/base/task-id.ts';
import { ownerOrder } from '../../src/tasks/ownership.ts';
import type { TestNetwork } from '../../src/testnet/testnet.ts';
import type { Setting } from '../common/bench.ts';
import { meshUp } from '../common/mesh.ts';
import { Programs, type Start } from './programs.ts';

const IDS_AT_ONCE = 64;
/** A start that needs no takeover. */
const START_MS_MAX = 30_000;

export interface Running {
  readonly id: string;
  readonly owner: number;
  readonly runner: number;
}

/** The owner's rank follows from id and home alone: the first live one of it owns the task. */
export function ownerOf(id: string, stores: ReadonlyMap<number, string>): number | undefined {
  const home = (parseTaskId(id)?.fingerprints ?? []).flatMap((fingerprint) =>
    [...stores].filter(([, store]) => fingerprintOf(store) === fingerprint),
  );
  const [first] = ownerOrder(
    id,
    home.map(([, store]) => store),
  );
  return home.find(([, store]) => store === first)?.[0];
}

export class Stage {
  readonly network: TestNetwork;
  readonly programs: Programs;

  private constructor(network: TestNetwork, programs: Programs) {
    this.network = network;
    this.programs = programs;
  }

  static async up(peers: number, { dir, owned }: Setting): Promise<Stage> {
    const network = await meshUp({ peers, dir: join(dir, 'm') });
    const stage = new Stage(network, new Programs(owned, dir));
    await Promise.all(network.indices.map((peer) => stage.launchProgram(peer)));
    return stage;
  }

  /** Beside every daemon but one, for each of them: so a runner other than the owner can be had. */
  async launchProgram(peer: number): Promise<void> {
    const types = this.network.indices.filter((one) => one !== peer).map((one) => `not-${one}`);
    await this.programs.launch(peer, this.network.socket(peer), types);
    await this.#untilKnown(peer);
  }

  /** All daemons have heard of the worker there: else a strike would find fewer that work than there are. */
  async #untilKnown(peer: number): Promise<void> {
    const { peerId } = this.network.identity(peer);
    await this.network.waitFor(`the worker beside peer ${peer} is known`, async () => {
      const views = await Promise.all(this.network.indices.map((one) => this.network.members(one)));
      return views.every((view) =>
        view?.some((member) => {
          const { workers = {} } = member.peer_id === peerId ? (member.load ?? {}) : {};
          return Object.keys(workers).length > 0;
        }),
      );
    });
  }

  /** The owner in turns. */
  ownerOfRound(round: number): number {
    return this.#indexAt(round);
  }

  otherThan(...not: readonly number[]): number {
    const found = this.network.indices.find((index) => !not.includes(index));
    if (found === undefined) throw new Error('too few peers');
    return found;
  }

  /** Runs elsewhere than at its owner. */
  async running(owner: number): Promise<Running> {
    const id = await this.submit(owner, { type: `not-${owner}` });
    const start = await this.programs.start(id, 1, START_MS_MAX);
    if (start === undefined) throw new Error(`task ${id} was not started`);
    return { id, owner, runner: start.peer };
  }

  async submit(owner: number, input: SubmitInput): Promise<string> {
    const through = this.otherThan(owner);
    const id = await this.#idOwnedBy(owner, through);
    const receipt = await this.network.call(through, 'task.submit', { ...input, id });
    if (!receipt.ok) throw new Error(`submit: ${receipt.error.message}`);
    return id;
  }

  /** Daemons and worker programs as at the start: of a restarted daemon the program comes back by itself. */
  async mend(...dead: readonly number[]): Promise<void> {
    for (const peer of dead) await this.network.restart(peer);
    await this.network.waitForAllAlive();
    await Promise.all(this.network.indices.map((peer) => this.#untilKnown(peer)));
  }

  restarted(id: string, timeoutMs: number): Promise<Start | undefined> {
    return this.programs.start(id, 2, timeoutMs);
  }

  async #idOwnedBy(owner: number, through: number): Promise<string> {
    const stores = new Map(
      this.network.indices.map((index) => [index, this.network.identity(index).storeId]),
    );
    for (;;) {
      const reserved = await this.network.call(through, 'ids.reserve', { n: IDS_AT_ONCE });
      if (!reserved.ok) throw new Error(`ids.reserve: ${reserved.error.message}`);
      const found = reserved.value.ids.find((id) => ownerOf(id, stores) === owner);
      if (found !== undefined) return found;
    }
  }

  #indexAt(round: number): number {
    const { indices } = this.network;
    return indices[round % indices.length] ?? 1;
  }
}
