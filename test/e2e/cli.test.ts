/** `covey run` and `covey xargs` against real daemons: what a shell sees of them. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { COVEY } from '../../src/testnet/paths.ts';
import { Mesh, processOf, TEST_MS } from './mesh.ts';

const execFileAsync = promisify(execFile);
let mesh: Mesh;

beforeAll(async () => {
  mesh = await Mesh.up(3, { slots: 2 });
}, TEST_MS);

afterAll(() => mesh.end(), TEST_MS);

function start(verb: string, args: readonly string[], via = 1) {
  const child = spawn(COVEY, [verb, '--socket', mesh.network.socket(via), ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
    cwd: mesh.dir,
  });
  const exit = once(child, 'exit').then(([code]) => code as number | null);
  const ended = Promise.all([exit, text(child.stdout), text(child.stderr)]).then(
    ([code, out, err]) => ({ code, out, err }),
  );
  return { child, ended };
}

function covey(verb: string, args: readonly string[], stdin: string | Buffer = '') {
  const { child, ended } = start(verb, args);
  child.stdin.end(stdin);
  return ended;
}

test(
  'run: stdin, output, working directory and exit code are those of the command',
  async () => {
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    const [sorted, raw, where, codes, killed, none, timedOut, env] = await Promise.all([
      covey('run', ['sort', '-r'], 'a\nc\nb\n'),
      covey('run', ['od', '-An', '-tx1', '-v', '-w256'], bytes),
      covey('run', ['--no-stdin', 'pwd'], 'not read'),
      covey('run', ['--shell', 'echo out; echo err >&2; exit 42']),
      covey('run', ['--shell', 'kill -9 $$']),
      covey('run', ['/no/such/command']),
      covey('run', ['--timeout', '300ms', 'sleep', '60']),
      covey('run', ['--env', 'WORD=three words', '--shell', 'echo "$WORD-$COVEY_ATTEMPT"']),
    ]);
    expect(sorted).toEqual({ code: 0, out: 'c\nb\na\n', err: '' });
    expect(raw.out.trim()).toBe(
      Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(' '),
    );
    expect(where).toEqual({ code: 0, out: `${mesh.dir}\n`, err: '' });
    expect(codes).toEqual({ code: 42, out: 'out\n', err: 'err\n' });
    expect(killed.code).toBe(137);
    expect(none.code).toBe(127);
    expect(timedOut).toMatchObject({ code: 124, err: expect.stringContaining('timeout') });
    expect(env).toEqual({ code: 0, out: 'three words-1\n', err: '' });
  },
  TEST_MS,
);

test(
  'run: the first Ctrl-C cancels the task, the second leaves it alone and prints its id',
  async () => {
    const ledger = mesh.ledger('interrupts');
    const gate = mesh.gate();
    const [line = ''] = ledger.command(gate.wait).exec.argv;
    const first = start('run', ['--no-stdin', '--shell', line]);
    const started = await mesh.network.waitFor('the start', async () => (await ledger.starts())[0]);
    const child = await processOf(started);
    first.child.kill('SIGINT');
    expect(await first.ended).toMatchObject({ code: 130, out: '' });
    await mesh.until(2, started.id, 'canceled');
    expect(() => process.kill(child.pid, 0)).toThrow('ESRCH');

    // A command that takes its time to end after TERM, so that the second comes before the end.
    const [patient = ''] = ledger.command(`trap '' TERM; ${gate.wait}`).exec.argv;
    const second = start('run', ['--no-stdin', '--shell', patient]);
    const { id } = await mesh.network.waitFor('the start', async () => (await ledger.starts())[1]);
    const canceling = once(second.child.stderr, 'data');
    second.child.kill('SIGINT');
    await canceling;
    second.child.kill('SIGINT');
    const { code, err } = await second.ended;
    expect({ code, detached: err.includes(id) }).toEqual({ code: 130, detached: true });
    await gate.open();
  },
  TEST_MS,
);

test(
  'tasks: the few that run are found below many newer ones that wait; members and explain tell them apart',
  async () => {
    const waiting = async (): Promise<number> =>
      ((await mesh.network.members(1)) ?? []).reduce((sum, { load }) => sum + load.waiting, 0);
    const gate = mesh.gate();
    try {
      const active = await mesh.occupy(1, 6, gate);
      const connection = await mesh.connection(1);
      const tasks = Array.from({ length: 130 }, () => ({ exec: { argv: ['true'], cwd: '/' } }));
      const bulk = await connection.call('task.submit_bulk', { tasks });
      if (!bulk.ok) throw new Error(bulk.error.message);
      await mesh.network.waitFor('130 wait, not 136', async () => (await waiting()) === 130);

      const { runner, because } = await mesh.explain(2, active[0] ?? '');
      expect(because.find(({ name }) => name === runner)).toMatchObject({
        ok: true,
        code: 'runs_here',
      });
      const listed = await covey('tasks', ['--state', 'active', '-q']);
      expect(listed).toMatchObject({ code: 0, err: '' });
      expect(listed.out.trimEnd().split('\n').sort()).toEqual([...active].sort());
      const newest = await covey('tasks', ['--state', 'active', '-q', '-n', '2']);
      expect(newest.out).toBe(listed.out.split('\n').slice(0, 2).join('\n').concat('\n'));
      const all = await covey('tasks', ['--state', 'waiting', '--all', '-q']);
      expect(new Set(all.out.trimEnd().split('\n')).size).toBe(130);
      // Page after page, each through another peer than the last: every task once, the newest first.
      const paged: string[] = [];
      let cursor: string | undefined;
      for (let page = 0; page === 0 || cursor !== undefined; page++) {
        const from = cursor === undefined ? {} : { cursor };
        const list = { state: 'waiting', limit: 40, ...from } as const;
        const answer = await mesh.network.call(1 + (page % 3), 'task.list', list, 20_000);
        if (!answer.ok) throw new Error(answer.error.message);
        const { tasks: shown, complete, unreachable } = answer.value;
        expect({ complete, unreachable, fits: shown.length <= 40 }).toEqual({
          complete: true,
          unreachable: [],
          fits: true,
        });
        paged.push(...shown.map((task) => task.id));
        cursor = answer.value.cursor;
      }
      expect(paged).toEqual(all.out.trimEnd().split('\n'));
      await gate.open();
      const ids = bulk.value.receipts.flatMap((receipt) => ('id' in receipt ? [receipt.id] : []));
      expect(await covey('wait', ids)).toMatchObject({ code: 0 });
    } finally {
      await gate.open();
    }
  },
  TEST_MS,
);

test(
  'no daemon: exit 69, and how to start one',
  async () => {
    const { child, ended } = start('run', ['true']);
    child.stdin.end();
    expect(await ended).toMatchObject({ code: 0 });
    const away = await execFileAsync(COVEY, ['tasks', '--socket', '/nonexistent/covey.sock']).then(
      () => undefined,
      (thrown: { code: number; stderr: string }) => thrown,
    );
    expect(away).toMatchObject({ code: 69, stderr: expect.stringContaining('coveyd') });
  },
  TEST_MS,
);

test(
  'xargs gives what xargs gives, line by line and in order',
  async () => {
    const words = Array.from({ length: 60 }, (_, i) => `word ${i} "quoted" \\ $HOME`);
    const input = `${words.join('\n')}\n`;
    const plain = spawn('xargs', ['-d', '\n', '-n', '7', 'printf', '<%s>\\n'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    plain.stdin.end(input);
    const [wanted, got, zero, replaced] = await Promise.all([
      text(plain.stdout),
      covey('xargs', ['-k', '-n', '7', 'printf', '<%s>\\n'], input),
      covey('xargs', ['-0', '-k', 'printf', '[%s]'], 'one\ntwo\0three\0'),
      covey('xargs', ['-k', 'echo', 'before', '{}', 'after'], 'a b\nc\n'),
    ]);
    expect(got).toEqual({ code: 0, out: wanted, err: '' });
    expect(zero).toMatchObject({ code: 0, out: '[one\ntwo][three]' });
    expect(replaced).toMatchObject({ code: 0, out: 'before a b after\nbefore c after\n' });
  },
  TEST_MS,
);

test(
  'xargs: --pipe cuts stdin at line ends, -j holds at once, and above a hundred failures are 101',
  async () => {
    const input = Array.from({ length: 2_000 }, (_, i) => `line ${i} äöü\n`).join('');
    const marks = join(mesh.dir, 'jobs');
    // The end is noted before it comes: what is counted as running at once is never more than what was. The first
    // three wait for each other, or on a busy host one might end before the next begins.
    const met = `while [ $(grep -c + ${marks}) -lt 3 ]; do sleep 0.02; done`;
    const job = `echo + >> ${marks}; ${met}; sleep 0.1; echo - >> ${marks}`;
    const [copied, counted, jobs, failing] = [
      await covey('xargs', ['-k', '--pipe', '--block', '8KiB', 'cat'], input),
      await covey('xargs', ['--pipe', '--block', '8KiB', 'wc', '-l'], input),
      await covey('xargs', ['-j', '3', 'sh', '-c', job], '1\n'.repeat(12)),
      await covey('xargs', ['-n', '1', '-j', '16', 'false'], 'x\n'.repeat(102)),
    ];
    expect(copied).toEqual({ code: 0, out: input, err: '' });
    const counts = counted.out.trimEnd().split('\n').map(Number);
    expect(counts.length).toBeGreaterThanOrEqual(4);
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(2_000);
    expect(jobs).toEqual({ code: 0, out: '', err: '' });
    let running = 0;
    const atOnce = (await readFile(marks, 'utf8'))
      .trimEnd()
      .split('\n')
      .map((mark) => {
        running += mark === '+' ? 1 : -1;
        return running;
      });
    expect(atOnce).toHaveLength(24);
    // There is room for six.
    expect(Math.max(...atOnce)).toBe(3);
    expect(failing).toMatchObject({ code: 101, out: '' });
    expect(failing.err).toContain('102 of 102 tasks failed');
  },
  TEST_MS,
);

test(
  'logs -f: followed from another peer than the runner while it writes, and ended by the end',
  async () => {
    const ledger = mesh.ledger('followed');
    const [first, second] = [mesh.gate(), mesh.gate()];
    const [script = ''] = ledger.command(
      `echo one; echo oops >&2; ${first.wait}; echo two; ${second.wait}; printf three; exit 3`,
    ).exec.argv;
    const submitted = await covey('submit', ['-q', '--', 'sh', '-c', script]);
    expect(submitted).toMatchObject({ code: 0, err: '' });
    const id = submitted.out.trim();
    const started = await mesh.network.waitFor('the start', async () => (await ledger.starts())[0]);
    const via = mesh.another(mesh.indexOf(started.peer));
    const { child, ended } = start('logs', ['-f', id], via);
    let out = '';
    child.stdout.on('data', (chunk) => {
      out += String(chunk);
    });
    await mesh.network.waitFor('the first line is there', () => out === 'one\n');
    await first.open();
    await mesh.network.waitFor('the second follows', () => out === 'one\ntwo\n');
    expect(await mesh.get(via, id)).toMatchObject({ state: 'active', runner: started.peer });
    await second.open();
    expect(await ended).toEqual({ code: 0, out: 'one\ntwo\nthree', err: 'oops\n' });
    expect(await mesh.get(via, id)).toMatchObject({ state: 'failed', exit_code: 3 });
  },
  TEST_MS,
);

test(
  'xargs: failed tasks are counted in the exit code, and a peer that dies costs no line',
  async () => {
    const failing = await covey('xargs', ['sh', '-c', 'exit $1', 'sh'], '0\n3\n0\n7\n');
    expect(failing.code).toBe(2);

    const ledger = mesh.ledger('xargs');
    const note = ledger.command('sleep 0.1; echo "line $1"').exec.argv[0] ?? '';
    const lines = Array.from({ length: 60 }, (_, i) => String(i));
    const running = covey('xargs', ['-k', 'sh', '-c', note, 'sh'], `${lines.join('\n')}\n`);
    await mesh.network.waitFor('some have run', async () => (await ledger.starts()).length > 12);
    await mesh.network.kill(3);
    expect(await running).toEqual({
      code: 0,
      out: lines.map((line) => `line ${line}\n`).join(''),
      err: '',
    });
    await mesh.network.restart(3);
  },
  TEST_MS,
);
