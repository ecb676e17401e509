/**
 * The shape of the project as tables: who may import whom, who may touch the host, and every exception with its
 * reason. "Rooms" of docs/architecture.md in a form that a test can check; an exception belongs here and nowhere else.
 */

/** A room is a folder of src/, or a file that lies directly in it. `type:` allows `import type` alone. */
const CONTRACTS = ['base', 'api', 'wire', 'ports'];
const MIDDLE = ['membership', 'ring', 'records'];
const LOGIC = [...MIDDLE, 'tasks', 'executors', 'peer', 'control'];

export const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  'version.ts': [],
  base: [],
  api: ['base'],
  wire: ['base'],
  ports: ['base'],
  membership: ['base', 'wire', 'ports', 'type:api'],
  ring: ['base', 'wire', 'ports'],
  records: ['base', 'wire', 'ports'],
  tasks: [...CONTRACTS, ...MIDDLE, 'type:executors'],
  executors: [...CONTRACTS, ...MIDDLE, 'type:tasks'],
  peer: [...CONTRACTS, ...MIDDLE, 'tasks', 'executors'],
  control: [...CONTRACTS, ...MIDDLE, 'tasks', 'executors', 'peer'],
  host: CONTRACTS,
  /** The world runs whole peers on simulated ports; it must never load a real one. */
  sim: [...CONTRACTS, ...LOGIC],
  client: ['base', 'api'],
  testnet: ['base', 'api', 'ports', 'client', 'host'],
  cli: ['base', 'api', 'client', 'testnet', 'version.ts'],
  'daemon.ts': [...CONTRACTS, ...LOGIC, 'host', 'version.ts'],
  'daemon-join.ts': ['base', 'ports', 'membership', 'peer'],
  'daemon-main.ts': ['base', 'api', 'client', 'host', 'daemon.ts', 'daemon-join.ts', 'version.ts'],
};

/** Only the simulator's own verb may load it: the other verbs start in milliseconds. */
export const SIM_IN_CLI = /^src\/cli\/sim(\.ts|\/)/;

/** Packages that a room may import; `node:` stands for all of Node's own. Rooms without an entry: none. */
export const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  base: ['@noble/hashes'],
  api: ['zod'],
  wire: ['cborg'],
  control: ['zod', 'fastest-levenshtein'],
  sim: ['@noble/hashes'],
  client: ['node:'],
  host: [
    'node:',
    'libp2p',
    '@libp2p/',
    '@chainsafe/',
    '@multiformats/',
    'it-',
    'lmdb',
    'multicast-dns',
    'yaml',
    'fastest-levenshtein',
  ],
  testnet: ['node:', 'zod', 'yaml', 'cli-progress'],
  cli: ['node:', 'commander', 'fastest-levenshtein', 'cli-progress'],
  'daemon.ts': ['node:'],
  'daemon-main.ts': ['node:', 'commander'],
};

/** Rooms that run on the host itself; all others get time, chance and the outside through ports. */
export const HOST_ROOMS = new Set([
  'host',
  'client',
  'testnet',
  'cli',
  'daemon.ts',
  'daemon-main.ts',
]);

/** Global → what to use instead. */
export const BANNED_GLOBALS: Readonly<Record<string, string>> = {
  Date: 'the Clock port; base/rfc3339.ts for text',
  performance: 'the Clock port',
  setTimeout: 'Clock.after',
  setInterval: 'Clock.after, set again by its own callback',
  setImmediate: 'the Clock port',
  clearTimeout: 'Timer.cancel',
  clearInterval: 'Timer.cancel',
  queueMicrotask: 'a promise',
  crypto: 'the Random and Identity ports, base/hash.ts',
  process: 'the Processes port, or a value passed in by daemon.ts',
  Buffer: 'Uint8Array, TextEncoder, base/hash.ts toHex',
  fetch: 'the Network port',
  globalThis: 'the port of what is wanted',
  eval: 'no code from text',
  require: 'import',
};

/** Member of a global → what to use instead. */
export const BANNED_MEMBERS: Readonly<Record<string, string>> = {
  'Math.random': 'the Random port, base/random.ts',
  'AbortSignal.timeout': 'Clock.after and an AbortController',
};

interface Exception {
  readonly rule: string;
  readonly file: string;
  readonly reason: string;
}

/** Whole files that a rule leaves alone. */
export const EXCEPTIONS: readonly Exception[] = [
  {
    rule: 'package',
    file: 'src/sim/clock.ts',
    reason: 'drains real microtasks between two simulated events with a real setImmediate',
  },
  {
    rule: 'global',
    file: 'src/sim/traps.ts',
    reason: 'replaces the forbidden globals while a world runs',
  },
  {
    rule: 'sync',
    file: 'src/host/pair-pool.ts',
    reason:
      'closes pipe ends: close of a pipe never waits, and through the thread pool it cost 75 µs a command',
  },
  {
    rule: 'sync',
    file: 'src/testnet/hub-main.ts',
    reason: 'writes its last words in uncaughtExceptionMonitor, after which nothing is awaited',
  },
  {
    rule: 'sync',
    file: 'src/testnet/testnet.ts',
    reason: "removes what is left in the 'exit' event, where nothing is awaited",
  },
];

export const FILE_LINES_MAX = 400;
export const FUNCTION_LINES_MAX = 70;

interface Raised {
  readonly file: string;
  /** Of a function; undefined: the file itself. */
  readonly functionName?: string;
  readonly lines: number;
  readonly reason: string;
}

/** Limits raised, each with its reason. */
export const RAISED: readonly Raised[] = [];

/** Where execution begins. Every other file of src/ must be reachable from one of these. */
export const ENTRY_POINTS = [
  'src/daemon-main.ts',
  'src/cli/main.ts',
  'src/testnet/hub-main.ts',
  'src/testnet/demo-main.ts',
  'src/testnet/chaos-main.ts',
  'src/testnet/chaos-worker.ts',
  'src/client/index.ts',
  'src/host/try-store.ts',
];

export const roomOf = (file: string): string => file.split('/')[1] ?? '';
export const isSource = (file: string): boolean => file.startsWith('src/');
export const isTest = (file: string): boolean => file.startsWith('test/');
export const isExcepted = (rule: string, file: string): boolean =>
  EXCEPTIONS.some((exception) => exception.rule === rule && exception.file === file);
