/**
 * A stand-in for coveyd in tests of the test network itself: it takes the same flags, prints the same ready
 * line, and calls a member alive if that one's advertised address greets it. No mesh, no tasks.
 */
import { readFileSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { parse } from 'yaml';

const GREETING_MS = 300;
const { values } = parseArgs({
  options: {
    'data-dir': { type: 'string', default: '' },
    bind: { type: 'string', default: '' },
    advertise: { type: 'string', default: '' },
    socket: { type: 'string', default: '' },
    name: { type: 'string', default: '' },
    config: { type: 'string', default: '' },
    slots: { type: 'string' },
    'allow-root': { type: 'boolean' },
  },
});
if (process.env.FAKE_FAILS === values.name) {
  process.stderr.write('the disk is upside down\n');
  process.exit(1);
}
const config: { readonly dial_from: string } = parse(readFileSync(values.config, 'utf8'));
const book = join(dirname(values['data-dir']), 'fake-members');
await mkdir(book, { recursive: true });

const endpoint = (address: string) => {
  const [host = '', port] = address.split(':');
  return { host, port: Number(port) };
};

const greets = (address: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ ...endpoint(address), localAddress: config.dial_from });
    socket.setTimeout(GREETING_MS, () => socket.destroy());
    socket.on('data', () => {
      resolve(true);
      socket.destroy();
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => resolve(false));
  });

const addressOf = (name: string) => readFile(join(book, name), 'utf8');

async function members(): Promise<unknown[]> {
  const names = [...new Set([...(await readdir(book)), values.name])];
  return await Promise.all(
    names.map(async (name) => ({
      name,
      status: name === values.name || (await greets(await addressOf(name))) ? 'alive' : 'dead',
    })),
  );
}

const join_ = () => writeFile(join(book, values.name), values.advertise);

async function answer(method: string): Promise<unknown> {
  if (method === 'members.list') return { members: await members(), view_hash: '' };
  if (method === 'access.invite') {
    await join_();
    return { token: 'token', expires_at: '' };
  }
  if (method === 'mesh.join') await join_();
  return {};
}

const server = createServer((socket) => {
  socket.on('error', () => socket.destroy());
  socket.write('hi\n');
});
await new Promise<void>((resolve) => server.listen(endpoint(values.bind), resolve));

await rm(values.socket, { force: true });
const control = createServer((socket) => {
  createInterface({ input: socket }).on('line', async (line) => {
    const { id, method } = JSON.parse(line);
    socket.write(`${JSON.stringify({ jsonrpc: '2.0', id, result: await answer(method) })}\n`);
  });
});
await new Promise<void>((resolve) => control.listen(values.socket, resolve));
process.on('SIGTERM', () => process.exit(0));
process.stdout.write(
  `${JSON.stringify({
    event: 'ready',
    pid: process.pid,
    peer_id: `peer-${values.name}`,
    store_id: `store-${values.name}`,
    mesh_id: 'mesh',
    addresses: [values.advertise],
    socket: values.socket,
  })}\n`,
);
