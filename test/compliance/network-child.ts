/**
 * A peer in a process of its own, for tests that kill it. Says where it listens on its standard output, admits
 * the PeerId of its second argument, answers every frame with itself, and stops its network at the end of its
 * standard input; then it must exit by itself, as nothing is left open.
 */
import { loadOrCreateIdentity } from '../../src/host/identity.ts';
import { createLibp2pNetwork } from '../../src/host/libp2p-network.ts';

const [keyPath = '', friend = ''] = process.argv.slice(2);
const loaded = await loadOrCreateIdentity(keyPath);
if (!loaded.ok) throw new Error(loaded.error);
const { identity, privateKey } = loaded.value;
const network = await createLibp2pNetwork({ privateKey });
network.admit(friend);
const result = await network.start(
  {
    opened: () => undefined,
    closed: () => undefined,
    frame: (from, frameClass, bytes) => {
      network.send(from, frameClass, bytes);
    },
    admitRequest: () => Promise.resolve(undefined),
    news: () => undefined,
  },
  { host: '127.0.0.1', port: 0 },
);
if (!result.ok) throw new Error(result.detail);
process.stdin.on('end', () => {
  network.stop().catch((error: unknown) => {
    process.stderr.write(`${String(error)}\n`);
    process.exitCode = 1;
  });
});
process.stdin.resume();
process.stdout.write(`${JSON.stringify({ peerId: identity.peerId, port: result.port })}\n`);
