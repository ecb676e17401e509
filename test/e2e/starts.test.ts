/** Starts in strange surroundings: what a daemon makes of its data directory, its environment and its file. */
import { spawn } from 'node:child_process';
import { chmod, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { openConnection } from '../../src/client/index.ts';
import { defaultSocketPath } from '../../src/client/socket-path.ts';
import { COVEY, COVEYD } from '../../src/testnet/paths.ts';
import { TEST_MS } from './mesh.ts';
import { atEnd, daemons } from './setting.ts';

async function covey(...args: string[]) {
  const child = spawn(COVEY, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const code = new Promise((resolve) => child.on('exit', resolve));
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return { code: await code, out, err };
}

const modeOf = async (path: string): Promise<string> =>
  ((await stat(path)).mode & 0o777).toString(8);

test(
  'the data directory is 0700 and the socket 0600, whatever the umask and whatever it was before',
  async () => {
    const made = await daemons();
    const dir = join(made.dir, 'fresh');
    // The default of a user without a runtime directory.
    const socket = defaultSocketPath({}, 1_000, dir);
    const before = process.umask(0o022);
    atEnd(async () => process.umask(before));
    const first = await made.start('fresh', ['--socket', socket]);
    expect(first.ready.socket).toBe(join(dir, 'covey.sock'));
    const modes = async () => ({ dir: await modeOf(dir), socket: await modeOf(socket) });
    expect(await modes()).toEqual({ dir: '700', socket: '600' });
    await first.kill('SIGTERM');
    await chmod(dir, 0o755);
    await made.start('fresh', ['--socket', socket]);
    expect(await modes()).toEqual({ dir: '700', socket: '600' });
  },
  TEST_MS,
);

test(
  'a place in which nothing can be made: exit 1 and a sentence',
  async () => {
    const made = await daemons();
    const bind = ['--allow-root', '--bind', '127.77.1.4:0'];
    const data = await made.run([...bind, '--data-dir', '/proc/nope']);
    expect(data).toMatchObject({ code: 1, stdout: '' });
    expect(data.stderr).toMatch(
      /^coveyd: the data directory \/proc\/nope cannot be used: ENOENT.*\n$/,
    );
    const where = ['--data-dir', join(made.dir, 'data'), '--socket', '/proc/nope/covey.sock'];
    const socket = await made.run([...bind, ...where]);
    expect(socket).toMatchObject({ code: 1, stdout: '' });
    expect(socket.stderr).toMatch(/^coveyd: .*socket \/proc\/nope\/covey.sock.*\n$/);
  },
  TEST_MS,
);

test(
  'where it lies may stand in the file, and any key may be a flag',
  async () => {
    const made = await daemons();
    const file = join(made.dir, 'covey.yaml');
    const socket = join(made.dir, 'from-file.sock');
    const dir = join(made.dir, 'from-file');
    await writeFile(file, `data_dir: ${dir}\nsocket: ${socket}\nname: filed\nlabels: {zone: a}\n`);
    // The flags of `start` name other places, and go first; `run` has none.
    const flagged = await made.start('flagged', ['--config', file, '--redial-max', '5s']);
    expect(flagged.ready.socket).toBe(join(made.dir, 'flagged.sock'));
    await flagged.kill('SIGTERM');
    const bind = ['--bind', '127.77.1.5:0', '--allow-root', '--copies', '1'];
    const running = made.run([...bind, '--copies-required', '1', '--config', file]);
    const opened = await until(async () => {
      const connection = await openConnection(socket);
      return connection.ok ? connection.value : undefined;
    });
    const status = await opened.call('members.list', {});
    expect(status).toMatchObject({
      value: { members: [{ name: 'filed', labels: { zone: 'a' } }] },
    });
    const receipt = await opened.call('task.submit', { exec: { argv: ['true'] } });
    expect(receipt).toMatchObject({ ok: true, value: { required: 1, degraded: false } });
    await opened.call('mesh.leave', {});
    opened.close();
    await running;
    expect(await modeOf(dir)).toBe('700');
  },
  TEST_MS,
);

test(
  'a task may start a daemon of its own, also a task of a debugging person',
  async () => {
    const made = await daemons();
    const outer = await made.start('outer', [], { COVEY_DEBUG: '1' });
    const at = ['--socket', String(outer.ready.socket)];
    const inner = [
      ...[COVEYD, '--allow-root', '--bind', '127.77.1.6:0'],
      ...['--data-dir', join(made.dir, 'inner'), '--socket', join(made.dir, 'inner.sock')],
    ].join(' ');
    // It prints its ready line, and is asked to stop.
    const script = `${inner} > ${made.dir}/ready & while ! grep -q ready ${made.dir}/ready; do sleep 0.05; done; env | grep -c ^COVEY_; kill $!; wait $!`;
    const ran = await covey('run', ...at, '--timeout', '60s', '--', 'sh', '-c', script);
    expect(ran).toEqual({
      code: 0,
      out: expect.stringMatching(/^[6-9]\n$/),
      err: expect.any(String),
    });
  },
  TEST_MS,
);

test(
  'covey leave --timeout says how long running commands may go on',
  async () => {
    const made = await daemons();
    const first = await made.start('first');
    // Without the flag this would take longer than the test may.
    const second = await made.start('second', ['--shutdown-timeout', '10m']);
    const at = (daemon: typeof first): string[] => ['--socket', String(daemon.ready.socket)];
    const { out: token } = await covey('invite', ...at(first));
    expect(await covey('join', ...at(second), token.trim())).toMatchObject({ code: 0 });
    const { out } = await covey('submit', '-q', ...at(second), '--', 'sleep', '600');
    const id = out.trim();
    await until(async () => {
      const { out: shown } = await covey('get', '--json', ...at(second), id);
      return shown.includes('"state":"active"') ? true : undefined;
    });
    expect(await covey('leave', '--timeout', '1s', ...at(second))).toMatchObject({
      code: 0,
      out: 'left\n',
    });
    expect(await second.ended).toMatchObject({ code: 0 });
    const explained = await covey('get', '--json', ...at(first), id);
    expect(JSON.parse(explained.out)).toMatchObject({ attempts: expect.anything(), failures: 0 });
  },
  TEST_MS,
);

/** Asks again until there is an answer; the test's own time limit ends it. */
async function until<T>(ask: () => Promise<T | undefined>): Promise<T> {
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    await delay(50);
  }
}
