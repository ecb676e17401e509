/** Requests, answers and refusals between members, matched and bounded. */
import { describe, expect, it } from 'vitest';
import { coveyError, invariant } from '../../src/base/errors.ts';
import { err, ok } from '../../src/base/result.ts';
import { RecordingLogger } from '../../src/base/telemetry.ts';
import {
  CALL_TIMEOUT_MS,
  Messenger,
  PENDING_CALLS_MAX,
  SERVING_MAX,
} from '../../src/peer/messenger.ts';
import type { FrameClass, Network, SendResult } from '../../src/ports/network.ts';
import { SimClock } from '../../src/sim/clock.ts';
import { decodeEnvelope, type Envelope, encodeEnvelope } from '../../src/wire/envelope.ts';
import type { CallResult } from '../../src/wire/messaging.ts';

interface Frame {
  readonly to: string;
  readonly frameClass: FrameClass;
  readonly envelope: Envelope;
}

function world(drawn = 0) {
  const clock = new SimClock();
  const log = new RecordingLogger();
  const frames: Frame[] = [];
  let answer: SendResult = 'sent';
  const send = (to: string, frameClass: FrameClass, bytes: Uint8Array): SendResult => {
    const decoded = decodeEnvelope(bytes);
    if (decoded.ok && answer === 'sent') frames.push({ to, frameClass, envelope: decoded.value });
    return answer;
  };
  // The messenger uses nothing but `send` of its network.
  const network = { send } as unknown as Network;
  const random = { uint32: () => drawn, bytes: (length: number) => new Uint8Array(length) };
  const messenger = new Messenger({ network, clock, random, log, self: 'me' });
  const receive = (from: string, envelope: Envelope): void =>
    messenger.receive(from, 'data', encodeEnvelope(envelope));
  const setNetwork = (next: SendResult): void => {
    answer = next;
  };
  const settled = async (call: Promise<CallResult>): Promise<CallResult> => {
    let done = false;
    void call.then(() => {
      done = true;
    });
    await clock.runUntil(() => done, 60_000);
    return call;
  };
  return { clock, log, frames, messenger, receive, setNetwork, settled };
}

