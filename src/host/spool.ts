/**
 * The Spool port: one file per run and stream, `<runId>.stdout` and `<runId>.stderr`, mode 0600, in
 * a directory of mode 0700; an empty `<runId>.truncated` beside them says that bytes were dropped.
 *
 * Appends go to memory and from there to the file, one write at a time per run. A disk that is full,
 * nearly full or too slow costs log lines, never a run: what cannot be written is dropped and the run is marked
 * truncated.
 */
import { appendFile, mkdir, open, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { err, ok, type Result } from '../base/result.ts';
import {
  type OutputStream,
  RUN_ID_PATTERN,
  SPOOL_RUN_BYTES_MAX,
  SPOOL_TOTAL_BYTES_MAX,
  type Spool,
  type SpoolPart,
} from '../ports/processes.ts';
import { textOf } from './directory-lock.ts';

/** Bytes of all runs that wait to be written: a disk that stalls must not fill the memory. */
const PENDING_BYTES_MAX = 32 * 1_024 * 1_024;
const STREAMS = ['stdout', 'stderr'] as const;
const FILE_MODE = 0o600;

interface Run {
  readonly lengths: Record<OutputStream, number>;
  pending: { readonly stream: OutputStream; readonly bytes: Uint8Array }[];
  truncated: boolean;
  /** Whether the mark beside the files has been written. */
  marked: boolean;
  removed: boolean;
  writing: Promise<void> | undefined;
}

export interface SpoolLimits {
  readonly runBytesMax: number;
  readonly totalBytesMax: number;
}

export interface SpoolOptions {
  readonly limits?: SpoolLimits;
  /** Whether the disk has room for what can be done without; if not, output is dropped. */
  readonly hasRoom?: () => boolean;
}

const LIMITS: SpoolLimits = {
  runBytesMax: SPOOL_RUN_BYTES_MAX,
  totalBytesMax: SPOOL_TOTAL_BYTES_MAX,
};

export class HostSpool implements Spool {
  readonly #directory: string;
  readonly #limits: SpoolLimits;
  readonly #hasRoom: () => boolean;
  /** In order of first append: the oldest first. */
  readonly #runs = new Map<string, Run>();
  /** Removals under way: a run that starts anew under the same id waits for its predecessor's. */
  readonly #removals = new Map<string, Promise<Result<void, string>>>();
  #totalBytes = 0;
  #pendingBytes = 0;

  constructor(directory: string, options: SpoolOptions = {}) {
    this.#directory = directory;
    this.#limits = options.limits ?? LIMITS;
    this.#hasRoom = options.hasRoom ?? (() => true);
  }

  /** Takes in what an earlier daemon left. */
  async load(): Promise<void> {
    const found = new Map<string, { run: Run; changedMs: number }>();
    for (const name of await readdir(this.#directory)) {
      const [runId = '', suffix] = name.split('.');
      if (!RUN_ID_PATTERN.test(runId)) continue;
      const stats = await stat(join(this.#directory, name));
      const entry = found.get(runId) ?? { run: newRun(), changedMs: Number.POSITIVE_INFINITY };
      if (suffix === 'stdout' || suffix === 'stderr') entry.run.lengths[suffix] = stats.size;
      else if (suffix === 'truncated') entry.run.truncated = true;
      else continue;
      entry.run.marked = entry.run.truncated;
      entry.changedMs = Math.min(entry.changedMs, stats.mtimeMs);
      found.set(runId, entry);
    }
    const sorted = [...found].sort(([, a], [, b]) => a.changedMs - b.changedMs);
    for (const [runId, { run }] of sorted) {
      this.#runs.set(runId, run);
      this.#totalBytes += lengthOf(run);
    }
    this.#evict(undefined);
  }

  append(runId: string, stream: OutputStream, bytes: Uint8Array): void {
    if (!RUN_ID_PATTERN.test(runId)) throw new RangeError(`not a run id: ${JSON.stringify(runId)}`);
    const run = this.#runs.get(runId) ?? newRun();
    this.#runs.set(runId, run);
    const room = this.#limits.runBytesMax - lengthOf(run);
    const fits = this.#pendingBytes + bytes.length <= PENDING_BYTES_MAX && this.#hasRoom();
    const taken = run.truncated || !fits ? new Uint8Array() : bytes.slice(0, Math.max(0, room));
    if (taken.length < bytes.length) run.truncated = true;
    run.lengths[stream] += taken.length;
    this.#totalBytes += taken.length;
    this.#pendingBytes += taken.length;
    run.pending.push({ stream, bytes: taken });
    run.writing ??= this.#write(runId, run);
    this.#evict(runId);
  }

  async read(
    runId: string,
    stream: OutputStream,
    offset: number,
    limit: number,
  ): Promise<Result<SpoolPart | undefined, string>> {
    await this.#runs.get(runId)?.writing;
    const run = this.#runs.get(runId);
    if (!run) return ok(undefined);
    const { truncated } = run;
    const endBytes = run.lengths[stream];
    const length = Math.max(0, Math.min(limit, endBytes - offset));
    if (length === 0) return ok({ bytes: new Uint8Array(), endBytes, truncated });
    try {
      const file = await open(this.#pathOf(runId, stream), 'r');
      try {
        const { buffer, bytesRead } = await file.read(new Uint8Array(length), 0, length, offset);
        return ok({ bytes: buffer.subarray(0, bytesRead), endBytes, truncated });
      } finally {
        await file.close();
      }
    } catch (error) {
      // Removed meanwhile, or nothing of it could be written.
      if (isMissing(error)) return ok(this.#runs.get(runId) === run ? LOST : undefined);
      return err(`the output of run ${runId} cannot be read: ${textOf(error)}`);
    }
  }

  remove(runId: string): Promise<Result<void, string>> {
    const run = this.#runs.get(runId);
    if (!run) return this.#removals.get(runId) ?? Promise.resolve(ok(undefined));
    this.#runs.delete(runId);
    this.#totalBytes -= lengthOf(run);
    run.removed = true;
    const removal = this.#deleteFiles(runId, run).finally(() => {
      if (this.#removals.get(runId) === removal) this.#removals.delete(runId);
    });
    this.#removals.set(runId, removal);
    return removal;
  }

  list(): Promise<string[]> {
    return Promise.resolve([...this.#runs.keys()]);
  }

  /** Waits for what is under way. */
  async close(): Promise<void> {
    const runs = [...this.#runs.values()].map((run) => run.writing);
    await Promise.all([...runs, ...this.#removals.values()]);
  }

  #pathOf(runId: string, suffix: OutputStream | 'truncated'): string {
    return join(this.#directory, `${runId}.${suffix}`);
  }

  async #deleteFiles(runId: string, run: Run): Promise<Result<void, string>> {
    await run.writing;
    let failure: string | undefined;
    // One file that cannot be deleted must not keep the others.
    for (const suffix of [...STREAMS, 'truncated'] as const) {
      await rm(this.#pathOf(runId, suffix), { force: true }).catch((error: unknown) => {
        failure ??= `the output of run ${runId} cannot be deleted: ${textOf(error)}`;
      });
    }
    return failure === undefined ? ok(undefined) : err(failure);
  }

  async #write(runId: string, run: Run): Promise<void> {
    // How the removal of a predecessor ended is its caller's affair.
    await this.#removals.get(runId);
    while (run.pending.length > 0) {
      const batch = run.pending;
      run.pending = [];
      for (const stream of STREAMS) {
        const chunks = batch.filter((part) => part.stream === stream).map((part) => part.bytes);
        const bytes = Buffer.concat(chunks);
        if (bytes.length > 0 && !run.removed) await this.#writeOne(runId, run, stream, bytes);
        this.#pendingBytes -= bytes.length;
      }
      if (run.truncated && !run.marked && !run.removed) await this.#mark(runId, run);
    }
    run.writing = undefined;
  }

  async #writeOne(runId: string, run: Run, stream: OutputStream, bytes: Uint8Array): Promise<void> {
    const path = this.#pathOf(runId, stream);
    try {
      await appendFile(path, bytes, { mode: FILE_MODE });
    } catch {
      // Full disk or worse: logs are not worth a run. What is in the file counts, and no more is
      // tried.
      run.truncated = true;
      const size = await stat(path).then(
        (stats) => stats.size,
        () => 0,
      );
      this.#totalBytes -= run.lengths[stream] - size;
      run.lengths[stream] = size;
      this.#pendingBytes -= run.pending.reduce((sum, part) => sum + part.bytes.length, 0);
      run.pending = [];
    }
  }

  async #mark(runId: string, run: Run): Promise<void> {
    run.marked = true;
    // Without the mark a later daemon does not know; on a full disk there is nothing to be done
    // about it.
    const options = { mode: FILE_MODE };
    await appendFile(this.#pathOf(runId, 'truncated'), '', options).catch(() => undefined);
  }

  #evict(except: string | undefined): void {
    for (const runId of this.#runs.keys()) {
      if (this.#totalBytes <= this.#limits.totalBytesMax) return;
      if (runId === except) continue;
      // A file that cannot be deleted stays where it is and is found again at the next start.
      void this.remove(runId);
    }
  }
}

/** Of a run whose file could not be written. */
const LOST = { bytes: new Uint8Array(), endBytes: 0, truncated: true };

const newRun = (): Run => ({
  lengths: { stdout: 0, stderr: 0 },
  pending: [],
  truncated: false,
  marked: false,
  removed: false,
  writing: undefined,
});

const lengthOf = (run: Run): number => run.lengths.stdout + run.lengths.stderr;

const isMissing = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'ENOENT';

/** Creates the directory with mode 0700 where there is none, and takes in what lies there. */
export async function openSpool(
  directory: string,
  options?: SpoolOptions,
): Promise<Result<HostSpool, string>> {
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const spool = new HostSpool(directory, options);
    await spool.load();
    return ok(spool);
  } catch (error) {
    return err(
      `cannot use the spool ${directory}: ${textOf(error)} (as uid ${process.getuid?.()})`,
    );
  }
}
