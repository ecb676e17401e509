/** `covey explain ID`: why a task is where it is, and why not elsewhere; exactly what placement decided with. */
import type { MethodResult } from '../api/methods.ts';
import { EXIT } from './exit-codes.ts';
import { jsonFlag } from './flags.ts';
import { fields, stateCell, table } from './output.ts';
import type { Verb } from './verb.ts';

export const verb: Verb = {
  configure(command) {
    jsonFlag(command.argument('<id>', 'a task id, or six or more characters of its end'));
  },
  async run(cli, command) {
    const id = await cli.resolveId(command.args[0] ?? '');
    if (!id.ok) return cli.fail(id.error);
    const answer = await cli.call('task.explain', { id: id.value });
    if (!answer.ok) return cli.fail(answer.error);
    await (cli.options.json === true
      ? cli.json(answer.value)
      : cli.print(explainText(answer.value, cli.color)));
    return EXIT.ok;
  },
};

function explainText(explain: MethodResult<'task.explain'>, color: boolean): string {
  const head = fields(
    [
      ['id', explain.id],
      ['state', stateCell(explain.state, explain.reason)],
      ['since', explain.since],
      ['home', explain.home.join(', ')],
      ['owner', explain.owner],
      ['runner', explain.runner],
    ],
    color,
  );
  const parts = [head];
  if (explain.because.length > 0) {
    const rows = explain.because.map((reason) => [
      reason.name ?? reason.peer,
      reason.ok ? { text: 'yes', style: 'green' as const } : { text: 'no', style: 'red' as const },
      reason.code,
      reason.detail,
    ]);
    parts.push(table(['PEER', 'FIT', 'BECAUSE', 'DETAIL'], rows, color));
  }
  if (explain.history.length > 0) {
    const rows = explain.history.map((step) => [step.at, step.by, step.what]);
    parts.push(table(['AT', 'BY', 'WHAT'], rows, color));
  }
  return parts.join('\n');
}
