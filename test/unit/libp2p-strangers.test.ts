/** Who makes room for a newcomer where strangers hold all places. */
import { describe, expect, it } from 'vitest';
import { givesWayTo } from '../../src/host/libp2p-strangers.ts';
import type { LinkInfo } from '../../src/ports/network.ts';

let peers = 0;
const from = (host: string, count: number, direction: LinkInfo['direction'] = 'inbound') =>
  Array.from({ length: count }, (_, i): LinkInfo => {
    peers += 1;
    return { peerId: `p${peers}`, address: `${host}:${1_000 + i}`, direction };
  });

describe('where strangers hold all places', () => {
  it('the youngest of the host with most of them gives way to another host', () => {
    const strangers = [...from('10.0.0.1', 3), ...from('10.0.0.2', 9), ...from('[fe80::1]', 2)];
    expect(givesWayTo('10.0.0.3:1', strangers)).toBe(strangers[11]);
    expect(givesWayTo('[fe80::1]:9', strangers)).toBe(strangers[11]);
  });

  it('nobody gives way to his own host, nor to one that has, or would have, as many', () => {
    const strangers = [...from('10.0.0.1', 3), ...from('10.0.0.2', 4)];
    expect(givesWayTo('10.0.0.2:1', strangers)).toBeUndefined();
    expect(givesWayTo('10.0.0.1:1', strangers)).toBeUndefined();
    expect(givesWayTo('10.0.0.3:1', from('10.0.0.1', 1))).toBeUndefined();
  });

  it('what was dialled from here stays', () => {
    expect(givesWayTo('10.0.0.3:1', from('10.0.0.1', 9, 'outbound'))).toBeUndefined();
  });
});
