/**
 * `npm start [-- DIR] [-- --json]`: five daemons hash every file of a directory while one of them is killed,
 * and the result is held against plain xargs. Exit code 0 only if nothing was lost, doubled or different and
 * work of the killed daemon was retaken. Ends, also by Ctrl-C, with no process, socket or directory left.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { constants, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { messageOf } from '../base/errors.ts';
import { err, ok, type Result } from '../base/result.ts';
import { Display, differencesText, summaryOf } from './demo-display.ts';
import { DemoRun, type Outcome } from './demo-run.ts';
import { listFiles } from './demo-work.ts';
import { endAllNetworks } from './exit-cleanup.ts';
import { DEFAULT_DEMO_DIR } from './paths.ts';

const USAGE = `usage: npm start [-- DIR] [-- --json]
  DIR     hash every regular file below it (default: node_modules)
  --json  print the report as one line of JSON
`;
const SETTLE_POLL_MS = 20;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

interface Line {
  readonly dir: string;
  readonly isDefault: boolean;
  readonly json: boolean;
}

function parseLine(argv: readonly string[]): Result<Line | 'help', string> {
  try {
    const { values, positionals } = parseArgs({
      // npm hands a second `--` through.
      args: argv.filter((word) => word !== '--'),
      allowPositionals: true,
      options: { json: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } },
    });
    if (values.help === true) return ok('help');
    if (positionals.length > 1) return err('one directory at most');
    const [named] = positionals;
    // npm starts scripts in the package's directory, and tells where the user was.
    const from = process.env.INIT_CWD ?? process.cwd();
    const dir = named === undefined ? DEFAULT_DEMO_DIR : resolve(from, named);
    return ok({ dir, isDefault: named === undefined, json: values.json === true });
  } catch (thrown) {
    return err(messageOf(thrown));
  }
}

/** The signal that ended it; never resolves without one. */
function interrupted(): Promise<NodeJS.Signals> {
  return new Promise((resolveWith) => {
    for (const signal of SIGNALS) process.on(signal, resolveWith);
  });
}

const isPending = (promise: Promise<unknown>): Promise<boolean> =>
  Promise.race([promise.then(() => false), delay(SETTLE_POLL_MS, true)]);

function tell(outcome: Outcome, json: boolean): number {
  const { report, complaints, differences } = outcome;
  process.stdout.write(json ? `${JSON.stringify(report)}\n` : summaryOf(report));
  for (const complaint of complaints) process.stderr.write(`failed: ${complaint}\n`);
  process.stderr.write(differencesText(differences));
  return complaints.length === 0 ? 0 : 1;
}

async function perform(line: Line): Promise<number> {
  const files = await listFiles(line.dir, line.isDefault);
  if (!files.ok) {
    process.stderr.write(`${files.error}\n`);
    return 2;
  }
  const signal = interrupted();
  const dir = await mkdtemp(join(tmpdir(), 'covey-demo-'));
  // Node's compile cache would stay in the temporary directory; this way it goes with ours.
  process.env.NODE_COMPILE_CACHE = join(dir, 'compile-cache');
  const display = new Display(process.stderr.isTTY === true);
  const run = new DemoRun(files.value, dir, display);
  const result = run.run().then(
    (outcome) => ({ kind: 'outcome', outcome }) as const,
    (thrown: unknown) => ({ kind: 'failed', message: messageOf(thrown) }) as const,
  );
  const end = await Promise.race([
    result,
    signal.then((name) => ({ kind: 'signal', name }) as const),
  ]);
  display.stop();
  run.abort();
  await endAllNetworks(0);
  // A network on its way up is not known before its first files exist: end it until the run has given up.
  while (await isPending(result)) await endAllNetworks(0);
  await rm(dir, { recursive: true, force: true, maxRetries: 5 });
  if (end.kind === 'outcome') return tell(end.outcome, line.json);
  if (end.kind === 'signal') return 128 + constants.signals[end.name];
  process.stderr.write(`failed: ${end.message}\n`);
  return 1;
}

async function main(): Promise<number> {
  const line = parseLine(process.argv.slice(2));
  if (line.ok && line.value !== 'help') return await perform(line.value);
  (line.ok ? process.stdout : process.stderr).write(line.ok ? USAGE : `${line.error}\n${USAGE}`);
  return line.ok ? 0 : 2;
}

process.exitCode = await main();
// Whatever still holds the event loop after a signal has nobody left to work for.
process.exit();
