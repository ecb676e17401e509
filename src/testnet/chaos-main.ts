/**
 * `npm run chaos`: five real daemons under load while kills, stops, pauses, partitions, full disks and wiped stores
 * strike; everything is counted from outside. Ends, also by Ctrl-C, with no process, mount, socket or directory left,
 * but for the logs of a run that failed.
 */
import { appendFile, mkdtemp } from 'node:fs/promises';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '../base/errors.ts';
import { type ChaosOptions, EXIT, parseOptions, USAGE } from './chaos-options.ts';
import { verdictText } from './chaos-report.ts';
import { ChaosRun } from './chaos-run.ts';
import { endAllNetworks } from './exit-cleanup.ts';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const SETTLE_POLL_MS = 20;

/** The signal that ended it; never resolves without one. */
function interrupted(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of SIGNALS) process.on(signal, resolve);
  });
}

const isPending = (promise: Promise<unknown>): Promise<boolean> =>
  Promise.race([promise.then(() => false), delay(SETTLE_POLL_MS, true)]);

async function perform(options: ChaosOptions): Promise<number> {
  const signal = interrupted();
  const dir = await mkdtemp(join(tmpdir(), 'covey-chaos-'));
  // Node's compile cache would stay in the temporary directory; this way it goes with ours.
  process.env.NODE_COMPILE_CACHE = join(dir, 'compile-cache');
  const startedMs = performance.now();
  const say = (text: string): void => {
    const line = `${((performance.now() - startedMs) / 1_000).toFixed(1).padStart(7)} s  ${text}\n`;
    process.stderr.write(line);
    // Of a line that cannot be kept nobody needs to hear: it was shown.
    void appendFile(join(dir, 'story'), line).catch(() => undefined);
  };
  const { json, keep, ...drawn } = options;
  say(`chaos ${JSON.stringify(drawn)}`);
  const run = new ChaosRun(options, dir, say);
  const result = run.run().then(
    (outcome) => ({ kind: 'outcome', outcome }) as const,
    (thrown: unknown) => ({ kind: 'failed', message: messageOf(thrown) }) as const,
  );
  const end = await Promise.race([
    result,
    signal.then((name) => ({ kind: 'signal', name }) as const),
  ]);
  run.abort();
  const isBad =
    end.kind === 'failed' || (end.kind === 'outcome' && end.outcome.report.outcome !== 'held');
  if (end.kind === 'signal') {
    // A network on its way up is not known before its first files exist: end it until the run has given up.
    while (await isPending(result)) await endAllNetworks(0);
  }
  await run.cleanUp(keep || isBad);
  const kept = keep || isBad ? dir : null;
  if (kept !== null) process.stderr.write(`logs, story and verdict are kept in ${kept}\n`);
  if (end.kind === 'signal') return 128 + constants.signals[end.name];
  if (end.kind === 'failed') {
    process.stderr.write(`failed: ${end.message}\n`);
    if (json) process.stdout.write(`${JSON.stringify({ outcome: 'crash', ...drawn, kept })}\n`);
    return EXIT.crash;
  }
  const { outcome } = end;
  if (json) process.stdout.write(`${JSON.stringify({ ...outcome.report, kept })}\n`);
  (json ? process.stderr : process.stdout).write(verdictText(outcome));
  return EXIT[outcome.report.outcome];
}

async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2));
  if (options.ok && options.value !== 'help') return await perform(options.value);
  (options.ok ? process.stdout : process.stderr).write(
    options.ok ? USAGE : `${options.error}\n${USAGE}`,
  );
  return options.ok ? EXIT.held : EXIT.usage;
}

process.exitCode = await main();
// Whatever still holds the event loop after a signal has nobody left to work for.
process.exit();
