/** `covey cancel ID…`: asks for the end of tasks, wherever they are. */
import { isFinalState } from '../api/task.ts';
import { forEachId } from './each.ts';
import { jsonFlag, quietFlag } from './flags.ts';
import type { Verb } from './verb.ts';

export const verb: Verb = {
  configure(command) {
    command
      .argument('<id...>', 'task ids, or six or more characters of their ends')
      .option('--reason <text>', 'kept with the task');
    quietFlag(jsonFlag(command));
  },
  run(cli, command) {
    const { reason } = command.opts<{ readonly reason?: string }>();
    return forEachId(cli, command.args, async (id) => {
      const answer = await cli.call('task.cancel', {
        id,
        ...(reason === undefined ? {} : { reason }),
      });
      if (!answer.ok) return answer;
      const { state } = answer.value;
      // The state is the one before; what the wish led to is for `covey wait`.
      const became = isFinalState(state) ? state : 'cancel requested';
      const line = cli.options.quiet === true ? id : `${id}  ${became}`;
      return { ok: true, value: { line, value: answer.value } };
    });
  },
};
