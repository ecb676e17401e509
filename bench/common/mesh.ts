/** A mesh of daemons for a bench: default settings, nothing between them, and one of them profiled when asked. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { logFileOf } from '../../src/testnet/down.ts';
import { COVEY_NODE } from '../../src/testnet/paths.ts';
import { TestNetwork, type TestNetworkOptions } from '../../src/testnet/testnet.ts';

const DAEMON = fileURLToPath(new URL('../../src/daemon-main.ts', import.meta.url));

export interface MeshOptions extends Pick<TestNetworkOptions, 'peers' | 'slots' | 'config'> {
  readonly dir: string;
  /** The daemons listen for an inspector; bin/coveyd has no way to say so. */
  readonly inspected?: boolean;
}

/** Without relays, which would copy every byte in this process, and without the preset of test networks. */
export function meshUp({ inspected = false, ...options }: MeshOptions): Promise<TestNetwork> {
  return TestNetwork.up({
    ...options,
    relays: false,
    preset: false,
    // Whoever ends this process ends the daemons: src/testnet/exit-cleanup.ts, at its exit.
    onSignals: false,
    ...(inspected
      ? { coveyd: [COVEY_NODE, '--max-semi-space-size=4', '--inspect=127.0.0.1:0', DAEMON] }
      : {}),
  });
}

/** Where its inspector listens, as its log says. */
export async function inspectorOf(network: TestNetwork, index: number): Promise<string> {
  const log = await readFile(logFileOf(network.dir, index), 'utf8');
  const url = /Debugger listening on (ws:\S+)/.exec(log)?.[1];
  if (url === undefined) throw new Error(`peer ${index} has no inspector`);
  return url;
}

/** Sockets lie in the data directories, whose path must be short. */
export const meshDir = (dir: string, run: number): string => join(dir, `m${run}`);
