/** The joblog of GNU parallel: lines for tasks that are over, and going on by them. */
import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { TaskView } from '../../src/api/task.ts';
import type { Finished } from '../../src/cli/xargs/job.ts';
import { endedOf, Joblog, lineOf, parseJoblog, type Resume } from '../../src/cli/xargs/joblog.ts';

const HEADER = 'Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand';

function finished(index: number, task: Partial<TaskView> = {}): Finished {
  const attempt = {
    runner_name: 'host-b',
    placed_at: '2026-01-01T00:00:00.250Z',
    ended_at: '2026-01-01T00:00:01.500Z',
  };
  const view = { state: 'completed', exit_code: 0, stdout: 'ok\n', stderr: '', ...task };
  return {
    index,
    work: { kind: 'items', items: ['a'] },
    ending: {
      kind: 'task',
      outputDropped: false,
      task: { attempts: [attempt], ...view } as unknown as TaskView,
    },
  };
}

describe('a line', () => {
  test('has the nine fields of GNU parallel', () => {
    expect(lineOf(finished(4), ['gzip', '-9', "it's.txt"], 12).split('\t')).toEqual([
      '5',
      'host-b',
      '1767225600.250',
      '     1.250',
      '12',
      '3',
      '0',
      '0',
      `gzip -9 'it'\\''s.txt'`,
    ]);
  });

  test('stays one line of nine fields, whatever the command is', () => {
    const line = lineOf(finished(0), ['printf', 'a\tb\nc', "q'\\"], 0);
    expect(line.split('\n')).toHaveLength(1);
    expect(line.split('\t')).toHaveLength(9);
    expect(line.split('\t')[8]).toBe("printf $'a\\tb\\nc' $'q\\'\\\\'");
  });

  test.each<[string, Finished, { exit: number; signal: number }]>([
    ['an exit code', finished(0, { state: 'failed', exit_code: 3 }), { exit: 3, signal: 0 }],
    ['a signal', finished(0, { state: 'failed', signal: 'SIGKILL' }), { exit: 0, signal: 9 }],
    [
      'neither',
      finished(0, { state: 'failed', reason: 'timeout', exit_code: undefined }),
      { exit: -1, signal: 0 },
    ],
    [
      'no task at all',
      { ...finished(0), ending: { kind: 'refused', id: undefined, why: 'too long' } },
      { exit: -1, signal: 0 },
    ],
  ])('tells %s', (_, over, ended) => {
    expect(endedOf(over)).toEqual(ended);
  });
});

describe('reading one', () => {
  const line = (seq: number, exit: number, signal = 0) =>
    `${seq}\t:\t1767225600.250\t     1.250\t0\t3\t${exit}\t${signal}\ttrue`;

  test('takes the last line of each, and not one that was cut off', () => {
    const text = [HEADER, line(1, 0), line(3, 1), line(2, 0, 9), line(3, 0), '4\t:\t17'].join('\n');
    expect(parseJoblog(text)).toEqual({
      ok: true,
      value: new Map([
        [1, { exit: 0, signal: 0 }],
        [3, { exit: 0, signal: 0 }],
        [2, { exit: 0, signal: 9 }],
      ]),
    });
  });

  test.each(['nonsense', '0\t:\t1\t1\t0\t0\t0\t0\ttrue', '1\t:\t1\t1\t0\t0\tx\t0\ttrue'])(
    'says which line is none: %j',
    (wrong) => {
      expect(parseJoblog(`${HEADER}\n${wrong}\n`)).toEqual({
        ok: false,
        error: 'line 2 is none of a joblog',
      });
    },
  );
});

describe('the file', () => {
  let dir = '';
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'covey-joblog-'));
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  async function opened(name: string, resume: Resume): Promise<Joblog> {
    const log = await Joblog.open(name, resume, (why) => {
      throw new Error(why);
    });
    if (!log.ok) throw new Error(log.error);
    return log.value;
  }
  const doneOf = (log: Joblog): number[] =>
    [0, 1, 2, 3].filter((index) => log.isDone(index)).map((index) => index + 1);

  test('is begun anew, continued, and continued behind a line that was cut off', async () => {
    const path = join(dir, 'log');
    await writeFile(path, 'of another time\n');
    const first = await opened(path, 'no');
    first.add(finished(0), ['true'], 0);
    first.add(finished(2, { state: 'failed', exit_code: 1 }), ['false'], 0);
    await first.close();
    expect((await readFile(path, 'utf8')).split('\n').map((line) => line.split('\t')[0])).toEqual([
      'Seq',
      '1',
      '3',
      '',
    ]);
    await appendFile(path, '2\t:\t17');

    const again = await opened(path, 'unfinished');
    expect(doneOf(again)).toEqual([1, 3]);
    await again.close();
    const failed = await opened(path, 'failed');
    expect(doneOf(failed)).toEqual([1]);
    failed.add(finished(2), ['true'], 0);
    await failed.close();
    const last = await opened(path, 'failed');
    expect(doneOf(last)).toEqual([1, 3]);
    await last.close();
  });

  test('with a plus is continued, and nothing is left out', async () => {
    const path = join(dir, 'log');
    for (const name of [path, `+${path}`]) {
      const log = await opened(name, 'no');
      expect(doneOf(log)).toEqual([]);
      log.add(finished(0), ['true'], 0);
      await log.close();
    }
    expect((await readFile(path, 'utf8')).split('\n')).toHaveLength(4);
  });

  test('that cannot be read or written is named', async () => {
    const path = join(dir, 'none', 'log');
    const log = await Joblog.open(path, 'no', () => undefined);
    expect(log).toMatchObject({ ok: false, error: expect.stringContaining(`--joblog ${path}: `) });
    await writeFile(join(dir, 'other'), 'no joblog\n');
    expect(await Joblog.open(join(dir, 'other'), 'unfinished', () => undefined)).toMatchObject({
      ok: false,
      error: expect.stringContaining('line 1 is none of a joblog'),
    });
  });
});
