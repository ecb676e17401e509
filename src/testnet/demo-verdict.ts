/**
 * The judgement of `npm start`, from three things alone: the list of files, what came out, and the file to
 * which every started batch appended a line. Nothing that Covey says about itself takes part.
 */

/** A line of the starts file: one start of one batch. */
export interface Start {
  readonly task: string;
  readonly attempt: number;
  readonly pid: number;
  /** Whether nobody held the lock of this task: false is two runs of one task at the same time. */
  readonly lockWasFree: boolean;
  /** Uptime of the host, cut to 10 ms. */
  readonly atMs: number;
}

export interface Evidence {
  readonly files: readonly string[];
  /** Batches are consecutive runs of this many files. */
  readonly filesPerTask: number;
  /** Records `hash  path` of plain xargs and of the mesh. */
  readonly plain: readonly string[];
  readonly mesh: readonly string[];
  readonly starts: readonly Start[];
  /** Uptime when the daemon was killed; undefined when it never came to it. */
  readonly killedAtMs: number | undefined;
}

export interface Verdict {
  readonly files: number;
  readonly tasks: number;
  /** Batches of which every file has an output. */
  readonly completed: number;
  /** Input without output. */
  readonly lost: number;
  /** Surplus output: a second one of a file, or one of a file that nobody asked for. */
  readonly duplicates: number;
  /** Starts that found the lock of their task taken. */
  readonly double_runs: number;
  readonly attempts: number;
  /** Tasks that were started before the kill and again after it. */
  readonly retaken: number;
  /** From the kill to the last such second start. */
  readonly takeover_ms_max: number | null;
  /** `- record` only plain xargs printed, `+ record` only the mesh did. */
  readonly differences: readonly string[];
  /** Why the run failed, a sentence each; empty: it did not. */
  readonly complaints: readonly string[];
}

export const parseRecords = (output: string): string[] =>
  output.split('\0').filter((record) => record !== '');

/** Lines that are not whole are not counted: their batch was killed before it could run anything. */
export function parseStarts(text: string): Start[] {
  const starts: Start[] = [];
  for (const line of text.split('\n')) {
    const match = /^(\S+) (\d+) (\d+) (free|busy) (\d+)$/.exec(line);
    const [, task, attempt, pid, lock, atMs] = match ?? [];
    if (task === undefined) continue;
    starts.push({
      task,
      attempt: Number(attempt),
      pid: Number(pid),
      lockWasFree: lock === 'free',
      atMs: Number(atMs),
    });
  }
  return starts;
}

/** Of a record, also of one with a `-` or `+` before it. */
export const fileOf = (record: string): string => record.slice(record.indexOf('  ') + 2);

function countBy<T>(items: readonly T[]): Map<T, number> {
  const counts = new Map<T, number>();
  for (const item of items) counts.set(item, (counts.get(item) ?? 0) + 1);
  return counts;
}

/** What the two multisets do not share. */
function differencesOf(plain: readonly string[], mesh: readonly string[]): string[] {
  const left = countBy(plain);
  const surplus: string[] = [];
  for (const record of mesh) {
    const count = left.get(record) ?? 0;
    if (count > 0) left.set(record, count - 1);
    else surplus.push(`+ ${record}`);
  }
  const missing = [...left].flatMap(([record, n]) => Array<string>(n).fill(`- ${record}`));
  // By file, so that two hashes of one file stand together.
  const order = new Intl.Collator('en').compare;
  return [...missing, ...surplus].sort((a, b) => order(fileOf(a), fileOf(b)));
}

/** The second starts of tasks that the kill interrupted, one a task. */
function retakenStarts(starts: readonly Start[], killedAtMs: number): Start[] {
  const before = new Set(starts.filter((s) => s.atMs <= killedAtMs).map((s) => s.task));
  const first = new Map<string, Start>();
  for (const start of starts) {
    if (start.atMs <= killedAtMs || !before.has(start.task)) continue;
    const known = first.get(start.task);
    if (!known || start.atMs < known.atMs) first.set(start.task, start);
  }
  return [...first.values()];
}

function countCompleted(evidence: Evidence, done: ReadonlySet<string>): number {
  let completed = 0;
  for (let i = 0; i < evidence.files.length; i += evidence.filesPerTask) {
    const batch = evidence.files.slice(i, i + evidence.filesPerTask);
    if (batch.every((file) => done.has(file))) completed++;
  }
  return completed;
}

export function judge(evidence: Evidence): Verdict {
  const { files, mesh, starts, killedAtMs } = evidence;
  const outputs = countBy(mesh.map(fileOf));
  const wanted = new Set(files);
  const lost = files.filter((file) => !outputs.has(file)).length;
  let duplicates = 0;
  for (const [file, count] of outputs) duplicates += wanted.has(file) ? count - 1 : count;
  const doubleRuns = starts.filter((start) => !start.lockWasFree).length;
  const retaken = killedAtMs === undefined ? [] : retakenStarts(starts, killedAtMs);
  const differences = differencesOf(evidence.plain, mesh);
  const complaints: string[] = [];
  const complain = (bad: boolean, sentence: string) => {
    if (bad) complaints.push(sentence);
  };
  complain(lost > 0, `${lost} files have no output`);
  complain(duplicates > 0, `${duplicates} outputs are surplus`);
  complain(doubleRuns > 0, `${doubleRuns} batches ran while another run of their task still lived`);
  complain(differences.length > 0, `the outputs of xargs and of the mesh differ`);
  complain(killedAtMs === undefined, 'no daemon could be killed in the middle of its work');
  complain(
    killedAtMs !== undefined && retaken.length === 0,
    'no task of the killed daemon was retaken',
  );
  const takeovers = retaken.map((start) => start.atMs - (killedAtMs ?? 0));
  return {
    files: files.length,
    tasks: Math.ceil(files.length / evidence.filesPerTask),
    completed: countCompleted(evidence, new Set(outputs.keys())),
    lost,
    duplicates,
    double_runs: doubleRuns,
    attempts: starts.length,
    retaken: retaken.length,
    takeover_ms_max: takeovers.length === 0 ? null : Math.round(Math.max(...takeovers)),
    differences,
    complaints,
  };
}
