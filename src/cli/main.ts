/** The process `covey`: real streams, real signals, one exit. bin/covey starts this file. */
import { isatty } from 'node:tty';
import { messageOf } from '../base/errors.ts';
import { runCli } from './app.ts';
import { EXIT } from './exit-codes.ts';
import { type CliIo, type InterruptSignal, Sink } from './io.ts';

const NOTICE_MS = 2_000;

function systemIo(): CliIo {
  return {
    env: process.env,
    uid: process.getuid?.() ?? 0,
    // Read when needed: in a directory that was removed it throws, and `covey members` does not care.
    get cwd() {
      return process.cwd();
    },
    get stdin() {
      return process.stdin;
    },
    stdinIsTerminal: isatty(0),
    stdout: new Sink(process.stdout, process.stdout.isTTY === true),
    stderr: new Sink(process.stderr, process.stderr.isTTY === true),
    noticeMs: NOTICE_MS,
    open: async (socketPath) => {
      const { openConnection } = await import('../client/connection.ts');
      return openConnection(socketPath, { clientName: 'covey' });
    },
    onInterrupt: (handler) => {
      const onInt = () => handler('SIGINT');
      const onTerm = () => handler('SIGTERM');
      const signals: readonly (readonly [InterruptSignal, () => void])[] = [
        ['SIGINT', onInt],
        ['SIGTERM', onTerm],
      ];
      for (const [signal, listener] of signals) process.on(signal, listener);
      return () => {
        for (const [signal, listener] of signals) process.off(signal, listener);
      };
    },
  };
}

async function main(): Promise<void> {
  const io = systemIo();
  let exit: number = EXIT.failure;
  try {
    exit = await runCli(process.argv.slice(2), io);
  } catch (thrown) {
    const trace = thrown instanceof Error && process.env.COVEY_DEBUG ? thrown.stack : undefined;
    await io.stderr.line(`covey: a mistake of ours: ${trace ?? messageOf(thrown)}`);
  }
  // Not left to the event loop: a stdin that never ends would keep the process. All output was waited for.
  process.exit(exit);
}

// Not behind `import.meta.main`, which a Node before 24.2 does not know: there it would do nothing, quietly.
// No module.enableCompileCache(): it saves 20 to 40 ms, and its default directory is one below /tmp, where whoever
// comes first could leave compiled code for root to run.
await main();
