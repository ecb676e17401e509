/** What an operator does first on real hosts: bind to everything, invite, start in any order, look at the files. */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { connect, openConnection } from '../../src/client/index.ts';
import { reachableHosts } from '../../src/host/interfaces.ts';
import { COVEYD } from '../../src/testnet/paths.ts';
import type { Running } from './daemons.ts';
import { TEST_MS } from './mesh.ts';
import { atEnd, daemons } from './setting.ts';

async function open(daemon: Running) {
  const opened = await openConnection(String(daemon.ready.socket));
  if (!opened.ok) throw new Error(opened.error.message);
  atEnd(async () => opened.value.close());
  return opened.value;
}

test(
  'a daemon on 0.0.0.0 tells others the addresses of this host, or refuses to invite',
  async () => {
    const made = await daemons();
    const everywhere = await made.start('everywhere', ['--bind', '0.0.0.0:0']);
    const hosts = reachableHosts('0.0.0.0');
    const told = (everywhere.ready.addresses as string[]).map((text) => text.replace(/:\d+$/, ''));
    expect(told).toEqual(hosts.length === 0 ? ['0.0.0.0'] : hosts);
    const invited = await (await open(everywhere)).call('access.invite', {});
    expect(invited.ok ? 'invited' : invited.error.code).toBe(
      hosts.length === 0 ? 'NO_ADDRESS' : 'invited',
    );
    const nowhere = ['--bind', '0.0.0.0:0', '--advertise', '0.0.0.0:1'];
    const refused = await (await open(await made.start('nowhere', nowhere))).call(
      'access.invite',
      {},
    );
    expect(refused).toMatchObject({
      error: { code: 'NO_ADDRESS', help: expect.stringContaining('--advertise') },
    });
  },
  TEST_MS,
);

test(
  'with --join the inviter may come later; every member logs who was admitted, and by whom',
  async () => {
    const made = await daemons();
    const first = await made.start('first');
    const [address] = first.ready.addresses as string[];
    const invited = await (await open(first)).call('access.invite', {});
    if (!invited.ok || address === undefined) throw new Error('no token');
    await first.kill('SIGKILL');
    const second = await made.start('second', ['--join', invited.value.token, '--name', 'beta']);
    const connection = await open(second);
    await second.logged('the mesh could not be joined yet');
    const again = await made.start('first', ['--bind', address, '--name', 'alpha']);
    for (;;) {
      const view = await connection.call('members.list', {});
      if (view.ok && view.value.members.length === 2) break;
      await delay(50); // the test's own time limit ends this
    }
    const { stderr } = await second.kill('SIGTERM');
    expect(stderr).toMatch(/WARN +the mesh could not be joined yet.*JOIN_FAILED/);
    expect(stderr).not.toContain('ERROR');
    expect(stderr).toMatch(/INFO +joined/);
    const inviter = await again.kill('SIGTERM');
    const id = String(second.ready.peer_id);
    expect(inviter.stderr).toMatch(new RegExp(`a peer was admitted name=beta peer=${id} by=alpha`));
  },
  TEST_MS,
);

test(
  'its own files are private whatever the umask, which is that of the commands',
  async () => {
    const made = await daemons();
    const underUmask = ['/bin/sh', '-c', 'umask 022; exec "$@"', 'sh', COVEYD];
    const daemon = await made.start('wide', [], {}, underUmask);
    const covey = await connect({ socket: String(daemon.ready.socket) });
    atEnd(() => covey.close());
    const run = async (argv: string[], stdin = '') => {
      const { id } = await covey.submit({ exec: { argv, stdin } });
      return (await covey.waitFor(id)).stdout;
    };
    expect(await run(['sh', '-c', 'umask'])).toBe('0022\n');
    expect(await run(['cat'], 'input')).toBe('input');
    const dir = join(made.dir, 'wide');
    const found = await readdir(dir, { recursive: true });
    expect(found.length).toBeGreaterThan(8);
    const open: string[] = [];
    for (const path of ['.', ...found]) {
      // Node's own, in a directory that nobody else may enter.
      if (path.startsWith('compile-cache/')) continue;
      const { mode } = await stat(join(dir, path)).catch(() => ({ mode: 0 }));
      if ((mode & 0o077) !== 0) open.push(`${(mode & 0o777).toString(8)} ${path}`);
    }
    expect(open).toEqual([]);
    const socket = await stat(String(daemon.ready.socket));
    expect(socket.mode & 0o777).toBe(0o600);
  },
  TEST_MS,
);
