/** Nodes of upring, each a program of its own with that package in its directory. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { COVEY_NODE } from '../../src/testnet/paths.ts';
import { firstLine, parseJson } from '../common/launch.ts';
import type { Backend } from './backend.ts';

/** upring tells a member that left from a dead one no more than its events do: both are `peerDown`. */
const PROGRAM = `
const upring = require('upring');
const [, , name, host, port, ...base] = process.argv;
const say = (event, id) => process.stdout.write(JSON.stringify({ event, id }) + '\\n');
const node = upring({ base, host, port: Number(port), logLevel: 'fatal',
  hashring: { host, port: Number(port), joinTimeout: 10000 } });
node.on('peerUp', (peer) => say('alive', peer.id));
node.on('peerDown', (peer) => say('dead', peer.id));
node.on('error', (error) => process.stderr.write(String(error) + '\\n'));
process.on('SIGINT', () => node.close(() => process.exit(0)));
say('ready', name);
`;

/** Both are compiled for the host, and do not compile for this Node: what they do, in Node's own words. */
export const STAND_INS: Readonly<Record<string, string>> = {
  'msgpack/lib/msgpack.js': `
exports.pack = (value) => Buffer.from(JSON.stringify(value));
exports.unpack = (bytes) => JSON.parse(bytes.toString());
`,
  'farmhash/index.js': `
const { createHash } = require('node:crypto');
exports.hash32 = (text) => createHash('md5').update(String(text)).digest().readUInt32BE(0);
exports.fingerprint32 = exports.hash32;
`,
};

export async function writeProgram(dir: string): Promise<void> {
  await writeFile(join(dir, 'node.cjs'), PROGRAM);
}

export const upring = (packageDir: string): Backend => {
  const names = new Map<string, string>();
  return {
    name: 'upring',
    leftStatus: 'dead',
    dialsFromItsAddress: false,
    tokens: async ({ place }, count) =>
      Array.from({ length: count }, () => `${place.host}:${place.port}`),
    start: async ({ owned, views }, place, token) => {
      const { name, host, port, dir } = place;
      names.set(`${host}:${port}`, name);
      const args = [join(packageDir, 'node.cjs'), name, host, String(port)];
      if (token !== undefined) args.push(token);
      const launched = await owned.launch([COVEY_NODE, ...args], { logFile: join(dir, 'log') });
      launched.onLine((line) => {
        const { event, id } = parseJson(line) ?? {};
        const subject = names.get(String(id));
        if (subject === undefined) return;
        if (event === 'alive' || event === 'dead') views.note(name, subject, event);
      });
      const ready = await firstLine(launched, name, (line) =>
        parseJson(line)?.event === 'ready' ? true : undefined,
      );
      return { place, launched, readyMs: ready.atMs };
    },
  };
};
