/**
 * The programs that chaos tasks run, and the file to which each of their starts and ends is appended. One line is one
 * write to a file opened with O_APPEND, so lines of many processes do not mix.
 */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { uptime } from 'node:os';
import { join } from 'node:path';
import { FAILS_WITH, type ProgramRun } from './chaos-evidence.ts';

/** The type of the worker tasks. */
export const WORKER_TYPE = 'chaos';

/**
 * The lock is taken on a descriptor that all of the command inherits: it is free only when the last process of the
 * run has ended, whoever killed it. Tried once, never waited for: that another run still lives is what shall be seen.
 */
const EXEC_SCRIPT = `dir=$1 seconds=$2 fails=$3
exec 9>>"$dir/locks/$COVEY_TASK_ID" || exit 125
if flock -n 9; then lock=free; else lock=busy; fi
run="exec $COVEY_TASK_ID $COVEY_ATTEMPT $COVEY_RUN_ID $COVEY_PEER $$"
read -r up _ </proc/uptime
echo "start $run \${up%.*}\${up#*.}0 $lock" >>"$dir/runs" || exit 125
sleep "$seconds"
code=0
if [ "$COVEY_ATTEMPT" -le "$fails" ]; then code=${FAILS_WITH}; fi
printf %s "$COVEY_RUN_ID"
read -r up _ </proc/uptime
echo "end $run \${up%.*}\${up#*.}0 $code" >>"$dir/runs"
exit $code
`;

/** By this variable of their environment the processes of a run's commands are found, children included. */
const MARK = 'CHAOS_RUN_DIR';

export const runsFileOf = (dir: string): string => join(dir, 'runs');
export const locksDirOf = (dir: string): string => join(dir, 'locks');
const scriptOf = (dir: string): string => join(dir, 'task.sh');

export const uptimeMs = (): number => Math.round(uptime() * 1_000);

export interface ProgramWish {
  readonly durationMs: number;
  readonly fails: number;
}

export const execOf = (dir: string, { durationMs, fails }: ProgramWish) => ({
  argv: ['sh', scriptOf(dir), dir, String(durationMs / 1_000), String(fails)],
  cwd: '/',
  env: { [MARK]: dir },
});

export async function furnish(dir: string): Promise<void> {
  await writeFile(runsFileOf(dir), '');
  await writeFile(scriptOf(dir), EXEC_SCRIPT);
}

type Draft = { -readonly [K in keyof ProgramRun]: ProgramRun[K] };

/** Lines that are not whole are not counted: their program was killed before it could do anything. */
export function parseRuns(text: string): ProgramRun[] {
  const runs = new Map<string, Draft>();
  for (const line of text.split('\n')) {
    const words = line.split(' ');
    const [what = '', kind = '', taskId = '', attempt, runId = '', host = '', pid, atMs, last] =
      words;
    if (what === 'gone' && words.length === 3) {
      // A worker program has ended, and with it every handler in it.
      const endedMs = Number(taskId);
      for (const run of runs.values())
        if (run.kind === 'worker' && run.pid === Number(kind)) run.endedMs ??= endedMs;
      continue;
    }
    if (words.length !== 9 || (kind !== 'exec' && kind !== 'worker')) continue;
    const key = `${runId} ${pid}`;
    if (what === 'start') {
      // A run that is started twice in one process must not hide behind its first start.
      const taken = runs.has(key) ? `${key} again ${runs.size}` : key;
      runs.set(taken, {
        kind,
        ...{ taskId, attempt: Number(attempt), runId, host, pid: Number(pid) },
        ...{ startedMs: Number(atMs), lockWasBusy: last === 'busy' },
        ...{ endedMs: undefined, exitCode: undefined },
      });
    } else if (what === 'end') {
      const run = runs.get(key);
      if (run === undefined) continue;
      run.endedMs = Number(atMs);
      run.exitCode = Number(last);
    }
  }
  return endKilledCommands([...runs.values()]);
}

/** A command that was killed says nothing; that the next one found the lock free says that it had ended. */
function endKilledCommands(runs: readonly Draft[]): ProgramRun[] {
  const order = [...runs].sort((a, b) => a.startedMs - b.startedMs);
  for (const [i, run] of order.entries()) {
    if (run.kind !== 'exec' || run.endedMs !== undefined) continue;
    const next = order.find(
      (other, j) => j > i && other.taskId === run.taskId && !other.lockWasBusy,
    );
    run.endedMs = next?.startedMs;
  }
  return order;
}

/** Processes of commands of this run that live now. */
export async function commandsAlive(dir: string): Promise<{ pid: number; taskId: string }[]> {
  const found: { pid: number; taskId: string }[] = [];
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    let variables: string[];
    try {
      variables = (await readFile(`/proc/${name}/environ`, 'utf8')).split('\0');
    } catch {
      continue; // gone, or not ours to read
    }
    if (!variables.includes(`${MARK}=${dir}`)) continue;
    const id = variables.find((text) => text.startsWith('COVEY_TASK_ID='))?.slice(14);
    found.push({ pid: Number(name), taskId: id ?? '' });
  }
  return found;
}
