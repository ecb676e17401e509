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

const run = (argv: readonly string[]) => covey(argv, { socket: host.socket });

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
