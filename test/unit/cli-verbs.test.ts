/** The verbs against a control server on a real Unix socket, with a scripted daemon behind it. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ControlHost } from '../support/control-host.ts';
import type { FakeOutcome } from '../support/fake-task.ts';
import { CliProcess, covey, until } from './cli-harness.ts';

let host: ControlHost;
let outcome: (argv: readonly string[]) => (FakeOutcome & { afterMs?: number }) | undefined;

const echo = (argv: readonly string[]): FakeOutcome => ({
  state: 'completed',
  exitCode: 0,
  stdout: `${argv.join(' ')}\n`,
});

beforeEach(async () => {
  outcome = echo;
  host = await ControlHost.start({ script: (params) => outcome(params.exec?.argv ?? []) });
});
afterEach(async () => {
  await host.stop();
});

const run = (argv: readonly string[], stdin?: string | Buffer) =>
  covey(argv, { socket: host.socket, ...(stdin === undefined ? {} : { stdin }) });

const onlyTask = () => {
  const [task] = host.backend.tasks.values();
  if (task === undefined) throw new Error('no task was submitted');
  return task;
};

describe('covey run', () => {
  it('prints what the command printed and exits as it did', async () => {
    const hello = await run(['run', 'echo', 'hello']);
    expect(hello).toMatchObject({ exit: 0, stdout: 'echo hello\n' });
    outcome = () => ({ state: 'failed', reason: 'exit', exitCode: 3, stderr: 'no such line\n' });
    const failed = await run(['run', 'grep', 'x']);
    expect(failed.exit).toBe(3);
    expect(failed.stdout).toBe('');
    expect(failed.stderr).toContain('no such line\n');
    expect(failed.stderr).not.toContain('failed');
  });

  it('exits 128+n for a signal, 124 for a timeout, 125 for a failure of the mesh', async () => {
    outcome = () => ({ state: 'failed', reason: 'exit', signal: 'SIGKILL' });
    expect((await run(['run', 'x'])).exit).toBe(137);
    outcome = () => ({ state: 'failed', reason: 'timeout', signal: 'SIGTERM' });
    expect((await run(['run', 'x'])).exit).toBe(124);
    outcome = () => ({ state: 'failed', reason: 'losses', error: { message: 'lost 4 times' } });
    const lost = await run(['run', 'x']);
    expect(lost.exit).toBe(125);
    expect(lost.stderr).toContain('losses');
    expect(lost.stderr).toContain('lost 4 times');
    expect((await run(['run'])).exit).toBe(125);
    expect((await covey(['run', 'x'])).exit).toBe(125);
  });

  it('passes flags of the command, cwd, environment and stdin on', async () => {
    const { exit } = await covey(
      ['run', '--env', 'A=1', '--env', 'B', '--timeout', '2s', '--', 'wc', '-l', '--', '--json'],
      { socket: host.socket, stdin: 'two\nlines\n', env: { B: 'mine' } },
    );
    expect(exit).toBe(0);
    expect(onlyTask().params).toMatchObject({
      run_timeout_ms: 2_000,
      exec: {
        argv: ['wc', '-l', '--', '--json'],
        cwd: '/tmp',
        env: { A: '1', B: 'mine' },
        stdin: 'two\nlines\n',
      },
    });
  });

  it('carries stdin that is no text, and refuses more than 1 MiB', async () => {
    await run(['run', 'cat'], Buffer.from([0xff, 0x00, 0x80]));
    expect(onlyTask().params.exec?.stdin).toEqual({ base64: '/wCA' });
    const large = await run(['run', 'cat'], Buffer.alloc(1_024 * 1_024 + 1));
    expect(large.exit).toBe(125);
    expect(large.stderr).toContain('longer than 1048576 bytes');
    expect(host.backend.tasks.size).toBe(1);
  });

  it('prints the id with --detach and does not wait', async () => {
    outcome = () => undefined;
    const detached = await run(['run', '--detach', 'sleep', '9']);
    expect(detached.stdout).toBe(`${onlyTask().id}\n`);
    expect(detached.exit).toBe(0);
    expect(onlyTask().state).toBe('active');
  });

  it('cancels on Ctrl-C', async () => {
    outcome = () => undefined;
    const process = new CliProcess(['run', 'sleep', '9'], { socket: host.socket });
    await until(() => host.backend.tasks.size === 1);
    process.interrupt();
    expect(await process.result).toMatchObject({ exit: 130 });
    expect(onlyTask()).toMatchObject({ state: 'canceled', cancelRequested: 'SIGINT' });
  });

  it('leaves the task alone on a second Ctrl-C and prints its id on stderr', async () => {
    outcome = () => undefined;
    const process = new CliProcess(['run', 'sleep', '9'], {
      socket: host.socket,
      open: async (path) => {
        const { openConnection } = await import('../../src/client/connection.ts');
        const opened = await openConnection(path);
        if (!opened.ok) return opened;
        const connection = opened.value;
        // A cancel that never comes back: a command that ignores TERM.
        const call: typeof connection.call = (method, params, options) =>
          method === 'task.cancel'
            ? new Promise(() => undefined)
            : connection.call(method, params, options);
        return {
          ok: true,
          value: {
            ...connection,
            call,
            on: connection.on.bind(connection),
            closed: connection.closed,
            close: () => connection.close(),
          },
        };
      },
    });
    await until(() => host.backend.tasks.size === 1);
    process.interrupt();
    await process.printed('stderr', 'again');
    process.interrupt();
    const result = await process.result;
    expect(result.exit).toBe(130);
    expect(result.stderr.trimEnd().endsWith(onlyTask().id)).toBe(true);
    expect(onlyTask().state).toBe('active');
  });

  it('shows output once on a terminal, live', async () => {
    outcome = () => ({
      state: 'completed',
      exitCode: 0,
      stdout: 'out\n',
      stderr: 'err\n',
      afterMs: 30,
    });
    const result = await covey(['run', 'x'], { socket: host.socket, terminal: true });
    expect(result.stdout).toBe('out\n');
    expect(result.stderr.match(/err\n/g)).toHaveLength(1);
  });

  it('outlives a restart of the daemon', async () => {
    outcome = () => undefined;
    const process = new CliProcess(['run', 'sleep', '9'], { socket: host.socket });
    await until(() => host.backend.tasks.size === 1);
    await host.crash();
    host.backend.finish(onlyTask().id, { state: 'completed', exitCode: 0, stdout: 'done\n' });
    await host.restart();
    expect(await process.result).toMatchObject({ exit: 0, stdout: 'done\n' });
    expect(host.backend.tasks.size).toBe(1);
  });
});

describe('covey submit', () => {
  it('submits a typed task and prints its receipt', async () => {
    const line = [
      'submit',
      'mail',
      '--payload',
      '{"to":"x"}',
      '--delay',
      '10m',
      '--label',
      'a=b',
      '-q',
    ];
    const result = await run(line);
    expect(result.stdout).toBe(`${onlyTask().id}\n`);
    expect(result.stderr).toContain('degraded');
    expect(onlyTask().params).toMatchObject({
      type: 'mail',
      payload: { to: 'x' },
      delay_ms: 600_000,
      labels: { a: 'b' },
    });
  });

  it('reads the payload from stdin, and takes every field', async () => {
    const flags =
      '--queue q --priority 5 --attempts 4 --losses-max 0 --on-lost fail --backoff exponential:1s:1m ' +
      '--queue-timeout 1h --run-timeout 2h --total-timeout 3h --dedupe-key k --durability quorum ' +
      '--on-partition available --output tail --run-at 2030-01-01T00:00:00Z --json';
    const result = await run(['submit', 'mail', '--payload', '-', ...flags.split(' ')], '[1]');
    expect(JSON.parse(result.stdout)).toMatchObject({ id: onlyTask().id, existing: false });
    expect(onlyTask().params).toMatchObject({
      payload: [1],
      queue: 'q',
      priority: 5,
      attempts: 4,
      losses_max: 0,
      on_lost: 'fail',
      backoff: { type: 'exponential', delay_ms: 1_000, max_ms: 60_000 },
      queue_timeout_ms: 3_600_000,
      run_timeout_ms: 7_200_000,
      total_timeout_ms: 10_800_000,
      dedupe_key: 'k',
      durability: 'quorum',
      on_partition: 'available',
      output: 'tail',
      run_at: '2030-01-01T00:00:00Z',
    });
  });

  it('takes a command after --, with its own flags untouched', async () => {
    await run(['submit', '--attempts', '2', '--', 'gzip', '-9', '--json']);
    expect(onlyTask().params).toMatchObject({
      attempts: 2,
      exec: { argv: ['gzip', '-9', '--json'] },
    });
  });

  it('refuses what does not go together, with exit 2', async () => {
    for (const line of [
      ['submit'],
      ['submit', 'mail', '--', 'x'],
      ['submit', '--payload', '1', '--', 'x'],
      ['submit', 'mail', '--payload', '{'],
      ['submit', 'mail', '--shell'],
      ['submit', 'mail', '--delay', '10'],
      ['submit', 'mail', '--delay', '1s', '--run-at', '2030-01-01T00:00:00Z'],
      ['submit', 'mail', '--on-lost', 'weep'],
      ['submit', 'mail', '--nonsense'],
    ]) {
      const result = await run(line);
      expect(result.exit, line.join(' ')).toBe(2);
      expect(result.stderr, line.join(' ')).not.toBe('');
    }
    expect(host.backend.tasks.size).toBe(0);
  });
});

describe('verbs about tasks', () => {
  it('finds a task by the end of its id', async () => {
    await run(['run', 'echo', 'a b']);
    const { id } = onlyTask();
    const whole = await run(['get', id.toLowerCase()]);
    expect(whole.stdout).toContain("echo 'a b'");
    const suffix = await run(['get', '--json', id.slice(-6)]);
    expect(JSON.parse(suffix.stdout)).toMatchObject({ id, state: 'completed' });
    expect(await run(['get', '--read', '2', id])).toMatchObject({ exit: 0 });
    expect((await run(['get', '--read', 'quorum', id])).stdout).toContain('completed');
    expect(await run(['get', '--read', 'most', id])).toMatchObject({ exit: 2 });
    expect(host.backend.reads).toEqual([undefined, undefined, 2, 'quorum']);
    expect(await run(['get', 'ZZZZZZ'])).toMatchObject({ exit: 1 });
    expect(await run(['get', 'abc'])).toMatchObject({ exit: 2 });
  });

  it('lists, explains, shows logs, cancels, retries and waits', async () => {
    await run(['run', 'true']);
    const { id } = onlyTask();
    expect((await run(['tasks'])).stdout).toMatch(/^ID .*\n\S+ +completed/);
    expect((await run(['tasks', '-q'])).stdout).toBe(`${id}\n`);
    expect(JSON.parse((await run(['tasks', '--json'])).stdout)).toMatchObject({ id });
    expect((await run(['tasks', '-q', '--state', 'failed'])).stdout).toBe('');
    expect((await run(['conflicts'])).stdout).toMatch(/^ID +STANDS +OTHERS/);
    expect((await run(['explain', id])).stdout).toContain('BECAUSE');
    expect((await run(['logs', id])).stdout).toBe('true\n');
    expect((await run(['logs', '-f', id])).stdout).toBe('true\n');
    expect((await run(['wait', id])).stdout).toBe(`${id}  completed\n`);
    const retried = await run(['retry', '-q', id]);
    expect(retried.stdout.trim()).not.toBe(id);
    expect(host.backend.tasks.get(retried.stdout.trim())).toMatchObject({ retryOf: id });
    outcome = () => undefined;
    const other = (await run(['run', '--detach', 'sleep', '9'])).stdout.trim();
    expect(await run(['wait', '--timeout', '20ms', other, id])).toMatchObject({ exit: 75 });
    const canceled = await run(['cancel', other, 'ZZZZZZ']);
    expect(canceled).toMatchObject({ exit: 1, stdout: `${other}  canceled\n` });
    expect(host.backend.tasks.get(other)?.state).toBe('canceled');
    expect(await run(['wait', other])).toMatchObject({ exit: 1 });
  });
});

describe('verbs about the mesh', () => {
  it('shows members and status', async () => {
    expect((await run(['members'])).stdout).toContain('fake*');
    expect(JSON.parse((await run(['members', '--json'])).stdout)).toMatchObject({
      view_hash: 'fake',
    });
    expect((await run(['status'])).stdout).toContain('fake-mesh');
    expect((await run(['access', 'list'])).stdout).toContain('PEER ID');
    expect((await run(['access', 'revoke'])).exit).toBe(2);
  });

  it('removes a member by its name or the end of its PeerId, and says why not', async () => {
    expect(await run(['forget', 'nobody'])).toMatchObject({
      exit: 1,
      stderr: "covey forget: There is no member 'nobody'.\n  'covey members' lists them.\n",
    });
    const refused = await run(['forget', 'fake']);
    expect(refused.exit).toBe(1);
    expect(refused.stderr).toContain('cannot be removed: it is alive');
    const gone = { name: 'gone', peer_id: 'fake-dead', store_id: 'fake-store' };
    host.backend.others = [gone];
    for (const name of ['gone', 'ke-dead'])
      expect(await run(['forget', name])).toMatchObject({
        exit: 0,
        stdout: 'gone was removed; its store fake-store has no part in any home any more\n',
      });
    expect(JSON.parse((await run(['forget', '--json', 'fake-dead'])).stdout)).toEqual(gone);
    host.backend.others = [gone, { ...gone, peer_id: 'x-fake-dead' }];
    expect((await run(['forget', 'gone'])).stderr).toContain("2 members are 'gone'");
    host.backend.others = [{ ...gone, status: 'removed' }];
    expect((await run(['members'])).stdout).not.toContain('gone');
    expect((await run(['members', '--all'])).stdout).toMatch(/gone +removed/);
    // A second time the same.
    expect((await run(['forget', 'gone'])).stdout).toContain('gone was removed');
  });

  it('watches members until Ctrl-C', async () => {
    const process = new CliProcess(['members', '-w'], { socket: host.socket });
    await process.printed('stdout', 'fake*');
    process.interrupt();
    expect((await process.result).exit).toBe(0);
  });

  it('prints the token alone, and joins with one from stdin', async () => {
    const invite = await run(['invite', '--ttl', '5m']);
    expect(invite).toMatchObject({ exit: 0, stdout: 'covey1-fake-token\n', stderr: '' });
    expect(await run(['join', '-'], invite.stdout)).toMatchObject({ exit: 0 });
    expect(await run(['join', 'other'])).toMatchObject({ exit: 1 });
    // The fake one is in the mesh of its token: it is not said to have joined.
    expect((await run(['join', 'covey1-fake-token'])).stdout).toBe(
      'already a member of mesh fake-mesh, 2 members\n',
    );
    expect(await run(['leave'])).toMatchObject({ exit: 0, stdout: 'left\n' });
  });
});

describe('the command line', () => {
  it('says that no daemon runs, and how to start one, with exit 69', async () => {
    const result = await covey(['members']);
    expect(result.exit).toBe(69);
    expect(result.stderr).toContain('/nonexistent/covey.sock');
    expect(result.stderr).toContain('coveyd');
  });

  it('shows every verb and every flag', async () => {
    const top = await covey(['--help']);
    expect(top.exit).toBe(0);
    for (const verb of ['run', 'xargs', 'explain', 'testnet']) expect(top.stdout).toContain(verb);
    const help = await covey(['help', 'xargs']);
    for (const flag of ['--null', '--jobs', '--keep-order', '--pipe', '--socket', '--peer']) {
      expect(help.stdout).toContain(flag);
    }
    expect(await covey([])).toMatchObject({ exit: 2 });
    const typo = await covey(['memberz']);
    expect(typo).toMatchObject({ exit: 2 });
    expect(typo.stderr).toContain("did you mean 'members'?");
  });

  it('takes --socket before and after the verb, above the environment', async () => {
    for (const line of [
      ['--socket', host.socket, 'members', '-q'],
      ['members', '-q', `--socket=${host.socket}`],
    ]) {
      expect((await covey(line)).exit, line.join(' ')).toBe(0);
    }
    expect((await covey(['members', '--peer', 'nonsense'])).exit).toBe(2);
    expect((await covey(['members', '--peer', 'testnet:1', '--socket', 'x'])).exit).toBe(2);
  });

  it('ends quietly when its reader has left', async () => {
    const process = new CliProcess(['members'], { socket: host.socket });
    process.stdout.error = Object.assign(new Error('write EPIPE'), { code: 'EPIPE' });
    expect(await process.result).toMatchObject({ exit: 141, stderr: '' });
  });

  it('does not call a full disk a success', async () => {
    const process = new CliProcess(['members'], { socket: host.socket });
    process.stdout.error = Object.assign(new Error('ENOSPC: no space left'), { code: 'ENOSPC' });
    const result = await process.result;
    expect(result.exit).toBe(1);
    expect(result.stderr).toContain('no space left');
  });

  it('colours on a terminal, unless NO_COLOR is set', async () => {
    const options = { socket: host.socket, terminal: true };
    expect((await covey(['members'], options)).stdout).toContain('\u001b[');
    expect((await covey(['members', '--no-color'], options)).stdout).not.toContain('\u001b[');
    const plain = await covey(['members'], { ...options, env: { NO_COLOR: '1' } });
    expect(plain.stdout).not.toContain('\u001b[');
  });
});
