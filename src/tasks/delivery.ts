/** The end of a run on its way from the runner to a store of its home. Message: `run.done`. */
import type { Logger } from '../base/telemetry.ts';
import { encodeFacts, type Fact } from '../records/record.ts';
import type { Messaging } from '../wire/messaging.ts';
import type { EndFact } from './facts.ts';

export interface Bringing {
  readonly id: string;
  /** Whoever takes the end may not have heard of the start. */
  readonly startFact: Fact;
  readonly end: EndFact;
}

/** Tries these peers one after another, each once. True: one of them has taken it, and the runner may forget it. */
export async function bringEnd(
  deps: { readonly messaging: Messaging; readonly log: Logger },
  peers: Iterable<string | undefined>,
  { id, startFact, end }: Bringing,
): Promise<boolean> {
  for (const peer of peers) {
    if (peer === undefined) continue;
    const body = { id, end: { ...end }, start: encodeFacts([startFact]) };
    const answer = await deps.messaging.call(peer, 'run.done', body);
    if (answer.ok && answer.value.taken === true) return true;
    if (!answer.ok) {
      const why = answer.error.message;
      deps.log.log('debug', 'an end was not taken', { id, run_id: end.run_id, peer, why });
    }
  }
  return false;
}
