/** No daemon outlives the process that holds its network: not after a signal, not after an uncaught error. */

interface Cleanable {
  down(options: { readonly graceMs: number }): Promise<void>;
  downNow(): void;
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
interface Manner {
  readonly onSignals: boolean;
  readonly signalGraceMs: number;
}
const open = new Map<Cleanable, Manner>();
let installed = false;

function atExit(): void {
  for (const network of open.keys()) network.downNow();
}

function atSignal(signal: NodeJS.Signals): void {
  const due = [...open].filter(([, manner]) => manner.onSignals);
  if (due.length === 0) return;
  // Then the signal does to this process what it would have done without us.
  void Promise.allSettled(
    due.map(([network, { signalGraceMs }]) => network.down({ graceMs: signalGraceMs })),
  ).then(() => {
    uninstall();
    process.kill(process.pid, signal);
  });
}

function install(): void {
  if (installed) return;
  installed = true;
  process.on('exit', atExit);
}

function uninstall(): void {
  installed = false;
  process.off('exit', atExit);
  for (const signal of SIGNALS) process.off(signal, atSignal);
}

export function cleanUpAtExit(network: Cleanable, manner: Manner): void {
  install();
  open.set(network, manner);
  if (!manner.onSignals) return;
  for (const signal of SIGNALS) {
    if (!process.listeners(signal).includes(atSignal)) process.on(signal, atSignal);
  }
}

export function forgetAtExit(network: Cleanable): void {
  open.delete(network);
  if (open.size === 0) uninstall();
}

/** For a program that handles signals itself: ends every network that is up, or on its way up. */
export async function endAllNetworks(graceMs: number): Promise<void> {
  await Promise.allSettled([...open.keys()].map((network) => network.down({ graceMs })));
}
