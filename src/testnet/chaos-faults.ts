/**
 * The faults of a chaos run. What strikes is drawn from the seed alone, whatever the machine makes of the times: a draw
 * that cannot strike now (its peer is under another fault) is printed and skipped. Two peers at most are struck at once,
 * and a store is wiped only when nothing else is wrong: two wiped stores at once may rightly lose a task.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '../base/errors.ts';
import { pickDistinct, type Random, SeededRandom } from '../base/random.ts';
import type { SmallDisk } from './chaos-disk.ts';
import type { Strike } from './chaos-evidence.ts';
import { between, type FaultKind } from './chaos-options.ts';
import type { ChaosPeers } from './chaos-peers.ts';
import { uptimeMs } from './chaos-work.ts';

const STRUCK_MAX = 2;
const GAP_MS = { min: 500, max: 4_000 };
/** After a wipe the copies must be whole again before the next: told by nobody outside, so waited for. */
const WIPE_GAP_MS = 30_000;
/**
 * Before a wipe, since the last other fault: stand-ins hand their copies over, and who was alone for so long that it took all
 * others for dead brings them what it acknowledged and started by itself (its receipts say that they require one store).
 */
const CALM_BEFORE_WIPE_MS = 10_000;

/** How long a fault of a kind lasts. */
const LASTS_MS: Readonly<Record<FaultKind, { readonly min: number; readonly max: number }>> = {
  kill: { min: 0, max: 6_000 },
  term: { min: 0, max: 3_000 },
  pause: { min: 500, max: 12_000 },
  isolate: { min: 500, max: 15_000 },
  halves: { min: 1_000, max: 15_000 },
  disk: { min: 2_000, max: 12_000 },
  wipe: { min: 0, max: 2_000 },
  worker: { min: 0, max: 2_000 },
};

export interface Draw {
  readonly kind: FaultKind;
  /** The struck one; of `halves` one side. */
  readonly peers: readonly number[];
  readonly lastsMs: number;
  readonly gapMs: number;
}

export function drawFault(random: Random, kind: FaultKind, peers: readonly number[]): Draw {
  const { min, max } = LASTS_MS[kind];
  const lastsMs = between(random, min, max);
  const gapMs = between(random, GAP_MS.min, GAP_MS.max);
  const size = kind === 'halves' ? Math.floor(peers.length / 2) : 1;
  return { kind, peers: pickDistinct(random, peers, size), lastsMs, gapMs };
}

export interface FaultDeps {
  readonly peers: ChaosPeers;
  readonly disk: { readonly index: number; readonly disk: SmallDisk } | undefined;
  readonly killWorker: (index: number) => Promise<void>;
  readonly startWorker: (index: number) => Promise<void>;
  readonly say: (text: string) => void;
}

export class FaultDriver {
  readonly counts: Partial<Record<FaultKind, number>> = {};
  skipped = 0;
  readonly strikes: Strike[] = [];
  readonly #deps: FaultDeps;
  readonly #kinds: readonly FaultKind[];
  readonly #random: SeededRandom;
  readonly #struck = new Set<number>();
  #isCut = false;
  #lastWipeMs = Number.NEGATIVE_INFINITY;
  #round: FaultKind[] = [];
  readonly #running = new Set<Promise<void>>();
  readonly #heal = new AbortController();

  constructor(deps: FaultDeps, kinds: readonly FaultKind[], seed: string) {
    this.#deps = deps;
    this.#kinds = kinds;
    this.#random = new SeededRandom(`faults ${seed}`);
  }

