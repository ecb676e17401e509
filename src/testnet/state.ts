/**
 * DIR/testnet.json: what a test network is made of, so that any shell can find it and `down` can end it
 * after a crash of its supervisor. Written before a process is started where possible and after each start;
 * the window between is covered by looking for daemons by their data directory (down.ts).
 */
import { randomBytes } from 'node:crypto';
import { link, lstat, mkdir, mkdtemp, readFile, rename, unlink, writeFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { messageOf } from '../base/errors.ts';
import { err, ok, type Result } from '../base/result.ts';

/** sun_path holds 108 bytes, the last of them zero. */
const SOCKET_PATH_BYTES_MAX = 107;
const STATE_FILE = 'testnet.json';
/** Peers have addresses 127.77.N.1 … 254; a host hardly carries more than a few dozen daemons. */
export const PEERS_MAX = 64;

const processSchema = z.object({ pid: z.int().positive(), startTicks: z.string() });

const peerSchema = z.object({
  index: z.int().min(1).max(PEERS_MAX),
  name: z.string(),
  host: z.string(),
  port: z.int(),
  relayPort: z.int(),
  dataDir: z.string(),
  socket: z.string(),
  /** The daemon as last started; absent before. */
  process: processSchema.optional(),
});
export type PeerState = z.output<typeof peerSchema>;

const stateSchema = z.object({
  version: z.literal(1),
  dir: z.string(),
  /** Whether `up` made DIR, and `down` therefore removes it. */
  madeDir: z.boolean(),
  /** Where sockets lie when DIR is too long a path for them. */
  socketDir: z.string().optional(),
  /** The process that holds the relays. */
  owner: processSchema,
  /** The supervisor's control socket; absent when a program holds the network itself. */
  hubSocket: z.string().optional(),
  peers: z.array(peerSchema),
});
export type NetworkState = z.output<typeof stateSchema>;

export const stateFileOf = (dir: string): string => join(dir, STATE_FILE);

/** Where the CLI keeps its network when no --dir is given: one per user. */
export function defaultDir(env: NodeJS.ProcessEnv = process.env): string {
  const stateHome = env.XDG_STATE_HOME;
  if (stateHome) return join(stateHome, 'covey-testnet');
  return join(env.TMPDIR || tmpdir(), `covey-testnet-${userInfo().uid}`);
}

export const resolveDir = (dir: string | undefined): string => resolve(dir ?? defaultDir());

/** The network of a directory; undefined when there is none. */
export async function readState(dir: string): Promise<Result<NetworkState | undefined, string>> {
  const file = stateFileOf(dir);
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (thrown) {
    const code = thrown instanceof Error && 'code' in thrown ? thrown.code : undefined;
    if (code === 'ENOENT' || code === 'ENOTDIR') return ok(undefined);
    return err(`${file} cannot be read: ${messageOf(thrown)}`);
  }
  try {
    return ok(stateSchema.parse(JSON.parse(text)));
  } catch (thrown) {
    return err(`${file} is not a record of a test network: ${messageOf(thrown)}`);
  }
}

/** Replaces the record as a whole: a reader never sees half of it. */
export async function writeState(state: NetworkState): Promise<void> {
  await rename(await writeDraft(state), stateFileOf(state.dir));
}

async function writeDraft(state: NetworkState): Promise<string> {
  const draft = `${stateFileOf(state.dir)}.${randomBytes(4).toString('hex')}`;
  await writeFile(draft, `${JSON.stringify(state, null, 2)}\n`, { mode: 0o600 });
  return draft;
}

/**
 * Claims DIR for one network by putting the record there whole: of two that try at once, one fails, and at no
 * moment is there a claim without a record by which `down` could end it.
 */
export async function claimDir(
  draftOf: (madeDir: boolean) => NetworkState,
  dir: string,
): Promise<Result<NetworkState, string>> {
  const madeDir = (await mkdir(dir, { recursive: true, mode: 0o700 })) !== undefined;
  const status = await lstat(dir);
  // A directory of a predictable name in /tmp may have been put there by somebody else.
  if (!status.isDirectory() || status.uid !== userInfo().uid) {
    return err(`${dir} is not a directory of yours`);
  }
  const state = draftOf(madeDir);
  const file = stateFileOf(dir);
  const draft = await writeDraft(state);
  try {
    await link(draft, file);
    return ok(state);
  } catch (thrown) {
    const code = thrown instanceof Error && 'code' in thrown ? thrown.code : undefined;
    if (code !== 'EEXIST') throw thrown;
    return err(`a test network lies in ${dir}; end it with 'covey testnet down --dir ${dir}'`);
  } finally {
    await unlink(draft);
  }
}

/** A short directory for sockets when `longest` does not fit into a socket address. */
export async function socketDirFor(longest: string): Promise<string | undefined> {
  if (Buffer.byteLength(longest) <= SOCKET_PATH_BYTES_MAX) return undefined;
  const base = Buffer.byteLength(tmpdir()) > SOCKET_PATH_BYTES_MAX / 2 ? '/tmp' : tmpdir();
  return await mkdtemp(join(base, 'covey-'));
}
