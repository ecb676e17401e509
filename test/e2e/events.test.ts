/** `events.subscribe` of a real daemon: a client that comes back misses nothing in silence. */
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { BULK_MAX } from '../../src/api/limits.ts';
import { type Connection, openConnection } from '../../src/client/index.ts';
import { EVENTS_KEPT_MAX } from '../../src/control/limits.ts';
import type { Running } from './daemons.ts';
import { TEST_MS } from './mesh.ts';
import { atEnd, daemons } from './setting.ts';

async function open(daemon: Running): Promise<Connection> {
  const opened = await openConnection(String(daemon.ready.socket));
  if (!opened.ok) throw new Error(opened.error.message);
  atEnd(async () => opened.value.close());
  return opened.value;
}

/** Subscribes to the tasks, and notes what is heard: the gap, and the numbers of the events after it. */
async function listen(connection: Connection, after?: { boot: string; seq: number }) {
  const heard = { gaps: [] as [number, number][], seqs: [] as number[], ids: [] as string[] };
  connection.on('gap', ({ from, to }) => heard.gaps.push([from, to]));
  connection.on('event', ({ seq, id }) => {
    heard.seqs.push(seq);
    heard.ids.push(id ?? '');
  });
  const topics = ['task' as const];
  const answer = await connection.call('events.subscribe', after ? { topics, after } : { topics });
  if (!answer.ok) throw new Error(answer.error.message);
  return { heard, boot: answer.value.boot, seq: answer.value.seq };
}

/** Tasks that nobody works on: each of them is one event. */
async function submit(connection: Connection, count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let left = count; left > 0; left -= BULK_MAX) {
    const tasks = Array.from({ length: Math.min(left, BULK_MAX) }, () => ({ type: 'nobody' }));
    const answer = await connection.call('task.submit_bulk', { tasks });
    if (!answer.ok) throw new Error(answer.error.message);
    ids.push(...answer.value.receipts.flatMap((one) => ('id' in one ? [one.id] : [])));
  }
  expect(ids).toHaveLength(count);
  return ids;
}

/** Asks again until it holds; the test's own time limit ends it. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await delay(10);
}

test(
  'a client that comes back is served from where it was; what is no longer kept is told as a gap',
  async () => {
    const made = await daemons();
    const alone = ['--copies', '1', '--copies-required', '1'];
    const daemon = await made.start('one', alone);
    const writer = await open(daemon);
    const reader = await open(daemon);
    const first = await listen(reader);
    const early = await submit(writer, 3);
    await until(() => first.heard.seqs.length === 3);
    const { boot, seq } = first;
    expect(first.heard).toEqual({ gaps: [], seqs: [seq + 1, seq + 2, seq + 3], ids: early });
    reader.close();

    // Away, but not for long: all of it comes.
    const missed = await submit(writer, 2);
    const soon = await open(daemon);
    const second = await listen(soon, { boot, seq: seq + 2 });
    await until(() => second.heard.seqs.length === 3);
    expect(second.heard).toEqual({
      gaps: [],
      seqs: [seq + 3, seq + 4, seq + 5],
      ids: [...early.slice(2), ...missed],
    });
    soon.close();

    // Too long: five events are gone, and all that are kept follow.
    await submit(writer, EVENTS_KEPT_MAX);
    const late = await listen(await open(daemon), { boot, seq });
    await until(() => late.heard.seqs.length === EVENTS_KEPT_MAX);
    expect(late.heard.gaps).toEqual([[seq + 1, seq + 5]]);
    expect(late.heard.seqs).toEqual(Array.from({ length: EVENTS_KEPT_MAX }, (_, i) => seq + 6 + i));

    // Another boot has numbers of its own: whatever was before them is a gap from 0.
    await daemon.kill('SIGKILL');
    const again = await made.start('one', alone);
    const next = await open(again);
    const other = await listen(next, { boot, seq: seq + 6 });
    expect(other.boot).not.toBe(boot);
    const [after] = await submit(next, 1);
    await until(() => other.heard.ids.includes(after ?? ''));
    expect(other.heard.gaps).toEqual([[0, 0]]);
    expect(other.heard.seqs).toEqual(other.heard.seqs.map((_, i) => i + 1));
  },
  TEST_MS,
);
