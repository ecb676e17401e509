/** A disk that refuses a write for another reason than want of room: nothing is acknowledged any more, and the daemon exits. */
import { expect, test } from 'vitest';
import { openConnection } from '../../src/client/index.ts';
import { COVEYD } from '../../src/testnet/paths.ts';
import type { Running } from './daemons.ts';
import { TEST_MS } from './mesh.ts';
import { atEnd, daemons } from './setting.ts';

/** A limit of the size of files (in blocks of 512 bytes) is met by LMDB as EIO. */
const SMALL_FILES = ['/bin/sh', '-c', 'ulimit -f 500; exec "$0" "$@"', COVEYD];
const PAYLOAD = 'x'.repeat(20_000);

async function connect(daemon: Running) {
  const opened = await openConnection(String(daemon.ready.socket));
  if (!opened.ok) throw new Error(opened.error.message);
  atEnd(async () => opened.value.close());
  return opened.value;
}

test(
  'a failed write ends the daemon with a sentence; what it had acknowledged is there at the next start',
  async () => {
    const single = await daemons();
    const limited = await single.start('d', [], {}, SMALL_FILES);
    const before = await connect(limited);
    const acknowledged: string[] = [];
    for (;;) {
      const receipt = await before.call('task.submit', { type: 'none', payload: PAYLOAD });
      if (!receipt.ok) break;
      acknowledged.push(receipt.value.id);
    }
    const { code, stderr } = await limited.ended;
    expect(code).toBe(1);
    expect(stderr).toMatch(/the store failed: writing failed: .+/);
    expect(acknowledged.length).toBeGreaterThan(0);

    const after = await connect(await single.start('d'));
    for (const id of acknowledged)
      expect(await after.call('task.get', { id })).toMatchObject({ ok: true });
  },
  TEST_MS,
);
