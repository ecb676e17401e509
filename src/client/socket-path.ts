/** Where a daemon of this user keeps its data and its socket: one decision for client, CLI and daemon. */
import { posix } from 'node:path';

export type Environment = Readonly<Record<string, string | undefined>>;

/** A variable counts when it is set and not empty. */
const setting = (env: Environment, name: string): string | undefined => env[name] || undefined;

/** The XDG specification: a relative path is invalid and to be ignored. */
function xdgDirectory(env: Environment, name: string): string | undefined {
  const value = setting(env, name);
  return value !== undefined && posix.isAbsolute(value) ? value : undefined;
}

/** `COVEY_DATA_DIR`, else /var/lib/covey for root, else `$XDG_STATE_HOME/covey`. */
export function defaultDataDir(env: Environment, uid: number): string {
  const named = setting(env, 'COVEY_DATA_DIR');
  if (named !== undefined) return posix.resolve(named);
  if (uid === 0) return '/var/lib/covey';
  const home = setting(env, 'HOME') ?? '/';
  const state = xdgDirectory(env, 'XDG_STATE_HOME') ?? posix.join(home, '.local', 'state');
  return posix.join(state, 'covey');
}

/** `COVEY_SOCKET`, else /run/covey for root, else `$XDG_RUNTIME_DIR/covey`, else the data directory. */
export function defaultSocketPath(
  env: Environment,
  uid: number,
  dataDir: string = defaultDataDir(env, uid),
): string {
  const named = setting(env, 'COVEY_SOCKET');
  if (named !== undefined) return posix.resolve(named);
  if (uid === 0) return '/run/covey/covey.sock';
  const runtime = xdgDirectory(env, 'XDG_RUNTIME_DIR');
  return runtime === undefined
    ? posix.join(dataDir, 'covey.sock')
    : posix.join(runtime, 'covey', 'covey.sock');
}
