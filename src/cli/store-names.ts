/** Store ids as people know them: by the names of the members that have them. */
import type { Cli } from './context.ts';

/** Names in the order of the ids, `[id]` for a store that no member has now. Costs a call, so only for people. */
export async function storeNames(cli: Cli, ids: readonly string[]): Promise<string> {
  if (ids.length === 0) return '';
  const list = await cli.call('members.list', {});
  const members = list.ok ? list.value.members : [];
  const names = new Map(members.map(({ store_id: store, name }) => [store, name]));
  return ids.map((id) => names.get(id) ?? `[${id}]`).join(', ');
}
