/** Where a new test network lies: addresses, ports and paths of every peer. */
import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import { invariant } from '../base/errors.ts';
import { freePort } from './ports.ts';
import { refOf } from './processes.ts';
import { type NetworkState, type PeerState, socketDirFor } from './state.ts';

/**
 * Networks that run at the same time rarely share addresses, 127.77.N.1 up: while a daemon is dead its ports are
 * free, also for another network, and it could not come back.
 */
const BLOCKS = 200;
const hostOf = (block: number, index: number): string => `127.77.${block}.${index}`;

/** Nothing is made yet, but for the directory of sockets where DIR is too long a path for them. */
export async function layOut(
  dir: string,
  options: {
    readonly peers: number;
    readonly hubSocket?: string;
    readonly dataDirs?: Readonly<Record<number, string>>;
  },
): Promise<Omit<NetworkState, 'madeDir'>> {
  const owner = await refOf(process.pid);
  invariant(owner, 'this process is not in /proc');
  const dataDirs = Object.values(options.dataDirs ?? {});
  const longest = [join(dir, `peer${options.peers}`), ...dataDirs].reduce((a, b) =>
    Buffer.byteLength(b) > Buffer.byteLength(a) ? b : a,
  );
  const socketDir = await socketDirFor(join(longest, 'covey.sock'));
  const block = randomInt(BLOCKS);
  const peers: PeerState[] = [];
  for (let index = 1; index <= options.peers; index++) {
    const host = hostOf(block, index);
    const dataDir = options.dataDirs?.[index] ?? join(dir, `peer${index}`);
    peers.push({
      index,
      name: `test${index}`,
      host,
      port: await freePort(host),
      relayPort: await freePort(host),
      dataDir,
      socket:
        socketDir === undefined
          ? join(dataDir, 'covey.sock')
          : join(socketDir, `peer${index}.sock`),
    });
  }
  const { hubSocket } = options;
  return {
    version: 1,
    dir,
    owner,
    peers,
    ...(socketDir === undefined ? {} : { socketDir }),
    ...(hubSocket === undefined ? {} : { hubSocket }),
  };
}
