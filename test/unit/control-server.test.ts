/** The control server against clients of every kind: what each input is answered with. */
import { expect, test } from 'vitest';
import {
  BATCH_MAX,
  CONNECTIONS_MAX,
  LINE_BYTES_MAX,
  UNANSWERED_REQUESTS_MAX,
} from '../../src/api/limits.ts';
import { InvariantError } from '../../src/base/errors.ts';
import { ok } from '../../src/base/result.ts';
import { SLOW_READER_MS } from '../../src/control/limits.ts';
import { type Answer, ControlMemory, codeOf, line } from '../support/control-memory.ts';

const hello = line(1, 'system.hello', { client: 'test', versions: [1, 2] });

test('a client says hello, submits a command and waits for it', async () => {
  const world = new ControlMemory();
  const client = world.connect();
  const [greeting] = await world.ask(client, hello);
  expect(greeting).toMatchObject({
    ...{ jsonrpc: '2.0', id: 1 },
    result: { server: 'coveyd/0.1.0', version: 1, mesh_id: 'fake-mesh', features: [] },
  });
  const [receipt] = await world.ask(client, line('a', 'task.submit', { exec: { argv: ['true'] } }));
  const ids = [receipt?.result?.id];
  const [waited] = await world.ask(client, line('b', 'task.wait', { ids, timeout_ms: 1_000 }));
  expect(waited).toMatchObject({ id: 'b', result: { done: [{ state: 'completed' }] } });
});

