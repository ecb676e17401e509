/**
 * Ownership of processes by pid *and* start time, read from /proc: a pid alone may name somebody else's
 * process by the time a signal is sent. Nothing here ever ends a process by its name.
 */
import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';

export interface ProcessRef {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat: clock ticks between the boot of the host and the start of the process. */
  readonly startTicks: string;
}

interface ProcessStat extends ProcessRef {
  readonly state: string;
  readonly parentPid: number;
}

const POLL_MS = 20;

async function statOf(pid: number): Promise<ProcessStat | undefined> {
  let text: string;
  try {
    text = await readFile(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined; // the process is gone
  }
  // The command's name, in parentheses, may itself hold spaces and parentheses.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const [state, parent] = fields;
  const startTicks = fields[19];
  if (state === undefined || parent === undefined || startTicks === undefined) return undefined;
  return { pid, startTicks, state, parentPid: Number(parent) };
}

/** The process that has this pid now. */
export async function refOf(pid: number): Promise<ProcessRef | undefined> {
  const stat = await statOf(pid);
  return stat && { pid, startTicks: stat.startTicks };
}

export type RunState = 'running' | 'stopped' | 'dead';

export async function runStateOf(ref: ProcessRef): Promise<RunState> {
  const stat = await statOf(ref.pid);
  if (!stat || stat.startTicks !== ref.startTicks) return 'dead';
  if (stat.state === 'Z' || stat.state === 'X') return 'dead';
  return stat.state === 'T' || stat.state === 't' ? 'stopped' : 'running';
}

/** False when the process is gone. */
export async function signalProcess(ref: ProcessRef, signal: NodeJS.Signals): Promise<boolean> {
  if ((await runStateOf(ref)) === 'dead') return false;
  try {
    process.kill(ref.pid, signal);
    return true;
  } catch {
    return false; // ended between the look and the signal
  }
}

/** Waits until the processes are gone; answers those that are not. */
export async function waitUntilGone(
  refs: readonly ProcessRef[],
  timeoutMs: number,
): Promise<readonly ProcessRef[]> {
  const deadlineMs = performance.now() + timeoutMs;
  for (;;) {
    const states = await Promise.all(refs.map(runStateOf));
    const left = refs.filter((_, i) => states[i] !== 'dead');
    if (left.length === 0 || performance.now() >= deadlineMs) return left;
    await delay(POLL_MS);
  }
}

/** Every process of this host that `pids` started, and that those started, as far as parents still live. */
export async function descendantsOf(pids: readonly number[]): Promise<readonly ProcessRef[]> {
  const names = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const stats = (await Promise.all(names.map((name) => statOf(Number(name))))).filter(
    (stat) => stat !== undefined,
  );
  const found = new Map<number, ProcessRef>();
  let parents = new Set(pids);
  while (parents.size > 0) {
    const children = stats.filter((stat) => parents.has(stat.parentPid) && !found.has(stat.pid));
    for (const { pid, startTicks } of children) found.set(pid, { pid, startTicks });
    parents = new Set(children.map((child) => child.pid));
  }
  return [...found.values()];
}

/** Processes whose argument list holds these arguments one after the other. */
export async function processesWithArguments(
  args: readonly string[],
): Promise<readonly ProcessRef[]> {
  const wanted = `\0${args.join('\0')}\0`;
  const found: ProcessRef[] = [];
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) continue;
    try {
      if (!`\0${await readFile(`/proc/${name}/cmdline`, 'utf8')}`.includes(wanted)) continue;
    } catch {
      continue; // gone, or not ours to read
    }
    const ref = await refOf(Number(name));
    if (ref) found.push(ref);
  }
  return found;
}

/** TERM (and CONT, or a stopped process would never hear it), patience, then KILL of them and all they started. */
export async function endProcesses(refs: readonly ProcessRef[], graceMs: number): Promise<void> {
  const alive: ProcessRef[] = [];
  for (const ref of refs) if ((await runStateOf(ref)) !== 'dead') alive.push(ref);
  const started = await descendantsOf(alive.map((ref) => ref.pid));
  if (graceMs > 0) {
    for (const ref of alive) {
      await signalProcess(ref, 'SIGTERM');
      await signalProcess(ref, 'SIGCONT');
    }
    await waitUntilGone(alive, graceMs);
  }
  const late = await descendantsOf(alive.map((ref) => ref.pid));
  // The daemons first: while one lives it could start another child.
  for (const ref of [...alive, ...started, ...late]) await signalProcess(ref, 'SIGKILL');
  await waitUntilGone([...alive, ...started, ...late], KILLED_GONE_MS);
}

/** A killed process is gone as soon as the kernel has torn it down; a large one takes a while. */
const KILLED_GONE_MS = 5_000;
