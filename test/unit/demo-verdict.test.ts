/** The judgement of `npm start`: each kind of wrong is counted, and named. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  type Evidence,
  judge,
  parseRecords,
  parseStarts,
  type Start,
} from '../../src/testnet/demo-verdict.ts';

const start = (task: string, attempt: number, atMs: number, lockWasFree = true): Start => ({
  task,
  attempt,
  pid: 100 + atMs,
  lockWasFree,
  atMs,
});

/** Four files in two batches; the daemon of the second was killed at 150 and the batch ran again at 180. */
const GOOD: Evidence = {
  files: ['/a', '/b', '/c', '/d'],
  filesPerTask: 2,
  plain: ['1  /a', '2  /b', '3  /c', '4  /d'],
  mesh: ['4  /d', '3  /c', '2  /b', '1  /a'],
  starts: [start('T1', 1, 100), start('T2', 1, 110), start('T2', 2, 180)],
  killedAtMs: 150,
};

test('a run in which the killed batch ran again elsewhere is good', () => {
  expect(judge(GOOD)).toEqual({
    files: 4,
    tasks: 2,
    completed: 2,
    lost: 0,
    duplicates: 0,
    double_runs: 0,
    attempts: 3,
    retaken: 1,
    takeover_ms_max: 30,
    differences: [],
    complaints: [],
  });
});

test('input without output is lost, and its batch is not completed', () => {
  const verdict = judge({ ...GOOD, mesh: ['1  /a', '2  /b', '3  /c'] });
  expect(verdict).toMatchObject({ lost: 1, completed: 1, differences: ['- 4  /d'] });
  expect(verdict.complaints).toHaveLength(2);
});

test('a second output, equal or not, and an output of a foreign file are duplicates', () => {
  const verdict = judge({ ...GOOD, mesh: [...GOOD.mesh, '1  /a', '9  /a', '5  /e'] });
  expect(verdict).toMatchObject({ lost: 0, duplicates: 3, completed: 2 });
  expect(verdict.differences).toEqual(['+ 1  /a', '+ 9  /a', '+ 5  /e']);
});

test('another hash of the same file is a difference alone', () => {
  const verdict = judge({ ...GOOD, mesh: ['1  /a', '2  /b', '3  /c', 'X  /d'] });
  expect(verdict).toMatchObject({ lost: 0, duplicates: 0, double_runs: 0 });
  expect(verdict.complaints).toEqual(['the outputs of xargs and of the mesh differ']);
});

test('a lock that was taken is a double run, even when every output is right', () => {
  const starts = [start('T1', 1, 100), start('T2', 1, 110), start('T2', 2, 180, false)];
  const verdict = judge({ ...GOOD, starts });
  expect(verdict).toMatchObject({ double_runs: 1, retaken: 1 });
  expect(verdict.complaints).toHaveLength(1);
});

test('without a kill, or with one that interrupted nothing, the run proves nothing', () => {
  expect(judge({ ...GOOD, killedAtMs: undefined })).toMatchObject({
    retaken: 0,
    takeover_ms_max: null,
    complaints: ['no daemon could be killed in the middle of its work'],
  });
  expect(judge({ ...GOOD, killedAtMs: 105 })).toMatchObject({
    retaken: 0,
    complaints: ['no task of the killed daemon was retaken'],
  });
});

test('records hold any file name; a torn line of the starts file is not a start', () => {
  expect(parseRecords('1  /a\nb\0' + '2  /c  d\0')).toEqual(['1  /a\nb', '2  /c  d']);
  expect(parseStarts('T1 1 42 free 1000\nT2 2 43 busy 1001\nT3 1 4')).toEqual([
    { task: 'T1', attempt: 1, pid: 42, lockWasFree: true, atMs: 1000 },
    { task: 'T2', attempt: 2, pid: 43, lockWasFree: false, atMs: 1001 },
  ]);
});

test('lost and duplicates are what was taken away and added, in any order', () => {
  const plan = fc.record({
    total: fc.integer({ min: 1, max: 40 }),
    filesPerTask: fc.integer({ min: 1, max: 7 }),
    drop: fc.integer({ min: 0, max: 40 }),
    repeat: fc.array(fc.nat(39), { maxLength: 10 }),
    seed: fc.nat(),
  });
  fc.assert(
    fc.property(plan, ({ total, filesPerTask, drop, repeat, seed }) => {
      const files = Array.from({ length: total }, (_, i) => `/f${i}`);
      const plain = files.map((file, i) => `${i}  ${file}`);
      const kept = plain.slice(Math.min(drop, total));
      const again = repeat.map((i) => kept[i]).filter((record) => record !== undefined);
      const mesh = [...kept, ...again].sort(
        (a, b) => ((a.length * seed) % 7) - ((b.length * seed) % 5),
      );
      const verdict = judge({ ...GOOD, files, filesPerTask, plain, mesh });
      expect(verdict.lost).toBe(Math.min(drop, total));
      expect(verdict.duplicates).toBe(again.length);
      expect(verdict.differences).toHaveLength(verdict.lost + again.length);
      expect(verdict.completed).toBeLessThanOrEqual(verdict.tasks);
      expect(verdict.completed === verdict.tasks).toBe(verdict.lost === 0);
    }),
  );
});
