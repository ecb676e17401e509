/**
 * What faults destroyed: whose copy of which record, and which facts lay on no other disk at that moment. Those are
 * gone for good and nobody promised them: an acknowledgement, a start or a final that is counted by W stores lies on
 * one that was not struck. All else must be there in the end, whatever was destroyed.
 */
import type { Fact, RecordState, StoreId } from '../records/record.ts';
import { fromWire, isTaskFact } from '../tasks/facts.ts';
import type { Disk } from './steps.ts';

/** Names of what may be lost of a task. */
export const CREATION = 'creation';
/** What it is to run: without it a task is refused for most of an hour, and fails. */
export const PAYLOAD = 'payload';
export const CANCEL = 'cancel';
export const startName = (runId: string): string => `start ${runId}`;
export const endName = (runId: string): string => `end ${runId}`;
export const finalName = (state: string, runId: string, digest: string): string =>
  `final ${state} ${runId} ${digest}`;

export const dotName = ({ store, seq }: Pick<Fact, 'store' | 'seq'>): string =>
  `dot ${store}/${seq}`;

/** What a version says, whoever wrote it. */
function namesOf(record: RecordState | undefined): Set<string> {
  const names = new Set<string>();
  if (record === undefined) return names;
  names.add(CREATION);
  for (const fact of record.facts) {
    if (!isTaskFact(fact.value)) continue;
    const value = fromWire(fact);
    if (value.t === 'start') names.add(startName(value.run_id));
    else if (value.t === 'end') names.add(endName(value.run_id));
    else if (value.t === 'final') names.add(finalName(value.state, value.run_id, value.digest));
    else if (value.t === 'cancel') names.add(CANCEL);
    names.add(dotName(fact));
  }
  return names;
}

export class Losses {
  /** By record: stores whose copy was destroyed, or an older one put in its place. */
  readonly destroyed = new Map<string, Set<StoreId>>();
  /** By record: hosts whose disk got other contents: such a daemon does not know what the one before had shown. */
  readonly replaced = new Map<string, Set<string>>();
  /** Some disk got other contents, be it with the same records. */
  anyReplaced = false;
  /** By record: what lay there alone. */
  readonly lost = new Map<string, Set<string>>();
  readonly #disks: () => readonly Disk[];

  constructor(disks: () => readonly Disk[]) {
    this.#disks = disks;
  }

  /** Other contents came to the disk of this host: of the attempts that its daemons knew it has only these now. */
  onReplaced: ((host: string, runIds: ReadonlySet<string>) => void) | undefined;

  /** No disk was struck: no store can be refused with reason. */
  get areNone(): boolean {
    return this.destroyed.size === 0 && !this.anyReplaced;
  }

  /** A fault puts an older copy, or none, in the place of this host's. */
  replacedBy(
    at: { readonly host: string; readonly store: StoreId },
    id: string,
    copy: { readonly before: RecordState | undefined; readonly after: RecordState | undefined },
  ): void {
    const hosts = this.replaced.get(id) ?? new Set<string>();
    this.replaced.set(id, hosts.add(at.host));
    this.struck(at, id, copy);
  }

  /** A fault leaves this host `after` of the copy that it had. */
  struck(
    at: { readonly host: string; readonly store: StoreId },
    id: string,
    copy: { readonly before: RecordState | undefined; readonly after: RecordState | undefined },
  ): void {
    const others = this.#note(at, id);
    // Whoever dropped it had its end.
    if (others.some((disk) => disk.isBuried(id))) return;
    const left = new Set(
      [copy.after, ...others.map((disk) => disk.durable(id))].flatMap((kept) => [...namesOf(kept)]),
    );
    const gone = [...namesOf(copy.before)].filter((name) => !left.has(name));
    this.#lose(id, gone);
  }

  /** A fault damages the payload that this host has of it. */
  payloadStruck(at: { readonly host: string; readonly store: StoreId }, id: string): void {
    const others = this.#note(at, id);
    if (!others.some((disk) => disk.durable(id) !== undefined)) this.#lose(id, [PAYLOAD]);
  }

  /** Answers the other disks. */
  #note({ host, store }: { readonly host: string; readonly store: StoreId }, id: string): Disk[] {
    const stores = this.destroyed.get(id) ?? new Set<StoreId>();
    this.destroyed.set(id, stores.add(store));
    return this.#disks().filter(({ name }) => name !== host);
  }

  #lose(id: string, names: readonly string[]): void {
    if (names.length > 0) this.lost.set(id, new Set([...(this.lost.get(id) ?? []), ...names]));
  }

  /** Nobody can bring it to its end any more. */
  isBeyond(id: string): boolean {
    const lost = this.lost.get(id);
    return lost?.has(CREATION) === true || lost?.has(PAYLOAD) === true;
  }
}

export const runIdsOf = (records: readonly (RecordState | undefined)[]): Set<string> =>
  new Set(
    records.flatMap((record) =>
      (record?.facts ?? []).flatMap(({ value }) =>
        value.t === 'start' ? String(value.run_id) : [],
      ),
    ),
  );
