/** What a task costs to encode and decode, as a record on the disk and as a frame between peers; JSON beside it. */
import { decodeRecord, encodeRecord } from '../../src/records/record.ts';
import { decodeEnvelope, encodeEnvelope } from '../../src/wire/envelope.ts';
import type { Bench } from '../common/bench.ts';
import type { Shape } from '../common/options.ts';
import { rateOf } from '../common/rate.ts';
import { BLOB, created, ended, started } from './samples.ts';

const shape = { ms: { kind: 'number', default: 1_000, min: 10, max: 60_000 } } satisfies Shape;

export const codec: Bench<typeof shape> = {
  shape,
  needs: () => ({}),
  measure: async ({ ms }) => {
    const record = ended(started(created()));
    const stored = encodeRecord(record);
    const put = {
      kind: 'request',
      id: 4_711,
      type: 'rec.put',
      body: { record: encodeRecord(created()), blob: BLOB, fresh: true, stand_in: false },
    } as const;
    const frame = encodeEnvelope(put);
    // Bytes as text, since JSON has none.
    const plain = {
      ...record,
      header: Buffer.from(record.header).toString('base64'),
    };
    const json = JSON.stringify(plain);
    const figures = {
      record_bytes: stored.length,
      frame_bytes: frame.length,
      json_bytes: json.length,
      record_encodes_per_s: rateOf(ms, () => encodeRecord(record)),
      record_decodes_per_s: rateOf(ms, () => decodeRecord(stored)),
      frame_encodes_per_s: rateOf(ms, () => encodeEnvelope(put)),
      frame_decodes_per_s: rateOf(ms, () => {
        const decoded = decodeEnvelope(frame);
        return decoded.ok && decodeRecord(decoded.value.body.record);
      }),
      json_encodes_per_s: rateOf(ms, () => JSON.stringify(plain)),
      json_decodes_per_s: rateOf(ms, () => JSON.parse(json)),
    };
    return { figures, targets: [] };
  },
};
