/** Names in addresses, and the places of `peers`, with real daemons on loopback addresses of their own. */
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { openConnection } from '../../src/client/index.ts';
import type { Running } from './daemons.ts';
import { TEST_MS } from './mesh.ts';
import { atEnd, daemons } from './setting.ts';

/** Of this process alone, as in daemons.ts. */
const hostOf = (net: number): string =>
  `127.${net}.${(process.pid >> 8) & 0xff}.${process.pid & 0xff}`;

async function connectionTo(daemon: Running) {
  const opened = await openConnection(String(daemon.ready.socket));
  if (!opened.ok) throw new Error(opened.error.message);
  atEnd(async () => opened.value.close());
  return opened.value;
}

async function tokenOf(daemon: Running): Promise<string> {
  const invited = await (await connectionTo(daemon)).call('access.invite', {});
  if (!invited.ok) throw new Error(invited.error.message);
  return invited.value.token;
}

test(
  'a name that is advertised stays a name; members that have all moved find one another by `peers`',
  async () => {
    const made = await daemons();
    const named = ['--bind', '0.0.0.0:0', '--advertise', 'localhost:0'];
    const first = await made.start('first', named);
    const [name] = first.ready.addresses as string[];
    expect(name).toMatch(/^localhost:[1-9]\d*$/);
    const second = await made.start('second', ['--name', 'second']);
    const there = await connectionTo(second);
    const joined = await there.call('mesh.join', { token: await tokenOf(first) });
    expect(joined).toMatchObject({ ok: true, value: { members: 2 } });
    const view = await there.call('members.list', {});
    const addresses = view.ok ? view.value.members.flatMap((member) => member.addresses) : [];
    expect(addresses).toContain(name);

    // Neither is where the other knows it to be.
    await first.kill('SIGTERM');
    await second.kill('SIGTERM');
    const moved = await made.start('first', ['--bind', `${hostOf(74)}:0`]);
    const [address = ''] = moved.ready.addresses as string[];
    const peers = ['--peers', 'dnsaddr:covey.invalid', '--peers', address];
    const back = await made.start('second', ['--bind', `${hostOf(73)}:0`, ...peers]);
    const client = await connectionTo(back);
    const isWhole = async (): Promise<boolean> => {
      const list = await client.call('members.list', {});
      const members = list.ok ? list.value.members : [];
      return members.some(({ self, addresses: at }) => !self && at[0] === address);
    };
    const endMs = performance.now() + TEST_MS / 2;
    while (!(await isWhole())) {
      if (performance.now() > endMs) throw new Error('not found in time');
      await delay(50); // between two looks
    }
  },
  TEST_MS,
);
