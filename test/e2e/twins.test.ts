/** Copies of a whole data directory: beside the daemon that goes on with it, after it, and put back as a backup. */
import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { type Connection, openConnection } from '../../src/client/index.ts';
import type { Running } from './daemons.ts';
import { TEST_MS } from './mesh.ts';
import { atEnd, daemons } from './setting.ts';

async function connectionTo(daemon: Running): Promise<Connection> {
  const opened = await openConnection(String(daemon.ready.socket));
  if (!opened.ok) throw new Error(opened.error.message);
  atEnd(async () => opened.value.close());
  return opened.value;
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const endMs = performance.now() + TEST_MS / 2;
  while (!(await holds())) {
    if (performance.now() > endMs) throw new Error(`not in time: ${what}`);
    await delay(50); // between two looks
  }
}

/** As this daemon sees it. */
async function linkedTo(at: Connection, peerId: unknown): Promise<boolean> {
  const view = await at.call('members.list', {});
  if (!view.ok) return false;
  return view.value.members.some(
    ({ peer_id: id, status, stopping }) => id === peerId && status === 'alive' && !stopping,
  );
}

async function tokenOf(at: Connection): Promise<string> {
  const invited = await at.call('access.invite', {});
  if (!invited.ok) throw new Error(invited.error.message);
  return invited.value.token;
}

test(
  'a copy of a data directory beside its daemon is turned away and says so; put back as a backup it is mended',
  async () => {
    const made = await daemons();
    const first = await made.start('first', ['--name', 'first']);
    const at = await connectionTo(first);
    const joined = await made.start('second', ['--name', 'second', '--join', await tokenOf(at)]);
    const { peer_id: peerId } = joined.ready;
    await until('it has joined', () => linkedTo(at, peerId));
    await joined.kill('SIGTERM');
    const dirOf = (name: string): string => join(made.dir, name);
    await cp(dirOf('second'), dirOf('copy'), { recursive: true });
    await rm(join(dirOf('copy'), 'lock'), { force: true });
    await cp(dirOf('copy'), dirOf('backup'), { recursive: true });

    const second = await made.start('second', ['--name', 'second']);
    await until('it is back', () => linkedTo(at, peerId));
    const copy = await made.start('copy', ['--name', 'copy']);
    expect(copy.ready.peer_id).toBe(peerId);
    const ended = await copy.ended;
    expect(ended.code).toBe(1);
    expect(ended.stderr).toMatch(
      /another daemon with the key of this one runs at 127\.\S+: one of/,
    );
    const refused = 'two daemons run with one key: the later one was refused';
    await first.logged(refused);
    // The one that was there works on, under its name.
    const view = await at.call('members.list', {});
    const names = view.ok ? view.value.members.map(({ name, status }) => `${name} ${status}`) : [];
    expect(names.sort()).toEqual(['first alive', 'second alive']);
    const there = await connectionTo(second);
    const submitted = await there.call('task.submit', { exec: { argv: ['true'] } });
    expect(submitted).toMatchObject({ ok: true, value: { degraded: false } });

    // The whole directory from a backup, of before what it did since: the same peer, and another store.
    const status = await there.call('system.status', {});
    await second.kill('SIGKILL');
    await rm(dirOf('second'), { recursive: true });
    await cp(dirOf('backup'), dirOf('second'), { recursive: true });
    const back = await made.start('second', ['--name', 'second']);
    expect(back.ready.peer_id).toBe(peerId);
    await until('its store was renewed', async () => {
      // Clients are disconnected for a moment.
      const opened = await openConnection(String(back.ready.socket));
      if (!opened.ok) return false;
      const now = await opened.value.call('system.status', {});
      opened.value.close();
      const before = status.ok ? status.value.store_id : '';
      return now.ok && now.value.store?.former_store_id === before;
    });
    await until('it is a member again', () => linkedTo(at, peerId));
  },
  TEST_MS,
);
