/** How a record goes from a store: dropped after its end, or buried by what another store knows. Pure. */
import type { StoreOp } from '../ports/store.ts';
import type { AsideRecords } from './aside.ts';
import type { Change, Decision, KindRules } from './change.ts';
import { type RecordKind, withFact } from './record.ts';

type Rules = Readonly<Record<RecordKind, KindRules>>;

/**
 * Only what is final, and of keys what is still unused by then; a task leaves its stone. (A key may be claimed while a
 * sweep is on its way to it: dropped with its new claim, it would let a second task in.)
 */
export function dropped(
  { current }: Change,
  rules: Rules,
  { stone, atMs }: { readonly stone: StoreOp; readonly atMs: number },
): Decision<boolean> {
  if (current === undefined || !rules[current.kind].isFinal(current)) return { value: false };
  const isUsed = current.kind === 'key' && (rules.key.dropAtMs(current) ?? atMs) > atMs;
  if (isUsed) return { value: false };
  // A key may be used again; a task id never is.
  return { value: true, forget: true, extra: current.kind === 'task' ? [stone] : [] };
}

/**
 * Another store dropped the record after its final: a tombstone beats any copy that is not final, which would
 * run again. Of a final copy it says that its drop time had come by then, should this store not know: drop times
 * join by minimum. (The stone of a fast clock says a later one than the record has, and changes nothing.)
 */
export function buried(
  { current, fact }: Change,
  rules: Rules,
  about: {
    readonly id: string;
    readonly droppedWallMs: number;
    readonly stone: StoreOp;
    readonly aside: AsideRecords;
    /** Removes what is left of a record that was held here, and is damaged. */
    readonly remains: readonly StoreOp[];
  },
): Decision<boolean> {
  const { id, droppedWallMs: atMs, stone, aside, remains } = about;
  // What was set aside had ended, as was feared.
  if (current === undefined && aside.has(id))
    return { value: true, extra: [...aside.removalOps(id), { del: `b/${id}` }, stone] };
  // Nobody would ever have it again: its marks would stay, and be looked at in every round.
  if (current === undefined && remains.length > 0)
    return { value: true, extra: [...remains, stone] };
  if (current?.kind !== 'task') return { value: false };
  const { isFinal, dropAtMs, earlierDrop } = rules.task;
  if (!isFinal(current)) return { value: true, forget: true, extra: [stone] };
  const value = atMs < (dropAtMs(current) ?? atMs) && earlierDrop(atMs);
  return value ? { value: false, next: withFact(current, fact(value)) } : { value: false };
}
