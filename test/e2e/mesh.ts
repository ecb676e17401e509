/**
 * What the end-to-end tests share: a network per file, clients of its daemons, and a file to which commands append
 * each of their starts. That file, not Covey's books, says how often something ran.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { type Connection, type Covey, connect, openConnection } from '../../src/client/index.ts';
import { type ProcessRef, refOf } from '../../src/testnet/processes.ts';
import { TestNetwork, type TestNetworkOptions } from '../../src/testnet/testnet.ts';
import { endWithUs } from '../support/end-with-us.ts';

/** Several daemons on a loaded machine of two cores. */
export const TEST_MS = 120_000;
/** For a mesh that must come to an end of its work after a fault: detection, takeover, restart. */
export const SETTLE_MS = 60_000;
/** For processes to which an end, but no time for it, is promised. */
export const GONE_MS = 20_000;

export interface Start {
  readonly id: string;
  readonly attempt: number;
  readonly pid: number;
  readonly peer: string;
}

/** A network with its clients and files; `end` leaves nothing behind. */
export class Mesh {
  readonly network: TestNetwork;
  readonly dir: string;
  readonly #clients: Covey[] = [];
  readonly #connections: Connection[] = [];
  readonly #gates: Gate[] = [];

  private constructor(network: TestNetwork, dir: string) {
    this.network = network;
    this.dir = dir;
  }

  static async up(peers: number, options: Partial<TestNetworkOptions> = {}): Promise<Mesh> {
    const dir = await mkdtemp(join(tmpdir(), 'covey-e2e-'));
    const net = join(dir, 'net');
    endWithUs({ network: net, files: dir });
    try {
      return new Mesh(await TestNetwork.up({ peers, slots: 1, dir: net, ...options }), dir);
    } catch (thrown) {
      await rm(dir, { recursive: true, force: true });
      throw thrown;
    }
  }

