/** How many tasks may be out at once when nobody said so: twice the slots of the mesh, looked up again and again. */
import type { MemberView } from '../../api/methods.ts';
import { err, ok, type Result } from '../../base/result.ts';
import type { RpcFailure } from '../../client/types.ts';
import type { Mesh } from '../mesh.ts';
import { JOBS_MAX } from './limits.ts';

/** Half of them run and half wait, so that a slot that becomes free never stands idle until the next submit. */
export function defaultJobs(members: readonly MemberView[]): number {
  const slots = members
    .filter((member) => member.status === 'alive' || member.status === 'suspect')
    .filter((member) => !member.stopping)
    .reduce((sum, member) => sum + member.load.slots, 0);
  // At least two: a mesh whose slots are all away for the moment must still be given something to wait with.
  return Math.min(JOBS_MAX, Math.max(2, 2 * slots));
}

export async function askDefaultJobs(mesh: Mesh): Promise<Result<number, RpcFailure>> {
  const answer = await mesh.call('members.list', {});
  return answer.ok ? ok(defaultJobs(answer.value.members)) : err(answer.error);
}
