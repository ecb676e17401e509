/**
 * One record for one frame of the muxer. Yamux hands on its header and the data as two buffers, and libp2p's TLS writes
 * each of them by itself: two records, two system calls, two packets, for every heartbeat. Joined they are one.
 */
import type { tls } from '@libp2p/tls';

type MakeEncrypter = ReturnType<typeof tls>;
type Encrypter = ReturnType<MakeEncrypter>;
type Secured = Awaited<ReturnType<Encrypter['secureInbound']>>;

/** A record of TLS holds so much: of a longer frame the header costs little, and joining it is a copy. */
const JOINED_BYTES_MAX = 16 * 1_024;

function joined(secured: Secured): Secured {
  const { connection } = secured;
  const send = connection.send.bind(connection);
  connection.send = (data) =>
    send(data instanceof Uint8Array || data.byteLength > JOINED_BYTES_MAX ? data : data.subarray());
  return secured;
}

export const inWholeRecords =
  (make: MakeEncrypter): MakeEncrypter =>
  (components) => {
    const encrypter = make(components);
    const { secureInbound, secureOutbound } = encrypter;
    encrypter.secureInbound = async (...args) => joined(await secureInbound.apply(encrypter, args));
    encrypter.secureOutbound = async (...args) =>
      joined(await secureOutbound.apply(encrypter, args));
    return encrypter;
  };