test('each bad line is answered by a named error, and the connection goes on', async () => {
  const world = new ControlMemory();
  const client = world.connect();
  const deep = `${'['.repeat(10_000)}${']'.repeat(10_000)}`;
  const named = '{"jsonrpc":"2.0","id":1,"method":';
  const cases: [string | Uint8Array, string, RegExp][] = [
    ['{"jsonrpc"\n', 'PARSE_ERROR', /not valid JSON/],
    ['nonsense\n', 'PARSE_ERROR', /not valid JSON/],
    [Uint8Array.of(0x22, 0xff, 0xfe, 0x22, 0x0a), 'PARSE_ERROR', /UTF-8/],
    ['42\n', 'INVALID_REQUEST', /not an object/],
    ['{}\n', 'INVALID_REQUEST', /jsonrpc/],
    ['[]\n', 'INVALID_REQUEST', /batch is empty/],
    ['{"jsonrpc":"2.0","id":{},"method":"members.list"}\n', 'INVALID_REQUEST', /'id'/],
    ['{"jsonrpc":"2.0","id":1,"method":7}\n', 'INVALID_REQUEST', /'method'/],
    [`${deep}\n`, 'INVALID_REQUEST', /deeper than 64/],
    [line(1, 'members.lst'), 'METHOD_NOT_FOUND', /nearest one is 'members.list'/],
    [line(1, '__proto__'), 'METHOD_NOT_FOUND', /no method '__proto__'/],
    [line(1, 'about'), 'METHOD_NOT_FOUND', /no method 'about'/],
    [line(1, 'x'.repeat(1_000_000)), 'METHOD_NOT_FOUND', /x{128}…'/],
    [line(1, 'task.get', ['id']), 'INVALID_PARAMS', /by name/],
    [line(1, 'task.get'), 'INVALID_PARAMS', /'id' is missing/],
    [line(1, 'task.list', { limt: 3 }), 'INVALID_PARAMS', /'limt'; the nearest.*'limit'/],
    [line(1, 'task.list', { limit: 0 }), 'INVALID_PARAMS', /'limit' must be at least 1/],
    [
      line(1, 'task.submit', { exec: { argv: ['x'], cmd: 1, evn: {} } }),
      'INVALID_PARAMS',
      /'cmd' in 'exec'/,
    ],
    [line(1, 'task.submit', {}), 'INVALID_PARAMS', /Exactly one of 'type'/],
    [
      `${named}"task.submit","params":{"type":"t","payload":{"a":[9007199254740992]}}}\n`,
      'INVALID_PARAMS',
      /params.payload.a\[0\]: 9007199254740992 is beyond/,
    ],
    [`${named}"task.submit","params":{"type":"t","payload":1e999}}\n`, 'INVALID_PARAMS', /1e999/],
    [
      `${named}"task.submit","params":{"type":"t","payload":{"__proto__":{"x":1}}}}\n`,
      'INVALID_PARAMS',
      /'__proto__' is not allowed/,
    ],
    [
      `${named}"task.submit","params":{"type":"t","payload":{"\\u005f_proto__":{"x":1}}}}\n`,
      'INVALID_PARAMS',
      /'__proto__' is not allowed/,
    ],
    [
      line(1, 'system.hello', { client: 'x', versions: [9] }),
      'VERSION_MISMATCH',
      /here 1, there 9/,
    ],
  ];
  for (const [input, code, sentence] of cases) {
    const answers = await world.ask(client, input);
    const what = typeof input === 'string' ? input.slice(0, 100) : 'bytes';
    expect([what, codeOf(answers)]).toEqual([what, code]);
    expect(answers[0]?.error?.message).toMatch(sentence);
  }
  expect(await world.ask(client, hello)).toHaveLength(1);
  expect(Object.hasOwn(Object.prototype, 'x')).toBe(false);
  expect(world.log.lines.filter(({ level }) => level !== 'debug')).toEqual([]);
});

test('application errors carry code, retryable, help and details', async () => {
  const world = new ControlMemory();
  const id = world.backend.mintId();
  const [answer] = await world.ask(world.connect(), line(7, 'task.get', { id }));
  expect(answer).toEqual({
    ...{ jsonrpc: '2.0', id: 7 },
    error: {
      code: -32004,
      message: `Task ${id} is not known to any peer that answered.`,
      data: {
        code: 'NOT_FOUND',
        retryable: true,
        what: `Task ${id}`,
        help: expect.stringContaining('out of reach'),
      },
    },
  });
});

test('a line over the limit is skipped, in pieces and whole, and the next one is read', async () => {
  const world = new ControlMemory();
  const client = world.connect();
  const piece = new Uint8Array(1_000_000).fill(0x61);
  for (let i = 0; i < 100; i++) client.send(piece);
  const answers = await world.ask(client, `\n${hello}`);
  expect(answers.map((answer) => answer.error?.data.code ?? 'ok')).toEqual(['LINE_TOO_LONG', 'ok']);
  const whole = await world.ask(client, `${'a'.repeat(LINE_BYTES_MAX + 1)}\n${hello}`);
  expect(whole.map((answer) => answer.error?.data.code ?? 'ok')).toEqual(['LINE_TOO_LONG', 'ok']);
  const pad = ' '.repeat(LINE_BYTES_MAX - hello.length + 1);
  expect(codeOf(await world.ask(client, `${pad}${hello}`))).toBeUndefined();
});

test('bytes may be cut anywhere, also inside a character', async () => {
  const world = new ControlMemory();
  const client = world.connect();
  const text = line('ü→🐦', 'members.list', {});
  for (const byte of new TextEncoder().encode(`\n \r\n${text}`)) client.send(Uint8Array.of(byte));
  await world.clock.runFor(1);
  expect(client.take()).toMatchObject([{ id: 'ü→🐦', result: { view_hash: 'fake' } }]);
});

test('a batch is answered in one line, without its notifications', async () => {
  const world = new ControlMemory();
  const client = world.connect();
  const batch = [
    { jsonrpc: '2.0', id: 1, method: 'members.list' },
    { jsonrpc: '2.0', method: 'task.submit', params: { type: 'silent' } },
    { jsonrpc: '2.0', id: null, method: 'no.such' },
    'junk',
  ];
  const [answers] = (await world.ask(
    client,
    `${JSON.stringify(batch)}\n`,
  )) as unknown as Answer[][];
  expect(answers).toHaveLength(3);
  expect(answers?.map(({ id, error }) => [id, error?.data.code])).toEqual(
    expect.arrayContaining([
      [1, undefined],
      [null, 'METHOD_NOT_FOUND'],
      [null, 'INVALID_REQUEST'],
    ]),
  );
  expect(world.backend.tasks.size).toBe(1);
  const silent = [{ jsonrpc: '2.0', method: 'members.list' }];
  expect(await world.ask(client, `${JSON.stringify(silent)}\n`)).toEqual([]);
  const many = JSON.stringify(Array.from({ length: 100_000 }, () => 0));
  expect(codeOf(await world.ask(client, `${many}\n`))).toBe('BATCH_TOO_LARGE');
  const full = Array.from({ length: BATCH_MAX }, (_, id) => ({
    jsonrpc: '2.0',
    id,
    method: 'members.list',
  }));
  const [all] = (await world.ask(client, `${JSON.stringify(full)}\n`)) as unknown as Answer[][];
  expect(all).toHaveLength(BATCH_MAX);
});

test('answers overtake one another; too many unanswered ones are refused with BUSY', async () => {
  const world = new ControlMemory();
  const client = world.connect();
  const ids = [world.backend.mintId()];
  const wait = (id: number) => line(id, 'task.wait', { ids, timeout_ms: 60_000 });
  for (let id = 0; id < UNANSWERED_REQUESTS_MAX; id++) client.send(wait(id));
  const [busy, ...rest] = await world.ask(client, wait(-1));
  expect(rest).toEqual([]);
  expect(busy).toMatchObject({ id: -1, error: { data: { code: 'BUSY', retry_after_ms: 100 } } });
  const other = await world.ask(world.connect(), hello);
  expect(codeOf(other)).toBeUndefined();
  await world.clock.runFor(60_000);
  expect(client.take()).toHaveLength(UNANSWERED_REQUESTS_MAX);
  expect(await world.ask(client, hello)).toHaveLength(1);
});

test('300 clients: what is above the limit hears why, and a place that is given up is taken', async () => {
  const world = new ControlMemory();
  const clients = Array.from({ length: 300 }, () => world.connect());
  const refused = clients.slice(CONNECTIONS_MAX);
  for (const client of refused) {
    expect(codeOf(client.take() as Answer[])).toBe('TOO_MANY_CONNECTIONS');
    expect(client.ended).toBe(true);
  }
  expect(await world.ask(clients[0] ?? world.connect(), hello)).toHaveLength(1);
  clients[1]?.close();
  expect(await world.ask(world.connect(), hello)).toHaveLength(1);
});

test('a client that vanishes before its answer harms nobody', async () => {
  const world = new ControlMemory();
  const client = world.connect();
  const ids = [world.backend.mintId()];
  client.send(line(1, 'task.wait', { ids, timeout_ms: 50 }));
  client.send('{"jsonrpc":"2.0","id":2,');
  client.close();
  await world.clock.runFor(100);
  expect(client.take()).toEqual([]);
  expect(await world.ask(world.connect(), hello)).toHaveLength(1);
  expect(world.log.lines.filter(({ level }) => level !== 'debug')).toEqual([]);
});

test('a client that does not read is not read either, and is ended when it costs too much', async () => {
  const large = { token: 'x'.repeat(9_000_000), expires_at: '' };
  const world = new ControlMemory({ 'access.invite': async () => ok(large) });
  const client = world.connect();
  client.stopReading();
  await world.ask(client, line(1, 'access.invite', {}));
  expect(client.paused).toBe(true);
  client.read();
  expect([client.paused, client.take().length]).toEqual([false, 1]);
  for (let id = 0; id < 4; id++) client.send(line(id, 'access.invite', {}));
  await world.clock.runFor(SLOW_READER_MS - 10);
  expect([client.paused, client.ended]).toEqual([true, false]);
  await world.clock.runFor(20);
  expect(client.ended).toBe(true);
  expect(world.log.lines).toMatchObject([
    { level: 'warn', fields: { unread_bytes: expect.any(Number) } },
  ]);
});

test('an answer larger than a line may be is an error of its own', async () => {
  for (const token of ['x'.repeat(17_000_000), 'ü'.repeat(9_000_000)]) {
    const large = { token, expires_at: '' };
    const world = new ControlMemory({ 'access.invite': async () => ok(large) });
    const answers = await world.ask(world.connect(), line(1, 'access.invite', {}));
    expect(codeOf(answers)).toBe('PAYLOAD_TOO_LARGE');
  }
});

test('a handler that throws is logged with its stack; the daemon stays', async () => {
  const world = new ControlMemory({
    'members.list': () => {
      throw new Error('out of luck');
    },
    'access.list': () => Promise.reject(new TypeError('of another kind')),
    'access.invite': async () => ok({ token: 1n as unknown as string, expires_at: '' }),
  });
  const client = world.connect();
  const sync = await world.ask(client, line(1, 'members.list'));
  expect(sync[0]?.error?.message).toBe('The daemon failed at this request: out of luck.');
  expect(codeOf(await world.ask(client, line(1, 'access.list')))).toBe('INTERNAL');
  expect(codeOf(await world.ask(client, line(1, 'access.invite')))).toBe('INTERNAL');
  expect(world.log.lines.map(({ level }) => level)).toEqual(['error', 'error', 'error']);
  expect(world.log.lines[0]?.fields.error).toContain('control-server.test.ts');
  expect(codeOf(await world.ask(client, hello))).toBeUndefined();
});

test('an unknown method is answered with the bare name of the nearest one, where there is one', async () => {
  const world = new ControlMemory();
  const client = world.connect();
  const [near] = await world.ask(client, line(1, 'members.lst'));
  expect(near?.error).toMatchObject({
    message: "There is no method 'members.lst'; the nearest one is 'members.list'.",
    data: { method: 'members.lst', nearest: 'members.list' },
  });
  const [far] = await world.ask(client, line(1, 'zzzzzzzzzzzzzzzzzzzzzzzz'));
  expect(far?.error?.message).toBe("There is no method 'zzzzzzzzzzzzzzzzzzzzzzzz'.");
  expect(far?.error?.data).not.toHaveProperty('nearest');
});

test('a half-closed client gets every answer, and then the end', async () => {
  const world = new ControlMemory();
  const client = world.connect();
  const id = world.backend.mintId();
  client.send(line('w', 'task.wait', { ids: [id], timeout_ms: 1_000 }));
  client.send(line('s', 'members.list'));
  client.finish();
  await world.clock.runFor(500);
  expect([client.take().length, client.ended]).toEqual([1, false]);
  await world.clock.runFor(1_000);
  expect(client.take()).toMatchObject([{ id: 'w', result: { pending: [id] } }]);
  expect(client.ended).toBe(true);
});

test('a broken invariant ends the daemon', async () => {
  const world = new ControlMemory({
    'members.list': () => Promise.reject(new InvariantError('two owners')),
  });
  const client = world.connect();
  await expect(world.ask(client, line(1, 'members.list'))).rejects.toThrow('two owners');
});

test('a stopping daemon takes no new work; a closing one answers what is open', async () => {
  const world = new ControlMemory();
  const client = world.connect();
  const ids = [world.backend.mintId()];
  await world.ask(client, line('w', 'task.wait', { ids, timeout_ms: 60_000 }));
  world.server.stopTaking();
  expect(codeOf(await world.ask(client, line(1, 'task.submit', { type: 't' })))).toBe('STOPPING');
  expect(codeOf(await world.ask(client, line(1, 'members.list')))).toBeUndefined();
  await world.server.close();
  expect(client.take()).toMatchObject([{ id: 'w', error: { data: { code: 'STOPPING' } } }]);
  expect(client.ended).toBe(true);
});
