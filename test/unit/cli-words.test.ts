/** Words of the verbs for people: names instead of ids, hints, and what is not said. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { coveyError } from '../../src/base/errors.ts';
import { err, ok } from '../../src/base/result.ts';
import type { ControlBackend } from '../../src/control/backend.ts';
import { ControlHost } from '../support/control-host.ts';
import { FAKE_STORE } from '../support/fake-task.ts';
import { CliProcess, covey } from './cli-harness.ts';

let host: ControlHost;
let original: ControlBackend;
beforeEach(async () => {
  host = await ControlHost.start();
  original = { ...host.backend.methods };
});
afterEach(async () => {
  await host.stop();
});
const answer = (methods: Partial<ControlBackend>) => Object.assign(host.backend.methods, methods);
const run = (...argv: string[]) => covey(argv, { socket: host.socket, stdin: '' });

describe('stores', () => {
  beforeEach(() => {
    answer({
      'members.list': async (params, session) => {
        const list = await original['members.list'](params, session);
        if (!list.ok) return list;
        const [member] = list.value.members;
        const members = member === undefined ? [] : [{ ...member, store_id: FAKE_STORE }];
        return ok({ ...list.value, members });
      },
    });
  });

  it('are told by the names of their members, in JSON by their ids', async () => {
    const receipt = await run('submit', '--', 'true');
    expect(receipt.stdout).toMatch(/^stored on: +fake$/m);
    const [id = ''] = host.backend.tasks.keys();
    expect((await run('get', id)).stdout).toMatch(/^home: +fake$/m);
    expect(JSON.parse((await run('get', '--json', id)).stdout)).toMatchObject({
      home: [FAKE_STORE],
    });
  });

  it('stand in brackets when nobody has them', async () => {
    answer({
      'task.submit': async (params, session) => {
        const receipt = await original['task.submit'](params, session);
        if (!receipt.ok) return receipt;
        return ok({ ...receipt.value, stored_on: [FAKE_STORE, 'bb'], stand_ins: ['bb'] });
      },
    });
    const { stdout } = await run('submit', '--', 'true');
    expect(stdout).toMatch(/^stored on: +fake, \[bb\]$/m);
    expect(stdout).toMatch(/^stand-ins: +\[bb\]$/m);
  });
});

describe('words', () => {
  it('of cancel: the wish, or the end that came before it', async () => {
    answer({ 'task.cancel': async ({ id }) => ok({ id, state: 'active' }) });
    const { stdout: id } = await run('submit', '-q', '--', 'true');
    expect((await run('cancel', id.trim())).stdout).toBe(`${id.trim()}  cancel requested\n`);
    answer({ 'task.cancel': async ({ id: same }) => ok({ id: same, state: 'completed' }) });
    expect((await run('cancel', id.trim())).stdout).toBe(`${id.trim()}  completed\n`);
    const json = JSON.parse((await run('cancel', '--json', id.trim())).stdout);
    expect(json).toEqual({ id: id.trim(), state: 'completed' });
  });

  it('of submit: how a command is written', async () => {
    const { stderr, exit } = await run('submit', 'echo', 'hi there');
    expect(exit).toBe(2);
    expect(stderr).toContain("did you mean: covey submit -- echo 'hi there'\n");
  });

  it('of logs: no beginning is missed where there was no output', async () => {
    const said = 'the beginning is not kept any more';
    for (const stdout of ['', 'end\n']) {
      answer({
        'task.logs': async () =>
          ok({ stdout, stderr: '', truncated: true, source: 'tail', state: 'active' }),
      });
      const { stderr } = await run('logs', host.backend.mintId());
      expect(stderr.includes(said), stdout).toBe(stdout !== '');
    }
  });

  it.each(['run', 'xargs', 'submit'])(
    "of '%s' in a deleted directory: a sentence",
    async (verb) => {
      const line = verb === 'submit' ? [verb, '--', 'true'] : [verb, 'true'];
      const gone = new Error('ENOENT: no such file or directory, uv_cwd');
      const { stderr, exit } = await new CliProcess(line, { socket: host.socket, stdin: '', gone })
        .result;
      expect(exit).toBe({ run: 125, xargs: 255, submit: 2 }[verb]);
      expect(stderr).toContain('was it deleted?');
      expect(stderr).toContain('--cwd');
      expect(host.backend.tasks.size).toBe(0);
    },
  );

  it("of another user's socket: whose command it must be, with exit 77", async () => {
    const { stderr, exit } = await covey(['members'], {
      socket: '/run/covey/covey.sock',
      open: async () => {
        const failure = { code: 'DISCONNECTED', message: 'No.', retryable: true };
        return err({ ...failure, data: { errno: 'EACCES' } });
      },
    });
    expect(exit).toBe(77);
    expect(stderr).toContain('sudo -u USER COVEY_SOCKET=/run/covey/covey.sock covey');
    expect(stderr).not.toContain('a coveyd of your own');
  });

  it('of errors: one full stop', () => {
    expect(coveyError('TOKEN_INVALID', { why: 'it was cut.' }).message).toMatch(/cut\.$/);
    expect(coveyError('TOKEN_INVALID', { why: 'it was cut.' }).message).not.toContain('..');
  });
});