  /** Strikes until the signal; resolves when no fault lasts any more. */
  async run(until: AbortSignal): Promise<void> {
    const { say, peers, disk } = this.#deps;
    until.addEventListener('abort', () => this.#heal.abort());
    while (this.#kinds.length > 0 && !until.aborted) {
      const drawn = drawFault(this.#random, this.#nextKind(), peers.network.indices);
      const draw = drawn.kind === 'disk' && disk ? { ...drawn, peers: [disk.index] } : drawn;
      const what = `${draw.kind} ${draw.peers.map((index) => peers.nameOf(index)).join('+')}`;
      const why = this.#whyNot(draw);
      say(why === undefined ? `${what} for ${draw.lastsMs} ms` : `${what}: not now, ${why}`);
      if (why !== undefined) this.skipped += 1;
      else if (draw.kind === 'wipe') await this.#wipeAlone(draw);
      else this.#begin(draw);
      await this.#sleep(draw.gapMs);
    }
    await Promise.all(this.#running);
  }

  /** In rounds of all kinds, each in its own order: a short run sees them all, too. */
  #nextKind(): FaultKind {
    if (this.#round.length === 0)
      this.#round = pickDistinct(this.#random, this.#kinds, this.#kinds.length);
    return this.#round.pop() ?? 'kill';
  }

  /** When nothing else is wrong, nor was a moment ago; and nothing else strikes before the peer is back. */
  async #wipeAlone(draw: Draw): Promise<void> {
    await Promise.all(this.#running);
    await this.#sleep(CALM_BEFORE_WIPE_MS);
    if (this.#heal.signal.aborted) return;
    this.#begin(draw);
    await Promise.all(this.#running);
  }

  #whyNot({ kind, peers }: Draw): string | undefined {
    if (kind === 'wipe') {
      const sinceMs = performance.now() - this.#lastWipeMs;
      return sinceMs < WIPE_GAP_MS ? 'the last wipe is not long ago' : undefined;
    }
    if (kind === 'halves' || kind === 'isolate') {
      if (this.#isCut) return 'there is a partition';
      return kind === 'isolate' && peers.some((index) => this.#struck.has(index))
        ? 'its peer is struck'
        : undefined;
    }
    if (kind === 'worker') return undefined;
    if (peers.some((index) => this.#struck.has(index))) return 'its peer is struck';
    return this.#struck.size >= STRUCK_MAX ? 'enough peers are struck' : undefined;
  }

  #begin(draw: Draw): void {
    this.counts[draw.kind] = (this.counts[draw.kind] ?? 0) + 1;
    const isOfPeer = draw.kind !== 'halves' && draw.kind !== 'worker';
    for (const index of isOfPeer ? draw.peers : []) this.#struck.add(index);
    const under = this.#noted(draw, () => this.#strike(draw))
      .catch((thrown: unknown) => this.#deps.say(`${draw.kind} failed: ${messageOf(thrown)}`))
      .then(() => {
        for (const index of isOfPeer ? draw.peers : []) this.#struck.delete(index);
        this.#running.delete(under);
      });
    this.#running.add(under);
  }

  async #strike({ kind, peers: [index = 1], peers: side, lastsMs }: Draw): Promise<void> {
    const { peers, disk, killWorker, startWorker } = this.#deps;
    switch (kind) {
      case 'kill':
        return await this.#kill(index, lastsMs);
      case 'term':
        await peers.kill(index, 'SIGTERM');
        await this.#sleep(lastsMs);
        return await peers.start(index);
      case 'pause':
        await peers.freeze(index);
        await this.#sleep(lastsMs);
        return await peers.thaw(index);
      case 'isolate':
      case 'halves':
        return await this.#cut(side, lastsMs);
      case 'disk':
        await disk?.disk.fill();
        await this.#sleep(lastsMs);
        return await disk?.disk.free();
      case 'wipe':
        await peers.kill(index, 'SIGKILL');
        await peers.wipe(index);
        await this.#sleep(lastsMs);
        await peers.start(index);
        this.#lastWipeMs = performance.now();
        return;
      case 'worker':
        await killWorker(index);
        await this.#sleep(lastsMs);
        return await startWorker(index);
    }
  }

  async #kill(index: number, lastsMs: number): Promise<void> {
    const { peers, say } = this.#deps;
    const atMs = uptimeMs();
    await peers.kill(index, 'SIGKILL');
    const measured = peers.measureDetection(index);
    await this.#sleep(lastsMs);
    await peers.start(index);
    await measured;
    say(`${peers.nameOf(index)} is back after ${uptimeMs() - atMs} ms`);
  }

  /** For the checker, also when it ends in an error. */
  async #noted({ kind, peers }: Pick<Draw, 'kind' | 'peers'>, act: () => Promise<void>) {
    const fromMs = uptimeMs();
    try {
      await act();
    } finally {
      const names = peers.map((index) => this.#deps.peers.nameOf(index));
      this.strikes.push({ kind, peers: names, fromMs, toMs: uptimeMs() });
    }
  }

  /** The power cut of the whole site at the end. */
  restartAll(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const { peers } = this.#deps;
    const kind = signal === 'SIGKILL' ? 'kill' : 'term';
    return this.#noted({ kind, peers: peers.network.indices }, () => peers.restartAll(signal));
  }

  async #cut(side: readonly number[], lastsMs: number): Promise<void> {
    const { network } = this.#deps.peers;
    this.#isCut = true;
    network.partition([side, network.indices.filter((index) => !side.includes(index))]);
    await this.#sleep(lastsMs);
    network.heal();
    this.#isCut = false;
  }

  /** Less when it is time to heal. */
  async #sleep(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: this.#heal.signal }).catch(() => undefined);
  }
}
