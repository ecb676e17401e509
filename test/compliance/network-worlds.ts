/** The two worlds that the Network suite runs in. */
import { mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SeededRandom } from '../../src/base/random.ts';
import { loadOrCreateIdentity } from '../../src/host/identity.ts';
import { createLibp2pNetwork } from '../../src/host/libp2p-network.ts';
import type { Network } from '../../src/ports/network.ts';
import { SimClock } from '../../src/sim/clock.ts';
import { createSimIdentity, simPeerId } from '../../src/sim/identity.ts';
import { SimNetworkHub } from '../../src/sim/network-hub.ts';
import type { NetworkWorld } from './network-bench.ts';

/** Short against every time limit of the port, long against a turn of the event loop. */
const MDNS_PORT_FIRST = 20_000;
const MDNS_PORTS = 10_000;
const POLL_MS = 2;

export function simWorld(): NetworkWorld {
  const clock = new SimClock();
  const hub = new SimNetworkHub({
    clock,
    random: new SeededRandom('compliance'),
    isLocalHost: (host) => host === '127.0.0.1',
  });
  hub.hosts.set('localhost', '127.0.0.1');
  // The world must move by itself, or a condition that sends is never asked again.
  const tick = () => {
    clock.after(POLL_MS, tick);
  };
  tick();
  const networks: Network[] = [];
  return {
    create: (name) => {
      const identity = createSimIdentity(name);
      const network = hub.createNetwork(identity);
      networks.push(network);
      return Promise.resolve({ identity, network });
    },
    settle: async (condition, limitMs = 10_000) => {
      if (!(await clock.runUntil(condition, limitMs)))
        throw new Error('the condition did not hold');
    },
    silentAddress: async () => {
      const silent = hub.createNetwork(createSimIdentity('silent'));
      const result = await silent.start(
        {
          opened: () => undefined,
          closed: () => undefined,
          frame: () => undefined,
          admitRequest: () => Promise.resolve(undefined),
          news: () => undefined,
        },
        { host: '127.0.0.1', port: 0 },
      );
      if (!result.ok) throw new Error(result.detail);
      hub.partition([[simPeerId('silent')], [simPeerId('a')]]);
      return `127.0.0.1:${result.port}`;
    },
    dispose: async () => {
      const stopped = Promise.all(networks.map((network) => network.stop()));
      await clock.runFor(5_000);
      await stopped;
    },
  };
}

export interface RealWorld extends NetworkWorld {
  /** Everything any network logged. */
  readonly log: { readonly message: string; readonly fields: Readonly<Record<string, unknown>> }[];
  /** A directory for key files; removed in the end. */
  readonly directory: Promise<string>;
}

export function realWorld(): RealWorld {
  const networks: Network[] = [];
  const silent: { server: Server; sockets: Set<Socket> }[] = [];
  const directory = mkdtemp(join(tmpdir(), 'covey-network-'));
  const log: RealWorld['log'] = [];
  // Of this process alone: the port of mDNS belongs to the host.
  const mdnsPort = MDNS_PORT_FIRST + (process.pid % MDNS_PORTS);
  return {
    log,
    directory,
    create: async (name, strangerMs) => {
      const loaded = await loadOrCreateIdentity(join(await directory, name));
      if (!loaded.ok) throw new Error(loaded.error);
      const { identity, privateKey } = loaded.value;
      const network = await createLibp2pNetwork({
        privateKey,
        ...(strangerMs === undefined ? {} : { strangerMs }),
        mdnsPort,
        log: (message, fields) => log.push({ message, fields }),
      });
      networks.push(network);
      return { identity, network };
    },
    settle: async (condition, limitMs = 10_000) => {
      const deadlineMs = performance.now() + limitMs;
      while (!condition()) {
        if (performance.now() > deadlineMs) throw new Error('the condition did not hold');
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      }
    },
    silentAddress: async () => {
      const sockets = new Set<Socket>();
      const server = createServer((socket) => {
        sockets.add(socket);
        socket.on('error', () => socket.destroy());
      });
      silent.push({ server, sockets });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      return `127.0.0.1:${(server.address() as AddressInfo).port}`;
    },
    dispose: async () => {
      await Promise.all(networks.map((network) => network.stop()));
      for (const { server, sockets } of silent) {
        for (const socket of sockets) socket.destroy();
        await new Promise((resolve) => server.close(resolve));
      }
      await rm(await directory, { recursive: true, force: true });
    },
  };
}
