/**
 * A store that is wiped while it holds very many tasks: five real daemons on loopback, tasks that wait, the store of one
 * removed behind a SIGKILL. How long until there are again as many copies as there should be, and what the wiped daemon
 * has received and sent for it. Prints one line of JSON.
 *
 *   npm run bench:rebuild -- [TASKS [PEERS]]     (34,000 and 5: each store holds some 20,000)
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import { connect } from '../src/client/index.ts';
import { TestNetwork } from '../src/testnet/testnet.ts';

const [tasks = 34_000, peers = 5] = process.argv.slice(2).map(Number);
const VICTIM = 2;
const COPIES = 3;
const BULK = 1_000;
const WAIT_MS_MAX = 600_000;

async function held(network: TestNetwork, index: number): Promise<number> {
  const answer = await network.call(index, 'system.status', {}, 20_000);
  return answer.ok ? answer.value.tasks.held : 0;
}

const allHeld = async (network: TestNetwork): Promise<number> => {
  const counts = await Promise.all(network.indices.map((index) => held(network, index)));
  return counts.reduce((sum, count) => sum + count, 0);
};

async function bytesOf(network: TestNetwork) {
  const stats = await network.call(VICTIM, 'members.stats', {}, 20_000);
  const classes = stats.ok ? Object.values(stats.value.traffic?.since_start ?? {}) : [];
  return {
    received: classes.reduce((sum, one) => sum + one.bytes_received, 0),
    sent: classes.reduce((sum, one) => sum + one.bytes_sent, 0),
  };
}

const network = await TestNetwork.up({ peers, slots: 1 });
try {
  const client = await connect({ socket: network.socket(1) });
  const submitMs = performance.now();
  for (let i = 0; i < tasks; i += BULK) {
    const some = Array.from({ length: Math.min(BULK, tasks - i) }, () => ({
      exec: { argv: ['true'] },
      delay_ms: 7_200_000,
    }));
    const refused = (await client.submitBulk(some)).find((one) => one instanceof Error);
    if (refused !== undefined) throw refused;
  }
  const submittedSeconds = (performance.now() - submitMs) / 1_000;
  await client.close();
  const copies = Math.min(COPIES, peers) * tasks;
  await network.waitFor('all copies are there', async () => (await allHeld(network)) >= copies);
  const before = await held(network, VICTIM);
  await network.kill(VICTIM);
  await rm(join(network.dataDir(VICTIM), 'store'), { recursive: true });
  const startMs = performance.now();
  await network.restart(VICTIM);
  while ((await allHeld(network)) < copies) {
    if (performance.now() - startMs > WAIT_MS_MAX) throw new Error('the copies do not come back');
    await delay(250);
  }
  const seconds = (performance.now() - startMs) / 1_000;
  const line = {
    tasks,
    peers,
    submitted_s: Math.round(submittedSeconds * 10) / 10,
    held_before: before,
    whole_after_s: Math.round(seconds * 10) / 10,
    held_after: await held(network, VICTIM),
    bytes: await bytesOf(network),
  };
  process.stdout.write(`${JSON.stringify(line)}\n`);
} finally {
  await network.down({ graceMs: 0 });
}
