/** What the kernel says of processes and of the loopback device, and the cut of one address. */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);
/** USER_HZ: what /proc counts in, 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;
const SINK = 'sink';
const SINK_TABLE = '100';

export async function cpuSeconds(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

export async function residentMiB(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(text)?.[1]) / 1_024;
}

/** Bytes that this network namespace sent over its loopback device. */
export async function loopbackBytes(): Promise<number> {
  const text = await readFile('/proc/net/dev', 'utf8');
  const line = text.split('\n').find((one) => one.trim().startsWith('lo:')) ?? '';
  return Number(
    line
      .slice(line.indexOf(':') + 1)
      .trim()
      .split(/\s+/)[8],
  );
}

const ip = (...args: string[]): Promise<unknown> => run('ip', args);

/**
 * In a network namespace of our own, packets of one address can be sent to a device that nobody reads: they vanish, and
 * nobody hears a refusal. The rule for local addresses has to come later for that.
 */
export async function prepareCuts(): Promise<boolean> {
  try {
    await ip('tuntap', 'add', SINK, 'mode', 'tun');
    await ip('link', 'set', SINK, 'up');
    await ip('route', 'add', 'default', 'dev', SINK, 'table', SINK_TABLE);
    await ip('rule', 'add', 'pref', '10', 'lookup', 'local');
    await ip('rule', 'del', 'pref', '0');
    return true;
  } catch {
    return false; // no such device here: the figure is null
  }
}

export async function cut(host: string): Promise<void> {
  await ip('rule', 'add', 'pref', '5', 'to', host, 'lookup', SINK_TABLE);
  await ip('rule', 'add', 'pref', '6', 'from', host, 'lookup', SINK_TABLE);
}

export async function mend(host: string): Promise<void> {
  await ip('rule', 'del', 'pref', '5', 'to', host);
  await ip('rule', 'del', 'pref', '6', 'from', host);
}
