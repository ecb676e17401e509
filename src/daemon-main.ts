/** `coveyd`: flags, signals, the ready line, exit codes. */
import { execFile } from 'node:child_process';
import { enableCompileCache } from 'node:module';

const { Command, CommanderError, Option } = await import('commander');
const { LogTap } = await import('./base/log-tap.ts');
const { CONFIG_FORMS } = await import('./api/config.ts');
const { mergeConfig, readConfigFile, splitPair, toFlag } = await import('./host/config.ts');
const { StreamLogger } = await import('./host/logger.ts');
const { makePrivateDirectory, prepareDataDirectory } = await import('./host/private-directory.ts');
const { defaultDataDir, defaultSocketPath } = await import('./client/socket-path.ts');
const { VERSION } = await import('./version.ts');
const { join, resolve } = await import('node:path');

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;

function fail(sentence: string, code: number): never {
  process.stderr.write(`coveyd: ${sentence}\n`);
  process.exit(code);
}

const collect = (value: string, previous: string[] = []): string[] => [...previous, value];

/** Listed first; the other keys are for those who read docs/operations.md. */
const MAIN_KEYS = new Set([
  'data_dir',
  'bind',
  'advertise',
  'socket',
  'name',
  'slots',
  'log_level',
  'log_format',
  'shutdown_timeout',
  'allow_root',
]);

const SOURCES = [
  'Every flag but --config, --join and --label is also a key of the configuration file (--foo-bar is foo_bar)',
  'and a variable (COVEY_FOO_BAR; COVEY_CONFIG and COVEY_JOIN as well). A flag goes before a variable, a variable before the file.',
];

const command = new Command('coveyd')
  .description(
    `The daemon of a Covey mesh. Without arguments: a working mesh of one.

${SOURCES.join(' ')}`,
  )
  .version(VERSION)
  .option('--config <file>', 'configuration file (YAML or JSON)')
  .option(
    '--join <token>',
    "join a mesh once it is ready (a token of 'covey invite'); tried again while the inviter is out of reach, until the token has expired; what cannot succeed is said in the log",
  )
  .option('--label <k=v>', 'one label of this peer (repeatable)', collect)
  .exitOverride()
  .showHelpAfterError("  See 'coveyd --help'.")
  .configureOutput({
    outputError: (text) => process.stderr.write(text.replace(/^error:/, 'coveyd:')),
  });

const keyOptions = CONFIG_FORMS.map(({ key, kind, value, description }) => {
  const placeholder = kind === 'boolean' ? '[true|false]' : `<${value}>`;
  const option = new Option(`${toFlag(key)} ${placeholder}`, description);
  if (kind === 'list') option.argParser(collect);
  if (!MAIN_KEYS.has(key)) option.helpGroup('Further keys:');
  return { key, option };
});
for (const { option } of keyOptions) command.addOption(option);

try {
  command.parse();
} catch (thrown) {
  if (thrown instanceof CommanderError) process.exit(thrown.exitCode === 0 ? 0 : EXIT_USAGE);
  throw thrown;
}
if (command.args.length > 0) fail(`unexpected argument '${command.args[0]}'`, EXIT_USAGE);

const flags = command.opts<{ config?: string; join?: string; label?: string[] }>();
const keyFlags = Object.fromEntries(
  keyOptions.map(({ key, option }) => [
    key,
    command.getOptionValue(option.attributeName()) as unknown,
  ]),
);
const configPath = flags.config ?? process.env.COVEY_CONFIG;
const file = configPath === undefined ? undefined : await readConfigFile(configPath);
if (file !== undefined && !file.ok) fail(file.error, EXIT_USAGE);
const merged = mergeConfig({
  ...(file === undefined || configPath === undefined
    ? {}
    : { file: { path: configPath, values: file.value } }),
  env: process.env,
  flags: {
    ...keyFlags,
    ...(flags.label === undefined
      ? {}
      : { labels: Object.fromEntries(flags.label.map(splitPair)) }),
  },
});
if (!merged.ok) fail(merged.error, EXIT_USAGE);
const config = merged.value;
const uid = process.getuid?.() ?? 0;
if (uid === 0 && config.exec && !config.allow_root) {
  fail(
    'refusing to run commands as root; use another user, --allow-root, or `exec: false`',
    EXIT_FAILED,
  );
}
const dataDir = resolve(config.data_dir ?? defaultDataDir(process.env, uid));
const socket = resolve(config.socket ?? defaultSocketPath(process.env, uid, dataDir));
const stream = new StreamLogger({
  level: config.log_level,
  format: config.log_format,
  write: (line) => process.stderr.write(line),
});
const log = new LogTap(stream, config.log_level, () => Date.now());
// A reader of the log that went away must not end the daemon.
process.stderr.on('error', () => undefined);
process.stdout.on('error', () => undefined);

// Before anything is made in it: whatever makes it on its way leaves it as wide as the umask says.
const made = await prepareDataDirectory(dataDir);
if (!made.ok) fail(`the data directory ${dataDir} cannot be used: ${made.error}`, EXIT_FAILED);
if (made.value === 'shared') {
  log.log(
    'warn',
    'the data directory is open to other users, and not changed: not all in it is ours',
    {
      data_dir: dataDir,
    },
  );
}
// In our own directory: the default one lies in the shared temporary directory, where anybody may leave code for us.
await makePrivateDirectory(join(dataDir, 'compile-cache'));
enableCompileCache(join(dataDir, 'compile-cache'));
const { startDaemon } = await import('./daemon.ts');
const { joinPatiently } = await import('./daemon-join.ts');
const started = await startDaemon({ config, dataDir, socket, log }).catch((thrown: unknown) => {
  fail(thrown instanceof Error ? thrown.message : String(thrown), EXIT_FAILED);
});
if (!started.ok) fail(started.error, EXIT_FAILED);
const daemon = started.value;

let signals = 0;
const onSignal = (how: 'stop' | 'leave'): void => {
  signals += 1;
  if (signals > 1) process.exit(EXIT_FAILED);
  log.log('info', how === 'stop' ? 'stopping' : 'leaving the mesh');
  void (how === 'stop' ? daemon.stop() : daemon.leave());
};
process.on('SIGTERM', () => onSignal('stop'));
process.on('SIGINT', () => onSignal('leave'));
process.on('SIGHUP', () => log.log('info', 'SIGHUP: the configuration is read at the start only'));
void daemon.ended.then((code) => process.exit(code));

process.stdout.write(`${JSON.stringify(daemon.ready)}\n`);
log.log('info', 'ready', {
  peer: daemon.ready.peer_id,
  addresses: daemon.ready.addresses.join(','),
  data_dir: join(dataDir),
});
if (process.env.NOTIFY_SOCKET !== undefined) {
  execFile('systemd-notify', [`--pid=${process.pid}`, '--ready'], (error) => {
    if (error !== null)
      log.log('warn', 'systemd could not be told that the daemon is ready', { why: error.message });
  });
}
const token = flags.join ?? process.env.COVEY_JOIN;
if (token !== undefined) {
  await joinPatiently(daemon.peer, token, log);
}
