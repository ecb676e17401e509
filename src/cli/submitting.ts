/** Submitting under an id that was reserved first: a lost answer is asked again without a second task. */
import type { Receipt, SubmitInput } from '../api/task.ts';
import { err, ok, type Result } from '../base/result.ts';
import type { RpcFailure } from '../client/types.ts';
import type { Cli } from './context.ts';
import type { Mesh } from './mesh.ts';

export async function submitPatiently(
  mesh: Mesh,
  task: SubmitInput,
): Promise<Result<Receipt, RpcFailure>> {
  if (task.id !== undefined) return mesh.call('task.submit', task);
  const reserved = await mesh.call('ids.reserve', { n: 1 });
  if (!reserved.ok) return reserved;
  const [id] = reserved.value.ids;
  if (id === undefined) {
    return err({ code: 'INTERNAL', message: 'The daemon reserved no id.', retryable: false });
  }
  const receipt = await mesh.call('task.submit', { ...task, id });
  return receipt.ok ? ok(receipt.value) : receipt;
}

/** What a receipt promises less than usual is said, not left to be found later. */
export async function warnOfReceipt(cli: Cli, receipt: Receipt): Promise<void> {
  if (!receipt.degraded) return;
  const copies = receipt.stored_on.length === 1 ? '1 store' : `${receipt.stored_on.length} stores`;
  await cli.say(
    `warning: task ${receipt.id} lies on ${copies} only (degraded): too few members are up for more copies`,
  );
}
