/** Network and pids of the bench's own, where it may have them. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/**
 * The words to put before a command. Its own network: no other traffic on the loopback device, and no port is taken. Its
 * own pids: whatever happens, all of it ends.
 */
export async function namespaces(): Promise<[string, ...string[]] | undefined> {
  const user = process.getuid?.() === 0 ? [] : ['--map-root-user'];
  const flags = [...user, '--net', '--pid', '--fork', '--kill-child', '--mount-proc'];
  try {
    await run('unshare', [...flags, 'ip', 'link', 'set', 'lo', 'up']);
    return ['unshare', ...flags, 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh'];
  } catch {
    return undefined; // not allowed here
  }
}
