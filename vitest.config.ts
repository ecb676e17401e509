/**
 * `npm test` runs everything. Two cores are what a developer's machine and CI have. First what only computes, two files at a
 * time; then what waits for daemons most of its time, three; last, one file after the other, what measures
 * real time or takes the whole machine.
 */
import { defineConfig } from 'vitest/config';

// Not COVEY_…: the daemons that tests start refuse variables of that name that they do not know.
const report = process.env.TEST_REPORT;

const HOST = 'test/{compliance,e2e}/**/*.test.ts';
/**
 * A file may leave this list when it holds no bound of time that a busy neighbour could break, and does not itself
 * load both cores for long. Counting starts is no reason to be here: nobody is dead before 7 s of silence.
 * five-peers is here because a daemon tries for 15 s only to bring a late answer home.
 */
const TIMED = [
  'test/compliance/**/*.test.ts',
  'test/e2e/{demo,five-peers,full-disk}.test.ts',
  'test/unit/guardian.test.ts',
];

export default defineConfig({
  test: {
    // Every file in a process of its own: a leaked handle, a trapped global or a crash stays with its file.
    pool: 'forks',
    globalSetup: ['test/support/compile-cache.ts'],
    // For the closing line of .ci/run.
    reporters: report === undefined ? ['default'] : ['default', ['json', { outputFile: report }]],
    projects: [
      {
        extends: true,
        test: {
          name: 'logic',
          include: ['test/**/*.test.ts'],
          exclude: [HOST, ...TIMED],
          maxWorkers: 2,
          testTimeout: 30_000,
          hookTimeout: 30_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'host',
          include: [HOST],
          exclude: TIMED,
          maxWorkers: 3,
          testTimeout: 60_000,
          hookTimeout: 60_000,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          name: 'timed',
          include: TIMED,
          maxWorkers: 1,
          fileParallelism: false,
          testTimeout: 60_000,
          hookTimeout: 60_000,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
