/** A request to whichever home store of a record answers first. */
import type { WireMap } from '../wire/envelope.ts';
import type { Messaging } from '../wire/messaging.ts';
import type { MeshView } from './mesh-view.ts';

/** Asks the home stores in turn, `first` before the others; the first answer counts. */
export async function atHome(
  deps: { readonly messaging: Messaging; readonly view: MeshView },
  home: readonly string[],
  first: string,
  type: string,
  body: WireMap,
): Promise<WireMap | undefined> {
  const { view, messaging } = deps;
  const self = view.self();
  const order = [first, ...home.filter((store) => store !== first)];
  for (const store of order) {
    const peer = store === self.storeId ? self.peerId : view.directory.peerOf(store);
    if (peer === undefined) continue;
    const answer = await messaging.call(peer, type, body);
    if (answer.ok) return answer.value;
  }
  return undefined;
}
