/** The cut of one address, in a network namespace of our own. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);
const SINK = 'sink';
const SINK_TABLE = '100';

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
