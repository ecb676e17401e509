/** `covey access` against a control server on a real Unix socket, with a scripted daemon behind it. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ControlHost } from '../support/control-host.ts';
import { covey } from './cli-harness.ts';

let host: ControlHost;

beforeEach(async () => {
  host = await ControlHost.start({ script: () => undefined });
});
afterEach(async () => {
  await host.stop();
});

const run = (argv: readonly string[], stdin = '') => covey(argv, { socket: host.socket, stdin });

describe('covey access', () => {
  it('revokes by name, allows by PeerId, and says what is missing', async () => {
    expect(await run(['access', 'revoke', 'nobody'])).toMatchObject({
      exit: 1,
      stderr: "covey access: There is no member 'nobody'.\n  'covey members' lists them.\n",
    });
    expect((await run(['access', 'allow'])).stderr).toContain('access allow wants a peer');
    expect((await run(['access', 'list', 'one'])).exit).toBe(2);
    const id = '12D3KooWfake';
    const entry = { admitted_by: id, admitted_at: '2026-01-01T00:00:00Z', revoked: false };
    host.backend.entries = [
      { ...entry, peer_id: id, name: 'one' },
      { ...entry, peer_id: 'x-void', name: 'two', void: true, barred_by: id, barred_at: 'then' },
      { ...entry, peer_id: 'x-out', name: 'one', revoked: true, barred_by: id, barred_at: 'then' },
    ];
    const { stdout } = await run(['access', 'list']);
    expect(stdout).toMatch(/two +void +then +one/);
    expect(stdout).toMatch(/one +revoked +then +one/);
    expect(await run(['access', 'revoke', 'one'])).toMatchObject({
      exit: 0,
      stdout: 'one was revoked: it is cut off, and never returns\n',
    });
    expect((await run(['access', 'revoke', 'x-out'])).stdout).toBe(
      'one was revoked before, by one\n',
    );
    expect(await run(['access', 'allow', id, '--name', 'three'])).toMatchObject({
      exit: 0,
      stdout: 'covey1-known\n',
      stderr: '',
    });
  });
});

describe('covey mesh merge', () => {
  it('takes its token as join does, and says whom it would cut off', async () => {
    const invited = await run(['invite', '--merge']);
    expect(await run(['mesh', 'merge', '-'], invited.stdout)).toMatchObject({
      exit: 0,
      stdout: 'merged: mesh fake-mesh, 4 members\n',
    });
    const cuts = await run(['mesh', 'merge', 'other']);
    expect(cuts).toMatchObject({ exit: 1, stdout: '' });
    expect(cuts.stderr).toContain('would cut off old');
    expect(cuts.stderr).toContain('--yes');
    expect(await run(['mesh', 'merge', 'other', '--yes'])).toMatchObject({
      exit: 0,
      stdout: 'merged: mesh fake-mesh, 4 members\ncut off: old\n',
    });
    const { stdout } = await run(['mesh', 'merge', 'covey1-fake-token', '--json']);
    expect(JSON.parse(stdout)).toEqual({
      ...{ mesh_id: 'fake-mesh', members: 4, cut_off: [], already: false },
    });
    expect((await run(['mesh', 'split', 'x'])).exit).toBe(2);
    expect((await run(['mesh', 'merge'])).exit).toBe(2);
  });
});
