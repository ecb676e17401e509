/** `coveyd`: flags, signals, the ready line, exit codes. */
import { execFile } from 'node:child_process';
import { enableCompileCache } from 'node:module';

const { Command, CommanderError } = await import('commander');
const { mergeConfig, readConfigFile, splitPair } = await import('./host/config.ts');
const { StreamLogger } = await import('./host/logger.ts');
const { defaultDataDir, defaultSocketPath } = await import('./client/socket-path.ts');
const { VERSION } = await import('./version.ts');
const { join, resolve } = await import('node:path');

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;

function fail(sentence: string, code: number): never {
  process.stderr.write(`coveyd: ${sentence}\n`);
  process.exit(code);
}

const collect = (value: string, previous: string[]): string[] => [...previous, value];

const command = new Command('coveyd')
  .description('The daemon of a Covey mesh. Without arguments: a working mesh of one.')
  .version(VERSION)
  .option('--data-dir <dir>', 'where key, peer book and records lie')
  .option('--bind <host:port>', 'address to listen on; port 0 picks one and keeps it')
  .option('--advertise <addr>', 'address that others reach this peer at (repeatable)', collect, [])
  .option('--socket <path>', 'control socket')
  .option('--join <token>', 'join a mesh at the start (a token of `covey invite`)')
  .option('--config <file>', 'configuration file (YAML or JSON)')
  .option('--name <name>', "name of this peer; default: the host's")
  .option('--label <k=v>', 'label of this peer (repeatable)', collect, [])
  .option('--slots <n>', 'commands at once; default: the number of cores')
  .option('--log-level <level>', 'debug, info, warn or error')
  .option('--log-format <format>', 'json or text')
  .option('--shutdown-timeout <duration>', 'how long running commands may go on at a stop (25s)')
  .option('--allow-root', 'run commands even as root')
  .exitOverride()
  .configureOutput({
    outputError: (text) => process.stderr.write(text.replace(/^error:/, 'coveyd:')),
  });

try {
  command.parse();
} catch (thrown) {
  if (thrown instanceof CommanderError) process.exit(thrown.exitCode === 0 ? 0 : EXIT_USAGE);
  throw thrown;
}
if (command.args.length > 0) fail(`unexpected argument '${command.args[0]}'`, EXIT_USAGE);

interface Flags {
  dataDir?: string;
  bind?: string;
  advertise: string[];
  socket?: string;
  join?: string;
  config?: string;
  name?: string;
  label: string[];
  slots?: string;
  logLevel?: string;
  logFormat?: string;
  shutdownTimeout?: string;
  allowRoot?: boolean;
}
const flags = command.opts<Flags>();
const configPath = flags.config ?? process.env.COVEY_CONFIG;
const file = configPath === undefined ? undefined : await readConfigFile(configPath);
if (file !== undefined && !file.ok) fail(file.error, EXIT_USAGE);
const merged = mergeConfig({
  ...(file === undefined || configPath === undefined
    ? {}
    : { file: { path: configPath, values: file.value } }),
  env: process.env,
  flags: {
    bind: flags.bind,
    advertise: flags.advertise.length > 0 ? flags.advertise : undefined,
    name: flags.name,
    labels: flags.label.length > 0 ? Object.fromEntries(flags.label.map(splitPair)) : undefined,
    slots: flags.slots,
    log_level: flags.logLevel,
    log_format: flags.logFormat,
    shutdown_timeout: flags.shutdownTimeout,
    allow_root: flags.allowRoot,
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
const dataDir = resolve(flags.dataDir ?? defaultDataDir(process.env, uid));
const socket =
  flags.socket === undefined ? defaultSocketPath(process.env, uid, dataDir) : resolve(flags.socket);
const log = new StreamLogger({
  level: config.log_level,
  format: config.log_format,
  write: (line) => process.stderr.write(line),
});
// A reader of the log that went away must not end the daemon.
process.stderr.on('error', () => undefined);
process.stdout.on('error', () => undefined);

// In our own directory: the default one lies in the shared temporary directory, where anybody may leave code for us.
enableCompileCache(join(dataDir, 'compile-cache'));
const { startDaemon } = await import('./daemon.ts');
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
  const joined = await daemon.peer.membership.join(token);
  if (joined.ok)
    log.log('info', 'joined', { mesh: joined.value.meshId, members: joined.value.members });
  else
    log.log('error', 'the mesh could not be joined', {
      code: joined.error.code,
      why: joined.error.message,
    });
}
