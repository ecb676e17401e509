/** `covey access`: a member that is cut off for good, what it says of itself, and one that is let in without a secret. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { COVEY } from '../../src/testnet/paths.ts';
import type { TestNetwork } from '../../src/testnet/testnet.ts';
import { TEST_MS } from './mesh.ts';
import { upNetwork } from './setting.ts';

/** The program itself, at one peer. */
async function covey(network: TestNetwork, index: number, ...words: string[]) {
  const argv = ['--socket', network.socket(index), ...words];
  const child = spawn(COVEY, argv, { stdio: ['ignore', 'pipe', 'pipe'] });
  const said = { stdout: '', stderr: '', code: 0 };
  for (const stream of ['stdout', 'stderr'] as const)
    child[stream].setEncoding('utf8').on('data', (text: string) => {
      said[stream] += text;
    });
  const [code] = await once(child, 'close');
  return { ...said, code: Number(code) };
}

test(
  'a revoked member is cut off, says so, takes nothing, and never returns',
  async () => {
    const network = await upNetwork({ peers: 4 });
    const long = { exec: { argv: ['sleep', '600'] } };
    const receipts = await Promise.all(
      [1, 2, 3, 4].map((i) => network.call(i, 'task.submit', long)),
    );
    expect(receipts.every(({ ok }) => ok)).toBe(true);
    const active = async (index: number) => {
      const answer = await network.call(index, 'system.status', {});
      return answer.ok ? answer.value.tasks.active : -1;
    };
    await network.waitFor('each runs one', async () => (await active(4)) === 1);
    expect((await covey(network, 1, 'access', 'revoke', 'test1')).stderr).toContain(
      "Peer test1 cannot be revoked: it is this peer.\n  To take this host out, run 'covey leave'",
    );
    expect(await covey(network, 1, 'access', 'revoke', 'test4')).toMatchObject({
      code: 0,
      stdout: 'test4 was revoked: it is cut off, and never returns\n',
    });
    await network.waitFor('the others see it removed', async () => {
      const views = await Promise.all([1, 2, 3].map((i) => network.members(i)));
      return views.every(
        (view) => view?.find(({ name }) => name === 'test4')?.status === 'removed',
      );
    });
    const told = await network.waitFor('it knows', async () => {
      const answer = await network.call(4, 'system.status', {});
      return answer.ok && answer.value.expelled !== undefined && answer.value;
    });
    expect(told.expelled).toMatchObject({ kind: 'revoked', by: 'test1' });
    expect((await covey(network, 4, 'status')).stdout).toMatch(/member: +revoked by test1, \d{4}-/);
    // What it ran is ended there, and it takes nothing more; what it holds can be looked at.
    expect(told.tasks.active).toBe(0);
    const run = await covey(network, 4, 'run', '--', 'true');
    expect(run).toMatchObject({
      code: 125,
      stderr: expect.stringContaining('was revoked by test1'),
    });
    expect((await covey(network, 4, 'tasks')).code).toBe(0);
    const doctor = await covey(network, 4, 'doctor');
    expect(doctor.stdout).toContain('this peer is no member of its mesh: revoked by test1');
    expect((await covey(network, 4, 'invite')).stderr).toContain('was revoked by test1');
    // Not by a restart, not by a token, not by an entry.
    await network.kill(4);
    await network.restart(4);
    const invited = await network.call(2, 'access.invite', {});
    const token = invited.ok ? invited.value.token : '';
    expect(await network.call(4, 'mesh.join', { token })).toMatchObject({
      ok: false,
      error: { code: 'REVOKED', help: expect.stringContaining('a new data directory') },
    });
    const { peerId } = network.identity(4);
    expect(await network.call(2, 'access.allow', { peer: peerId })).toMatchObject({
      ok: false,
      error: { code: 'REVOKED' },
    });
    expect((await covey(network, 3, 'access', 'list')).stdout).toMatch(
      /test4 +revoked +\S+ +test1/,
    );
    expect((await covey(network, 2, 'access', 'revoke', peerId)).stdout).toBe(
      'test4 was revoked before, by test1\n',
    );
  },
  TEST_MS,
);

test(
  'covey access allow admits one PeerId; its token lets nobody else in',
  async () => {
    const network = await upNetwork({ peers: 3, join: false });
    const { peerId } = network.identity(2);
    expect((await covey(network, 1, 'access', 'allow', 'test2')).stderr).toContain(
      'A PeerId is wanted',
    );
    const allowed = await covey(network, 1, 'access', 'allow', peerId, '--name', 'two');
    expect(allowed).toMatchObject({ code: 0, stdout: expect.stringMatching(/^covey1-\S+\n$/) });
    const token = allowed.stdout.trim();
    expect((await covey(network, 1, 'access', 'list')).stdout).toMatch(/two +admitted/);
    const other = await covey(network, 3, 'join', token);
    expect(other).toMatchObject({ code: 1, stderr: expect.stringContaining('token') });
    expect((await covey(network, 2, 'join', token)).stdout).toMatch(/^joined mesh/);
    expect((await covey(network, 2, 'join', token)).stdout).toMatch(/^already a member/);
  },
  TEST_MS,
);
