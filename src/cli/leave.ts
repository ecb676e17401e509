/** `covey leave`: the daemon hands everything over, leaves and ends. */
import { EXIT } from './exit-codes.ts';
import { delayFlag, jsonFlag } from './flags.ts';
import type { Verb } from './verb.ts';

/** A daemon that was given no time limit keeps its own; the answer is waited for well beyond it. */
const ANSWER_MS = 600_000;
const IDS_SHOWN_MAX = 20;

export const verb: Verb = {
  configure(command) {
    command.option(
      '--timeout <duration>',
      'for running commands to end, and again for the copies to be handed over; longer: a stop',
      delayFlag,
    );
    jsonFlag(command);
  },
  async run(cli, command) {
    const { timeout } = command.opts<{ readonly timeout?: number }>();
    const answer = await cli.call(
      'mesh.leave',
      timeout === undefined ? {} : { timeout_ms: timeout },
      { timeoutMs: (timeout ?? 0) + ANSWER_MS },
    );
    if (!answer.ok) return cli.fail(answer.error);
    const { left, only_here: onlyHere } = answer.value;
    if (cli.options.json === true) await cli.json(answer.value);
    else if (left) await cli.print('left\n');
    if (left) return EXIT.ok;
    await cli.say(`the daemon stopped without leaving; ${onlyHere.length} tasks lie only there`);
    for (const id of onlyHere.slice(0, IDS_SHOWN_MAX)) await cli.io.stderr.line(`  ${id}`);
    if (onlyHere.length > IDS_SHOWN_MAX) {
      await cli.io.stderr.line(
        `  … and ${onlyHere.length - IDS_SHOWN_MAX} more (--json lists 1,000)`,
      );
    }
    return EXIT.failure;
  },
};