describe('the messenger', () => {
  it('matches answers to requests', async () => {
    const { frames, messenger, receive } = world();
    const calls = [messenger.call('peer', 'one', { a: 1 }), messenger.call('peer', 'two', {})];
    expect(frames).toMatchObject([
      {
        to: 'peer',
        frameClass: 'data',
        envelope: { kind: 'request', id: 1, type: 'one', body: { a: 1 } },
      },
      { envelope: { kind: 'request', id: 2, type: 'two' } },
    ]);
    receive('peer', { kind: 'reply', id: 2, body: { b: 2 } });
    receive('peer', {
      kind: 'refusal',
      id: 1,
      code: 'BUSY',
      body: { message: 'later', what: 'x' },
    });
    expect(await Promise.all(calls)).toEqual([
      err({ code: 'BUSY', message: 'later', details: { what: 'x' } }),
      ok({ b: 2 }),
    ]);
  });

  it('answers requests by their handlers, and refusals as codes of the error table', async () => {
    const { clock, frames, messenger, receive } = world();
    messenger.onRequest('double', (from, body) => ok({ from, twice: Number(body.n) * 2 }));
    messenger.onRequest('refuse', async () => err(coveyError('NOT_FOUND', { what: 'it' })));
    receive('peer', { kind: 'request', id: 5, type: 'double', body: { n: 4 } });
    receive('peer', { kind: 'request', id: 6, type: 'refuse', body: {} });
    receive('peer', { kind: 'request', id: 7, type: 'unheard of', body: {} });
    await clock.runFor(1);
    expect(frames.map((frame) => frame.envelope)).toEqual(
      expect.arrayContaining([
        { kind: 'reply', id: 5, body: { from: 'peer', twice: 8 } },
        {
          kind: 'refusal',
          id: 6,
          code: 'NOT_FOUND',
          body: { what: 'it', message: 'it is not known to any peer that answered.' },
        },
        expect.objectContaining({ id: 7, code: 'METHOD_NOT_FOUND' }),
      ]),
    );
  });

  it('answers INTERNAL for a handler that throws, logs it, and goes on', async () => {
    const { clock, frames, log, messenger, receive, settled } = world();
    messenger.onRequest('throw', () => {
      throw new Error('EMFILE: too many open files');
    });
    messenger.onRequest('reject', async () => Promise.reject(new Error('EIO')));
    messenger.onRequest('unwritable', async () => ok({ what: (() => undefined) as never }));
    messenger.onRequest('fine', () => ok({}));
    for (const [id, type] of ['throw', 'reject', 'unwritable', 'fine'].entries()) {
      receive('peer', { kind: 'request', id, type, body: {} });
    }
    await clock.runFor(1);
    const codes = new Map(
      frames.map(({ envelope }) => [
        'id' in envelope ? envelope.id : -1,
        'code' in envelope ? envelope.code : envelope.kind,
      ]),
    );
    expect([0, 1, 2, 3].map((id) => codes.get(id))).toEqual([
      'INTERNAL',
      'INTERNAL',
      'INTERNAL',
      'reply',
    ]);
    expect(log.lines.map(({ level, fields }) => [level, fields.type])).toEqual(
      expect.arrayContaining([
        ['error', 'throw'],
        ['error', 'reject'],
        ['error', 'unwritable'],
      ]),
    );
    expect(await settled(messenger.call('me', 'throw', {}))).toMatchObject({
      error: { code: 'INTERNAL' },
    });
  });

  it('ends the process, not the request alone, on a broken invariant', async () => {
    const { clock, messenger, receive } = world();
    messenger.onRequest('broken', () => invariant(false, 'two owners') as never);
    receive('peer', { kind: 'request', id: 1, type: 'broken', body: {} });
    await expect(clock.runFor(1)).rejects.toThrow('two owners');
  });

  it('gives up after its time, and ignores what comes later', async () => {
    const { clock, messenger, receive, settled } = world();
    const before = clock.nowMs();
    const call = messenger.call('peer', 'slow', {});
    expect(await settled(call)).toMatchObject({ error: { code: 'TIMEOUT' } });
    expect(clock.nowMs() - before).toBe(CALL_TIMEOUT_MS);
    receive('peer', { kind: 'reply', id: 1, body: {} });
    expect(await settled(messenger.call('peer', 'slow', {}, { timeoutMs: 10 }))).toMatchObject({
      error: { details: { timeout_ms: 10 } },
    });
  });

  it('takes an answer only from the peer that was asked', async () => {
    const { messenger, receive, settled } = world();
    const call = messenger.call('peer', 'ask', {});
    receive('other', { kind: 'reply', id: 1, body: { forged: true } });
    receive('other', { kind: 'refusal', id: 1, code: 'BUSY', body: {} });
    receive('peer', { kind: 'reply', id: 1, body: { forged: false } });
    expect(await settled(call)).toEqual(ok({ forged: false }));
  });

  it('takes a code that it does not know for an internal failure', async () => {
    const { messenger, receive, settled } = world();
    const call = messenger.call('peer', 'ask', {});
    receive('peer', { kind: 'refusal', id: 1, code: 'constructor', body: { nested: {} } });
    expect(await settled(call)).toMatchObject({ error: { code: 'INTERNAL', details: {} } });
  });

  it.each([
    ['gone', 'UNREACHABLE'],
    ['full', 'BUSY'],
  ] as const)('says at once when a frame is not taken: %s', async (result, code) => {
    const { messenger, setNetwork, settled } = world();
    setNetwork(result);
    expect(await settled(messenger.call('peer', 'ask', {}))).toMatchObject({ error: { code } });
    expect(messenger.cast('peer', 'tell', {})).toBe(false);
  });

  it('ends the calls to a peer whose link ended, and no others', async () => {
    const { messenger, receive, settled } = world();
    const lost = messenger.call('peer', 'ask', {});
    const other = messenger.call('other', 'ask', {});
    messenger.unlinked('peer');
    expect(await settled(lost)).toMatchObject({ error: { code: 'UNREACHABLE' } });
    receive('other', { kind: 'reply', id: 2, body: {} });
    expect(await settled(other)).toEqual(ok({}));
  });

  it('takes no answer to a request of an earlier boot for its own', async () => {
    const [before, after] = [world(17_000_000), world(3)];
    void before.messenger.call('peer', 'one', {});
    const [asked] = before.frames;
    const call = after.messenger.call('peer', 'two', {});
    const id = asked?.envelope.kind === 'request' ? asked.envelope.id : -1;
    after.receive('peer', { kind: 'reply', id, body: { late: true } });
    expect(await after.settled(call)).toMatchObject({ ok: false, error: { code: 'TIMEOUT' } });
  });

  it('answers nobody whose link ended since the question', async () => {
    const { clock, frames, messenger, receive } = world();
    const waiting: (() => void)[] = [];
    messenger.onRequest(
      'slow',
      () => new Promise((resolve) => waiting.push(() => resolve(ok({ id: waiting.length })))),
    );
    receive('peer', { kind: 'request', id: 1, type: 'slow', body: {} });
    receive('other', { kind: 'request', id: 1, type: 'slow', body: {} });
    messenger.unlinked('peer');
    receive('peer', { kind: 'request', id: 2, type: 'slow', body: {} });
    for (const answer of waiting) answer();
    await clock.runFor(1);
    expect(frames.map(({ to, envelope }) => [to, 'id' in envelope && envelope.id])).toEqual([
      ['other', 1],
      ['peer', 2],
    ]);
  });

  it('ends everything when it stops, and answers nobody any more', async () => {
    const { clock, frames, messenger, receive, settled } = world();
    const call = messenger.call('peer', 'ask', {});
    let finish: (result: CallResult) => void = () => undefined;
    messenger.onRequest('slow', () => new Promise((resolve) => (finish = resolve)));
    receive('peer', { kind: 'request', id: 1, type: 'slow', body: {} });
    await clock.runFor(1);
    messenger.stop();
    finish(ok({}));
    expect(await settled(call)).toMatchObject({ error: { code: 'STOPPING' } });
    expect(await settled(messenger.call('peer', 'ask', {}))).toMatchObject({
      error: { code: 'STOPPING' },
    });
    expect(frames).toHaveLength(1);
  });

  it('serves itself without the network, messages in a later turn', async () => {
    const { clock, frames, messenger, settled } = world();
    messenger.onRequest('ask', (from) => ok({ from }));
    const heard: string[] = [];
    messenger.onMessage('tell', (from) => heard.push(from));
    expect(await settled(messenger.call('me', 'ask', {}))).toEqual(ok({ from: 'me' }));
    expect(messenger.cast('me', 'tell', {})).toBe(true);
    expect(heard).toEqual([]);
    await clock.runFor(1);
    expect([heard, frames]).toEqual([['me'], []]);
  });

  it('hears messages, and ignores those it does not know', () => {
    const { log, messenger, receive } = world();
    const heard: unknown[] = [];
    messenger.onMessage('tell', (from, body) => heard.push(from, body));
    receive('peer', { kind: 'message', type: 'tell', body: { x: 1 } });
    receive('peer', { kind: 'message', type: 'of a later version', body: {} });
    messenger.receive('peer', 'data', new Uint8Array([1, 2, 3]));
    expect(heard).toEqual(['peer', { x: 1 }]);
    expect(log.lines.map((line) => line.level)).toEqual(['debug', 'warn']);
  });

  it('answers BUSY beyond the requests of one peer that it serves, also after a new link', async () => {
    const { clock, frames, messenger, receive } = world();
    const open: ((result: CallResult) => void)[] = [];
    messenger.onRequest('slow', () => new Promise((resolve) => open.push(resolve)));
    for (let id = 1; id <= SERVING_MAX; id++)
      receive('peer', { kind: 'request', id, type: 'slow', body: {} });
    messenger.unlinked('peer');
    receive('peer', { kind: 'request', id: 0, type: 'slow', body: {} });
    receive('other', { kind: 'request', id: 0, type: 'slow', body: {} });
    await clock.runFor(1);
    expect(open).toHaveLength(SERVING_MAX + 1);
    expect(frames).toMatchObject([{ to: 'peer', envelope: { id: 0, code: 'BUSY' } }]);
    for (const finish of open) finish(ok({}));
    await clock.runFor(1);
    receive('peer', { kind: 'request', id: 0, type: 'slow', body: {} });
    await clock.runFor(1);
    expect(open).toHaveLength(SERVING_MAX + 2);
  });

  it('answers BUSY beyond the calls that may wait', async () => {
    const { messenger, settled } = world();
    for (let i = 0; i < PENDING_CALLS_MAX; i++) void messenger.call('peer', 'ask', {});
    expect(await settled(messenger.call('peer', 'ask', {}))).toMatchObject({
      error: { code: 'BUSY', details: { retry_after_ms: 200 } },
    });
  });
});
