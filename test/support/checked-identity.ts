/** The identity of a store of any layout, with the check that lies inside it. */
import { crc32 } from '../../src/base/crc32.ts';
import { seal } from '../../src/records/checked-store.ts';
import { encodeValue, type WireValue } from '../../src/wire/codec.ts';

export function checkedIdentity(map: { readonly [key: string]: WireValue }) {
  const { check: _check, ...rest } = map;
  return { ...rest, check: crc32(seal('identity', encodeValue(rest))) };
}
