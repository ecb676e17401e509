/**
 * The main job: the same files through plain xargs and through a mesh of five daemons, one of which is killed
 * in the middle of its work and started again later.
 */
import { mkdir, readFile } from 'node:fs/promises';
import { availableParallelism, uptime } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '../base/errors.ts';
import { Children, childrenCpuSeconds, type Finished } from './demo-children.ts';
import type { Display } from './demo-display.ts';
import { fileOf, judge, parseRecords, parseStarts, type Verdict } from './demo-verdict.ts';
import { killInMidWork } from './demo-victim.ts';
import {
  countChangedSince,
  filesPerTaskOf,
  furnish,
  type Workplace,
  workplaceIn,
} from './demo-work.ts';
import { COVEY } from './paths.ts';
import { TestNetwork } from './testnet.ts';

const PEERS = 5;
/** The peer that the client talks to; it is never the one that is killed. */
const CLIENT_PEER = 1;
/** Shares of the files that are done: when a daemon is killed, started again, and when it is too late for it. */
const KILL_AT = 1 / 3;
const RESTART_AT = 2 / 3;
const KILL_UNTIL = 0.95;
/** Members are redrawn this often; a victim is looked for this often while there is none. */
const MEMBERS_EVERY_MS = 250;
const VICTIM_EVERY_MS = 20;
/** Longer than any verdict of the membership may take: two of four observers are always there. */
const DETECT_MS_MAX = 30_000;

/** `npm start -- --json`. Times in seconds are rounded to milliseconds. */
export interface Report extends Omit<Verdict, 'differences' | 'complaints'> {
  /** From SIGKILL until the last survivor lists the daemon dead, seen by asking each every 25 ms. */
  readonly detect_ms: number | null;
  /** Plain xargs, from its start to its end. */
  readonly plain_s: number;
  /** `covey xargs`, from its start to its end; the mesh was up before. */
  readonly wall_s: number;
  /** CPU of the client, the daemons and all commands, from the first daemon's start to the last one's end. */
  readonly cpu_s: number;
}

export interface Outcome {
  readonly report: Report;
  readonly complaints: readonly string[];
  readonly differences: readonly string[];
}

interface Kill {
  readonly index: number;
  readonly killedAtMs: number;
  readonly detectMs: number | undefined;
  /** What went wrong with its restart. */
  readonly comeback: string | undefined;
}

const seconds = (ms: number): number => Math.round(ms) / 1_000;

export class DemoRun {
  readonly #files: readonly string[];
  readonly #filesPerTask: number;
  readonly #place: Workplace;
  readonly #display: Display;
  readonly #children = new Children();
  /** As many commands at once in both runs. */
  readonly #slotsPerPeer = Math.max(1, Math.round(availableParallelism() / PEERS));
  #done = 0;
  /** The mesh's xargs has ended: nothing waits for progress any more. */
  #over = false;
  #aborted = false;

  constructor(files: readonly string[], dir: string, display: Display) {
    this.#files = files;
    this.#filesPerTask = filesPerTaskOf(files.length);
    this.#place = workplaceIn(dir);
    this.#display = display;
  }

  /** Ends the child processes of this run; its network is ended by endAllNetworks. */
  abort(): void {
    this.#aborted = true;
    this.#children.killAll();
  }

