/** `covey retry ID…`: submits final tasks again, as new tasks that name the old ones. */
import { forEachId } from './each.ts';
import { jsonFlag, quietFlag } from './flags.ts';
import type { Verb } from './verb.ts';

export const verb: Verb = {
  configure(command) {
    command.argument('<id...>', 'task ids, or six or more characters of their ends');
    quietFlag(jsonFlag(command));
  },
  run(cli, command) {
    return forEachId(cli, command.args, async (id) => {
      const answer = await cli.call('task.retry', { id });
      if (!answer.ok) return answer;
      const line = cli.options.quiet === true ? answer.value.id : `${answer.value.id}  (${id})`;
      return { ok: true, value: { line, value: { ...answer.value, retry_of: id } } };
    });
  },
};
