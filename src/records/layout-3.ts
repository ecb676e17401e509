/**
 * From layout 2 of `store/` to 3: a record was one map with its facts in it, each of them encoded anew with every change;
 * it is a list of parts now (record.ts). What its content hash is of has changed with that: the entries of the Merkle
 * trees are made anew at the start.
 */
import { prefixEnd, type StoreOp } from '../ports/store.ts';
import { decodeValue, encodeValue, type WireValue } from '../wire/codec.ts';
import { isWireMap } from '../wire/envelope.ts';
import { seal, unseal } from './checked-store.ts';
import { entriesOf, type Readable } from './pages.ts';
import { SHARED_COMPLETE_KEY } from './partner-index.ts';

export function recordsAsParts(store: Readable): StoreOp[] {
  const ops: StoreOp[] = [{ del: SHARED_COMPLETE_KEY }];
  for (const { key, value } of entriesOf(store, 'r/', prefixEnd('r/'))) {
    const bytes = unseal(key, value);
    const parts = bytes && partsOf(bytes);
    // A damaged one is fetched from others, as ever.
    if (parts !== undefined) ops.push({ put: key, value: seal(key, parts) });
  }
  for (const { key, value } of entriesOf(store, 'q/', prefixEnd('q/'))) {
    const inner = unseal(key, value);
    const name = `r/${key.slice('q/'.length)}`;
    const bytes = inner && unseal(name, inner);
    const parts = bytes && partsOf(bytes);
    if (parts !== undefined) ops.push({ put: key, value: seal(key, seal(name, parts)) });
  }
  return ops;
}

function partsOf(bytes: Uint8Array): Uint8Array | undefined {
  const decoded = decodeValue(bytes);
  if (!decoded.ok || !isWireMap(decoded.value)) return undefined;
  const { header, home, facts, ...creation } = decoded.value;
  if (header === undefined || home === undefined || !Array.isArray(facts)) return undefined;
  const parts = (facts as readonly WireValue[]).map((fact) => encodeValue(fact));
  return encodeValue([encodeValue(creation), header, home, ...parts]);
}