  async run(): Promise<Outcome> {
    await mkdir(this.#place.locks);
    await furnish(this.#place, this.#files);
    const startedMs = Date.now();
    const plain = await this.#plain();
    this.#display.say(
      `plain xargs: ${this.#files.length} files in ${seconds(plain.wallMs)} s; now the mesh`,
    );
    if (this.#aborted) throw new Error('interrupted');
    const cpuBefore = await childrenCpuSeconds();
    const network = await TestNetwork.up({
      peers: PEERS,
      slots: this.#slotsPerPeer,
      dir: join(this.#place.dir, 'net'),
      onSignals: false,
    });
    const { mesh, kill, problems } = await this.#mesh(network);
    await network.down();
    const cpuSeconds = (await childrenCpuSeconds()) - cpuBefore;
    const verdict = judge({
      files: this.#files,
      filesPerTask: this.#filesPerTask,
      plain: parseRecords(plain.output),
      mesh: parseRecords(mesh.output),
      starts: parseStarts(await readFile(this.#place.starts, 'utf8')),
      killedAtMs: kill?.killedAtMs,
    });
    const { differences, complaints, ...counts } = verdict;
    return {
      report: {
        ...counts,
        detect_ms: kill?.detectMs ?? null,
        plain_s: seconds(plain.wallMs),
        wall_s: seconds(mesh.wallMs),
        cpu_s: seconds(cpuSeconds * 1_000),
      },
      complaints: [
        ...complaints,
        ...problemsOf('xargs', plain),
        ...problems,
        ...(await this.#writtenMeanwhile(differences, startedMs)),
      ],
      differences,
    };
  }

  async #writtenMeanwhile(differences: readonly string[], sinceMs: number): Promise<string[]> {
    const files = [...new Set(differences.map(fileOf))];
    const changed = await countChangedSince(files, sinceMs);
    return changed === 0 ? [] : [`${changed} of the files that differ were written to meanwhile`];
  }

  #run(name: string, argv: readonly [string, ...string[]]): Promise<Finished> {
    this.#done = 0;
    this.#display.phase(name, this.#files.length);
    return this.#children
      .run(argv, this.#place.list, (records) => {
        this.#done += records;
        this.#display.progress(this.#done);
      })
      .finally(() => this.#display.endPhase());
  }

  #plain(): Promise<Finished> {
    const parallel = String(PEERS * this.#slotsPerPeer);
    const flags = ['-0', '-n', String(this.#filesPerTask), '-P', parallel];
    return this.#run('xargs', ['xargs', ...flags, ...this.#place.plainCommand]);
  }

  async #mesh(network: TestNetwork): Promise<{
    readonly mesh: Finished;
    readonly kill: Kill | undefined;
    readonly problems: readonly string[];
  }> {
    const flags = ['--socket', network.socket(CLIENT_PEER), '-0', '-n', String(this.#filesPerTask)];
    const running = this.#run('covey', [COVEY, 'xargs', ...flags, ...this.#place.batchCommand]);
    const ended = running.then((mesh) => {
      this.#over = true;
      return mesh;
    });
    const [mesh, fault] = await Promise.all([ended, this.#fault(network), this.#watch(network)]);
    const problems = problemsOf('covey xargs', mesh);
    if (fault && fault.detectMs === undefined) {
      problems.push(`not every survivor listed peer ${fault.index} dead`);
    }
    if (fault?.comeback !== undefined) problems.push(fault.comeback);
    return { mesh, kill: fault, problems };
  }

  /** Waits until this share of the files is done; false when the run is over before. */
  async #until(share: number): Promise<boolean> {
    while (!this.#over && this.#done < share * this.#files.length) await delay(VICTIM_EVERY_MS);
    return !this.#over;
  }

  async #fault(network: TestNetwork): Promise<Kill | undefined> {
    await this.#until(KILL_AT);
    while (!this.#over && this.#done < KILL_UNTIL * this.#files.length) {
      const options = { asked: CLIENT_PEER, starts: this.#place.starts };
      const victim = await killInMidWork(network, options);
      if (victim) return await this.#afterKill(network, victim.index, victim.killedAtMs);
      await delay(VICTIM_EVERY_MS);
    }
    return undefined;
  }

  async #afterKill(network: TestNetwork, index: number, killedAtMs: number): Promise<Kill> {
    this.#display.say(`SIGKILL to test${index} at ${this.#done} of ${this.#files.length} files`);
    const name = `test${index}`;
    const survivors = network.indices.filter((other) => other !== index);
    const detectedAtMs = await network
      .waitFor(
        `${name} is listed dead`,
        async () => {
          const views = await Promise.all(survivors.map((other) => network.members(other)));
          const all = views.every((view) =>
            view?.some((member) => member.name === name && member.status === 'dead'),
          );
          return all && uptime() * 1_000;
        },
        DETECT_MS_MAX,
      )
      .catch(() => undefined); // told as a complaint
    await this.#until(RESTART_AT);
    const comeback = await this.#comeBack(network, index).then(
      () => undefined,
      (thrown: unknown) => `${name} did not come back: ${messageOf(thrown)}`,
    );
    this.#display.say(comeback ?? `${name} is back, and alive to all`);
    const detectMs = detectedAtMs === undefined ? undefined : Math.round(detectedAtMs - killedAtMs);
    return { index, killedAtMs, detectMs, comeback };
  }

  async #comeBack(network: TestNetwork, index: number): Promise<void> {
    await network.restart(index);
    await network.waitForAllAlive();
  }

  /** Shows how the client's peer sees the members. */
  async #watch(network: TestNetwork): Promise<void> {
    while (!this.#over) {
      const members = await network.members(CLIENT_PEER);
      if (members) this.#display.members(members);
      await delay(MEMBERS_EVERY_MS);
    }
  }
}

function problemsOf(name: string, finished: Finished): string[] {
  if (finished.exitCode === 0) return [];
  const why = finished.errors === '' ? '' : `: ${finished.errors}`;
  return [`${name} ended with exit code ${finished.exitCode}${why}`];
}
