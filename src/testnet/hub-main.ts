/**
 * The supervisor process, started by `covey testnet up` in a session of its own. Its one argument is JSON; it
 * prints one line when the network is up or cannot be, and lives until SIGTERM. While `up` still waits, the
 * end of stdin (the command was interrupted or killed) ends everything.
 */
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { messageOf } from '../base/errors.ts';
import { HUB_LOG } from './down.ts';
import { Hub } from './hub.ts';
import { TestNetwork } from './testnet.ts';

/** SIGTERM to the supervisor is `down`: its daemons get this long before SIGKILL. */
const DAEMON_GRACE_MS = 5_000;

const optionsSchema = z.strictObject({
  dir: z.string(),
  peers: z.int(),
  slots: z.int().optional(),
  hubSocket: z.string(),
  coveyd: z.tuple([z.string()]).rest(z.string()).optional(),
});
export type HubOptions = z.output<typeof optionsSchema>;

async function main(): Promise<void> {
  const options = optionsSchema.parse(JSON.parse(process.argv[2] ?? ''));
  process.umask(0o077); // before the first socket: whoever can write to it controls daemons
  const giveUp = () => process.kill(process.pid, 'SIGTERM');
  process.stdin.on('end', giveUp).on('error', giveUp).resume();
  // `up` may be gone by the time the line is written.
  process.stdout.on('error', () => process.stdout.destroy());
  process.stderr.on('error', () => process.stderr.destroy());
  // Nobody reads our stderr any more once `up` has returned.
  process.on('uncaughtExceptionMonitor', (error) =>
    appendFileSync(join(options.dir, HUB_LOG), `${error.stack ?? error.message}\n`),
  );
  const { slots, coveyd, ...rest } = options;
  try {
    const network = await TestNetwork.up({
      ...rest,
      signalGraceMs: DAEMON_GRACE_MS,
      ...(slots === undefined ? {} : { slots }),
      ...(coveyd === undefined ? {} : { coveyd }),
    });
    await Hub.listen(network, options.hubSocket);
  } catch (thrown) {
    process.stdout.write(`${JSON.stringify({ error: messageOf(thrown) })}\n`);
    process.exitCode = 1;
    process.stdin.destroy();
    return;
  }
  process.stdin.off('end', giveUp).destroy();
  process.stdout.end(`${JSON.stringify({ ready: true })}\n`);
}

await main();