  async end(): Promise<void> {
    // First the daemons: a worker's orderly stop would wait for handlers that the test left hanging.
    await this.network.down({ graceMs: 0 });
    for (const connection of this.#connections) connection.close();
    await rm(this.dir, { recursive: true, force: true });
  }

  async restartAll(): Promise<void> {
    for (const { index, state } of await this.network.status()) {
      if (state === 'dead') await this.network.restart(index);
    }
    await this.network.waitForAllAlive();
  }

  async client(index: number): Promise<Covey> {
    const client = await connect({ socket: this.network.socket(index), patienceMs: SETTLE_MS });
    this.#clients.push(client);
    return client;
  }

  async connection(index: number): Promise<Connection> {
    const opened = await openConnection(this.network.socket(index));
    if (!opened.ok) throw new Error(opened.error.message);
    this.#connections.push(opened.value);
    return opened.value;
  }

  /** The peer of this name: explain speaks of names, the network of indices. */
  indexOf(name: string | undefined): number {
    const index = this.network.indices.find((i) => `test${i}` === name);
    if (index === undefined) throw new Error(`no peer has the name ${name}`);
    return index;
  }

  /** A peer that is none of these. */
  another(...indices: readonly number[]): number {
    const index = this.network.indices.find((i) => !indices.includes(i));
    if (index === undefined) throw new Error('there is no other peer');
    return index;
  }

  ledger(name: string): Ledger {
    return new Ledger(join(this.dir, name));
  }

  gate(): Gate {
    const gate = new Gate(join(this.dir, `gate-${this.#gates.length + 1}`));
    this.#gates.push(gate);
    return gate;
  }

  async openGates(): Promise<void> {
    await Promise.all(this.#gates.map((gate) => gate.open()));
  }

  async explain(via: number, id: string) {
    const answer = await this.network.call(via, 'task.explain', { id }, 20_000);
    if (!answer.ok) throw new Error(`explain: ${answer.error.message}`);
    return answer.value;
  }

  async get(via: number, id: string) {
    const answer = await this.network.call(via, 'task.get', { id }, 20_000);
    if (!answer.ok) throw new Error(`get: ${answer.error.message}`);
    return answer.value;
  }

  /** Waits until the task, seen from `via`, is in this state; answers it. */
  until(via: number, id: string, state: string, timeoutMs = SETTLE_MS) {
    return this.network.waitFor(
      `task ${id} is ${state} at peer ${via}`,
      async () => {
        const answer = await this.network.call(via, 'task.get', { id }, 20_000);
        return answer.ok && answer.value.state === state ? answer.value : undefined;
      },
      timeoutMs,
    );
  }

  /** Waits until `via` sees `index` in this status. */
  untilMember(via: number, index: number, status: string, timeoutMs = SETTLE_MS) {
    return this.network.waitFor(
      `peer ${via} sees peer ${index} ${status}`,
      async () =>
        (await this.network.members(via))?.find((member) => member.name === `test${index}`)
          ?.status === status,
      timeoutMs,
    );
  }

  /** Fails, with the history of those in question, unless each of these tasks, and no other, started once. */
  async expectOneStartEach(via: number, ledger: Ledger, ids: readonly string[]): Promise<void> {
    const others = (await ledger.starts()).map(({ id }) => id);
    await this.expectOneStartEachOf(via, ledger, ids);
    expect(others.filter((id) => !ids.includes(id))).toEqual([]);
  }

  /** The same for these; others may be in the ledger. */
  async expectOneStartEachOf(via: number, ledger: Ledger, ids: readonly string[]): Promise<void> {
    const starts = await ledger.starts();
    const wrong = ids.filter((id) => starts.filter((start) => start.id === id).length !== 1);
    const told = await Promise.all(
      wrong.map(async (id) => ({
        starts: starts.filter((start) => start.id === id),
        told: await this.explain(via, id),
      })),
    );
    expect(told).toEqual([]);
  }

  /** Commands on every slot that last until their gate opens; answers their ids when all of them run. */
  async occupy(via: number, slots: number, gate: Gate): Promise<string[]> {
    const client = await this.client(via);
    const receipts = await Promise.all(
      Array.from({ length: slots }, () => client.submit(gate.command())),
    );
    const ids = receipts.map((receipt) => receipt.id);
    for (const id of ids) await this.until(via, id, 'active');
    return ids;
  }
}

/** The starts of commands, each one line, appended in one write by the command itself. */
export class Ledger {
  readonly file: string;

  constructor(file: string) {
    this.file = file;
  }

  /** The line of a shell that notes this start, and then does `script`. */
  command(script = ':') {
    const note = `printf '%s %s %s %s\\n' "$COVEY_TASK_ID" "$COVEY_ATTEMPT" "$$" "$COVEY_PEER"`;
    return { exec: { argv: [`${note} >> ${this.file}; ${script}`], shell: true } };
  }

  async starts(): Promise<Start[]> {
    const text = await readFile(this.file, 'utf8').catch((thrown: NodeJS.ErrnoException) => {
      if (thrown.code === 'ENOENT') return ''; // nothing has started yet
      throw thrown;
    });
    return text
      .split('\n')
      .slice(0, -1)
      .map((line) => {
        const [id = '', attempt, pid, peer = ''] = line.split(' ');
        return { id, attempt: Number(attempt), pid: Number(pid), peer };
      });
  }

  async startsOf(id: string): Promise<Start[]> {
    return (await this.starts()).filter((start) => start.id === id);
  }
}

/** Something that commands wait for and the test opens: no test sleeps for a time that it hopes is enough. */
export class Gate {
  readonly file: string;

  constructor(file: string) {
    this.file = file;
  }

  /** A part of a shell script that ends when the gate is open. */
  get wait(): string {
    return `while [ ! -e ${this.file} ]; do sleep 0.05; done`;
  }

  command() {
    return { exec: { argv: [this.wait], shell: true } };
  }

  open(): Promise<void> {
    return writeFile(this.file, '');
  }
}

/** A command's process, which a shell noted as its pid in a ledger. */
export async function processOf(start: Start): Promise<ProcessRef> {
  const ref = await refOf(start.pid);
  if (ref === undefined) throw new Error(`process ${start.pid} of task ${start.id} has ended`);
  return ref;
}
