/** `covey explain ID`: why a task is where it is, and why not elsewhere; exactly what placement decided with. */
import type { MethodResult } from '../api/methods.ts';
import type { Cli } from './context.ts';
import { fields, stateCell, table } from './output.ts';
import { showVerb } from './show.ts';

export const verb = showVerb((cli, id) => cli.call('task.explain', { id }), explainText);

function explainText(explain: MethodResult<'task.explain'>, { color }: Cli): string {
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
