/** docs/protocol.md, second part, is enough to write a peer: one that was written from it alone joins a mesh. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { COVEY_NODE } from '../../src/testnet/paths.ts';
import { Mesh, SETTLE_MS, TEST_MS } from './mesh.ts';

const PEER = fileURLToPath(new URL('./protocol-peer.mjs', import.meta.url));
/** None of the network's own addresses. */
const PEER_HOST = '127.77.0.99';

let mesh: Mesh;
beforeAll(async () => {
  mesh = await Mesh.up(2);
}, TEST_MS);
afterAll(async () => {
  await mesh.end();
}, TEST_MS);

test(
  'a stranger with a token and the document becomes a member, reads a task and hands one in',
  async () => {
    const client = await mesh.client(1);
    const { id } = await client.submit({ exec: { argv: ['echo', 'hello'] } });
    expect(await client.waitFor(id)).toMatchObject({ state: 'completed' });
    const invited = await mesh.network.call(1, 'access.invite', {});
    if (!invited.ok) throw new Error(invited.error.message);
    const { stdout } = await promisify(execFile)(
      COVEY_NODE,
      [PEER, invited.value.token, PEER_HOST, id],
      { timeout: TEST_MS },
    );
    const saw = JSON.parse(stdout) as { peer_id: string; task: string };
    expect(saw).toMatchObject({
      members: ['test1', 'test2'],
      read: [{ argv: ['echo', 'hello'], state: 'completed', stdout: 'hello\n' }],
      unknown: 'METHOD_NOT_FOUND',
      put: [{ existed: false }, { existed: false }],
    });
    // What the mesh has of it: the member that left, and its task, which was run.
    await expect
      .poll(async () => await mesh.network.members(2), { timeout: SETTLE_MS })
      .toContainEqual(expect.objectContaining({ peer_id: saw.peer_id, status: 'left' }));
    const done = await mesh.until(2, saw.task, 'completed');
    expect(done).toMatchObject({ stdout: 'from scratch\n', attempts: [{ outcome: 'completed' }] });
  },
  TEST_MS,
);
