/** `covey invite --merge` on a member of one mesh, `covey mesh merge` on one of another: real daemons, two and two. */
import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { COVEY } from '../../src/testnet/paths.ts';
import { TEST_MS } from './mesh.ts';
import { upNetwork } from './setting.ts';

async function covey(args: readonly string[], stdin = '') {
  const child = spawn(COVEY, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  child.stdin.end(stdin);
  const code = new Promise((resolve) => child.on('exit', resolve));
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return { code: await code, out, err };
}

test(
  'two meshes with work in both become one; what runs goes on, and each runs for the other',
  async () => {
    const network = await upNetwork({ peers: 4, slots: 2, join: false });
    const at = (index: number): string[] => ['--socket', network.socket(index)];
    for (const [inviter, newcomer] of [
      [1, 2],
      [3, 4],
    ] as const) {
      const invited = await covey(['invite', ...at(inviter)]);
      expect(await covey(['join', '-', ...at(newcomer)], invited.out)).toMatchObject({ code: 0 });
    }
    const plain = await covey(['invite', ...at(1)]);
    const foreign = await covey(['join', '-', ...at(3)], plain.out);
    expect(foreign).toMatchObject({ code: 1, err: expect.stringContaining('covey mesh merge') });
    const wrong = await covey(['mesh', 'merge', '-', ...at(3)], plain.out);
    expect(wrong).toMatchObject({ code: 1, err: expect.stringContaining('covey invite --merge') });

    const running = [1, 2, 3, 4].map((index) =>
      covey(['run', '--no-stdin', ...at(index), '--', 'sh', '-c', `sleep 4; echo ${index}`]),
    );
    const hasStarted = async (): Promise<boolean> => {
      const views = await Promise.all([network.members(1), network.members(3)]);
      const active = views.flatMap((view) => view?.map(({ load }) => load.active) ?? []);
      return active.reduce((sum, one) => sum + one, 0) === 4;
    };
    await network.waitFor('all four run', hasStarted);
    const token = await covey(['invite', '--merge', ...at(2)]);
    expect(token).toMatchObject({ code: 0, out: expect.stringMatching(/^covey1-\S+\n$/) });
    const merged = await covey(['mesh', 'merge', '-', '--json', ...at(4)], token.out);
    expect(merged).toMatchObject({ code: 0, err: '' });
    const { mesh_id: meshId } = JSON.parse(merged.out);
    expect(JSON.parse(merged.out)).toMatchObject({ members: 4, cut_off: [], already: false });
    await network.waitFor('all see four', async () => {
      const views = await Promise.all([1, 2, 3, 4].map((index) => network.members(index)));
      return views.every((view) => view?.filter(({ status }) => status === 'alive').length === 4);
    });
    const again = await covey(['mesh', 'merge', '-', ...at(4)], token.out);
    expect(again).toMatchObject({ code: 0, out: `one mesh already: ${meshId}, 4 members\n` });
    for (const index of [1, 2, 3, 4]) {
      const status = await network.call(index, 'system.status', {});
      expect(status).toMatchObject({ ok: true, value: { mesh_id: meshId } });
    }
    const ended = await Promise.all(running);
    expect(ended).toEqual([1, 2, 3, 4].map((index) => ({ code: 0, out: `${index}\n`, err: '' })));

    // All of one old mesh are gone, and one of the other starts anew: it knows whom it belongs to.
    for (const index of [1, 2, 3]) await network.kill(index, 'SIGKILL');
    for (const index of [1, 3]) await network.restart(index);
    await network.waitFor('three of four', async () => {
      const view = await network.members(1);
      return view?.filter(({ status }) => status === 'alive').length === 3;
    });
    const run = await covey(['run', '--no-stdin', ...at(1), '--', 'echo', 'together']);
    // It may say that it waits: the fourth is dead, and the others started a moment ago.
    expect(run).toMatchObject({ code: 0, out: 'together\n' });
  },
  TEST_MS,
);
