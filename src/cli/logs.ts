/** `covey logs [-f] ID`: the output of a task's last attempt, stdout to stdout and stderr to stderr. */
import { Option } from 'commander';
import { OUTPUT_BYTES_MAX } from '../api/limits.ts';
import { decodeBytes } from './bytes.ts';
import type { Cli } from './context.ts';
import { EXIT } from './exit-codes.ts';
import { jsonFlag, size } from './flags.ts';
import { LogFollower, type StreamName } from './follow.ts';
import type { Verb } from './verb.ts';

interface LogsFlags {
  readonly follow?: boolean;
  readonly stream?: StreamName | 'both';
  readonly tail?: number;
}

export const verb: Verb = {
  configure(command) {
    command
      .argument('<id>', 'a task id, or six or more characters of its end')
      .option('-f, --follow', 'go on until the task is final')
      .addOption(
        new Option('--stream <name>', 'only this one').choices(['stdout', 'stderr', 'both']),
      )
      .option('--tail <size>', 'the last bytes of each stream, as 4KiB (not with -f)', size);
    jsonFlag(command);
  },
  async run(cli, command) {
    const flags = command.opts<LogsFlags>();
    if (flags.tail !== undefined && flags.tail > OUTPUT_BYTES_MAX) {
      return cli.usage('--tail: 1MiB at most');
    }
    if (flags.tail !== undefined && flags.follow === true) {
      return cli.usage('--tail and --follow exclude each other');
    }
    const id = await cli.resolveId(command.args[0] ?? '');
    if (!id.ok) return cli.fail(id.error);
    const stream = flags.stream ?? 'both';
    return flags.follow === true
      ? follow(cli, id.value, stream)
      : show(cli, id.value, stream, flags.tail);
  },
};

async function show(
  cli: Cli,
  id: string,
  stream: StreamName | 'both',
  tail: number | undefined,
): Promise<number> {
  const answer = await cli.call('task.logs', {
    id,
    stream,
    ...(tail === undefined ? {} : { tail_bytes: tail }),
  });
  if (!answer.ok) return cli.fail(answer.error);
  if (cli.options.json === true) {
    await cli.json(answer.value);
    return EXIT.ok;
  }
  const stdout = decodeBytes(answer.value.stdout);
  const stderr = decodeBytes(answer.value.stderr);
  await cli.io.stdout.write(stdout);
  await cli.io.stderr.write(stderr);
  const isEmpty = stdout.length + stderr.length === 0;
  if (answer.value.truncated && tail === undefined && !isEmpty) {
    await cli.say('the beginning is not kept any more');
  }
  return EXIT.ok;
}

async function follow(cli: Cli, id: string, stream: StreamName | 'both'): Promise<number> {
  cli.saysLostConnection();
  const json = cli.options.json === true;
  const follower = new LogFollower(cli.mesh, id, stream, {
    show: async (name, bytes) => {
      if (json) await cli.json({ stream: name, data: bytesForJson(bytes) });
      else await cli.io[name].write(bytes);
      if (cli.io.stdout.broken) follower.stop();
    },
    restarted: () => cli.say('another attempt began'),
  });
  const end = await follower.run();
  if (!end.ok) return cli.fail(end.error);
  if (json && end.value !== undefined) await cli.json({ state: end.value });
  return EXIT.ok;
}

function bytesForJson(bytes: Buffer): string | { base64: string } {
  const text = bytes.toString('utf8');
  return Buffer.from(text, 'utf8').equals(bytes) ? text : { base64: bytes.toString('base64') };
}
