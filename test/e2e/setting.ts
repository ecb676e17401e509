/** What tests with daemons or a network of their own have in common, and an end for whatever they made. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach } from 'vitest';
import { TestNetwork, type TestNetworkOptions } from '../../src/testnet/testnet.ts';
import { endWithUs } from '../support/end-with-us.ts';
import { Daemons } from './daemons.ts';
import { TEST_MS } from './mesh.ts';

const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
}, TEST_MS);

/** Done after the test, the last one first, also when it fails. */
export const atEnd = (cleanup: () => Promise<unknown>): void => {
  cleanups.push(cleanup);
};

export async function daemons(): Promise<Daemons> {
  const made = await Daemons.create();
  atEnd(() => made.end());
  return made;
}

/** With one slot on each daemon. */
export async function upNetwork(options: TestNetworkOptions): Promise<TestNetwork> {
  const scratch = await mkdtemp(join(tmpdir(), 'covey-e2e-'));
  atEnd(() => rm(scratch, { recursive: true, force: true }));
  const dir = join(scratch, 'net');
  endWithUs({ network: dir, files: scratch });
  const made = await TestNetwork.up({ slots: 1, dir, ...options });
  atEnd(() => made.down({ graceMs: 0 }));
  return made;
}
