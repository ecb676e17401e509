/**
 * The daemon of a later version, as its neighbours see it: its hellos offer other versions and features, and what it
 * says has members that this version does not know. The peer behind it is the one that ships.
 */
import { type Random, randomBelow } from '../base/random.ts';
import type { Network, NetworkHandlers } from '../ports/network.ts';
import { decodeValue, encodeValue, type WireValue } from '../wire/codec.ts';
import { isWireMap } from '../wire/envelope.ts';
import { type VersionRange, WIRE_VERSION_MAX, WIRE_VERSION_MIN } from '../wire/versions.ts';
import { passDown, passUp } from './pass-on.ts';

export interface Speech {
  readonly versions: VersionRange;
  readonly features: readonly string[];
}

const LATER = WIRE_VERSION_MAX + 1;
/** A larger frame is left as it is: it must not grow beyond what a frame may be. */
const BYTES_MAX = 64 * 1_024;
const UNKNOWN = { x_later: 'of a later version' };

/** The version of now, mostly a later one that still speaks it, or one that does not any more. */
export function drawSpeech(random: Random): Speech | undefined {
  const roll = randomBelow(random, 10);
  if (roll < 3) return undefined;
  const features = randomBelow(random, 2) === 0 ? ['later'] : ['later', 'x'.repeat(40)];
  if (roll < 9) return { versions: { min: WIRE_VERSION_MIN, max: LATER }, features };
  return { versions: { min: LATER, max: LATER }, features };
}

/** Whether the others, of the version of now, can talk to it. */
export const isUnderstood = (speech: Speech | undefined): boolean =>
  speech === undefined || speech.versions.min <= WIRE_VERSION_MAX;

export function speaking(speech: Speech | undefined, network: Network): Network {
  if (speech === undefined) return network;
  const admit = (bytes: Uint8Array): Uint8Array => helloOf(speech, bytes);
  return {
    ...passDown(network),
    start: (handlers, listen) => {
      const admitRequest: NetworkHandlers['admitRequest'] = async (from, bytes) => {
        const answer = await handlers.admitRequest(from, bytes);
        return answer === undefined ? undefined : admit(answer);
      };
      return network.start({ ...passUp(handlers), admitRequest }, listen);
    },
    admitCall: (peerId, bytes, timeoutMs) => network.admitCall(peerId, admit(bytes), timeoutMs),
    send: (to, frameClass, bytes) => network.send(to, frameClass, envelopeOf(bytes)),
  };
}

function decoded(bytes: Uint8Array): WireValue | undefined {
  const value = bytes.length > BYTES_MAX ? undefined : decodeValue(bytes);
  return value?.ok === true ? value.value : undefined;
}

function helloOf({ versions, features }: Speech, bytes: Uint8Array): Uint8Array {
  const frame = decoded(bytes);
  if (!isWireMap(frame)) return bytes;
  if (frame.type !== 'hello') return encodeValue({ ...frame, ...UNKNOWN });
  return encodeValue({
    ...frame,
    ...UNKNOWN,
    versions: [versions.min, versions.max],
    features,
  });
}

/** One more member in the body, and in a new record in it, and one more element after it. */
function envelopeOf(bytes: Uint8Array): Uint8Array {
  const envelope = decoded(bytes);
  if (!Array.isArray(envelope)) return bytes;
  const [kind, id, type, body] = envelope as readonly WireValue[];
  if (kind === undefined || id === undefined || type === undefined || !isWireMap(body))
    return bytes;
  // A creation gets a field of its own, which all who do not know it keep, and give back.
  const { record, fresh } = body;
  const later = fresh === true && isWireMap(record) ? { record: { ...record, ...UNKNOWN } } : {};
  return encodeValue([kind, id, type, { ...body, ...later, ...UNKNOWN }, UNKNOWN]);
}
