/**
 * `npm test` runs everything. Two cores are what a developer's machine and CI have: files that measure time on real
 * clocks, sockets, disks and processes run one after the other, after the others; all others run two at a time.
 */
import { defineConfig } from 'vitest/config';

// Not COVEY_…: the daemons that tests start refuse variables of that name that they do not know.
const report = process.env.TEST_REPORT;

export default defineConfig({
  test: {
    // Every file in a process of its own: a leaked handle, a trapped global or a crash stays with its file.
    pool: 'forks',
    // For the closing line of .ci/run.
    reporters: report === undefined ? ['default'] : ['default', ['json', { outputFile: report }]],
    projects: [
      {
        extends: true,
        test: {
          name: 'logic',
          include: ['test/**/*.test.ts'],
          exclude: ['test/{compliance,e2e}/**'],
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
          include: ['test/{compliance,e2e}/**/*.test.ts'],
          maxWorkers: 1,
          fileParallelism: false,
          testTimeout: 60_000,
          hookTimeout: 60_000,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
