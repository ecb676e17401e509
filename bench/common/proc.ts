/** What the kernel says of processes and of the loopback device: the texts of /proc, read and understood. */
import { readFile } from 'node:fs/promises';

/** USER_HZ: what /proc counts in, 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

/** Of /proc/PID/stat: user and system time of all threads. The name in parentheses may hold blanks and `)`. */
export function cpuSecondsOf(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Of /proc/PID/stat: the same of children that have ended and were waited for. */
export function childSecondsOf(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[13]) + Number(fields[14])) / TICKS_PER_SECOND;
}

/** Of /proc/PID/status. */
export function residentMiBOf(status: string): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) / 1_024;
}

/** Of /proc/net/dev: bytes sent over the loopback device. */
export function loopbackBytesOf(dev: string): number {
  const line = dev.split('\n').find((one) => one.trim().startsWith('lo:')) ?? '';
  const fields = line.slice(line.indexOf(':') + 1);
  return Number(fields.trim().split(/\s+/)[8]);
}

const statOf = (pid: number): Promise<string> => readFile(`/proc/${pid}/stat`, 'utf8');

export const cpuSeconds = async (pid: number): Promise<number> => cpuSecondsOf(await statOf(pid));

export async function residentMiB(pid: number): Promise<number> {
  return residentMiBOf(await readFile(`/proc/${pid}/status`, 'utf8'));
}

/** Of this network namespace. */
export async function loopbackBytes(): Promise<number> {
  return loopbackBytesOf(await readFile('/proc/net/dev', 'utf8'));
}

export async function loadAverage(): Promise<number> {
  return Number((await readFile('/proc/loadavg', 'utf8')).split(' ')[0]);
}
