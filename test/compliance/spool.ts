/** What every Spool must do; the limits of the twins are 1,000 bytes a run and 2,500 in all. */
import { expect, test } from 'vitest';
import type { OutputStream, Spool } from '../../src/ports/processes.ts';

export const TEST_LIMITS = { runBytesMax: 1_000, totalBytesMax: 2_500 };

export interface SpoolTwin {
  readonly spool: Spool;
  /** From now on the disk answers reading and deleting the output of this run with an error. */
  breakRun(runId: string): Promise<void>;
  close(): Promise<void>;
}

const bytes = (text: string) => new TextEncoder().encode(text);

export function spoolCompliance(make: () => Promise<SpoolTwin>): void {
  const using =
    (run: (spool: Spool, read: ReadHelper, twin: SpoolTwin) => Promise<void>) => async () => {
      const twin = await make();
      try {
        await run(
          twin.spool,
          async (runId, stream, offset = 0, limit = 10_000) => {
            const read = await twin.spool.read(runId, stream, offset, limit);
            if (!read.ok) throw new Error(read.error);
            const part = read.value;
            return part && [Buffer.from(part.bytes).toString(), part.endBytes, part.truncated];
          },
          twin,
        );
      } finally {
        await twin.close();
      }
    };
  type ReadHelper = (
    runId: string,
    stream: OutputStream,
    offset?: number,
    limit?: number,
  ) => Promise<(string | number | boolean)[] | undefined>;

  test(
    'keeps the output of a run, in order, one stream apart from the other',
    using(async (spool, read) => {
      const chunk = bytes('one ');
      spool.append('run-1', 'stdout', chunk);
      chunk.fill(0);
      spool.append('run-1', 'stderr', bytes('oops'));
      spool.append('run-1', 'stdout', bytes('two'));
      expect(await read('run-1', 'stdout')).toEqual(['one two', 7, false]);
      expect(await read('run-1', 'stderr')).toEqual(['oops', 4, false]);
      spool.append('run-1', 'stdout', bytes('!'));
      expect(await read('run-1', 'stdout', 4, 3)).toEqual(['two', 8, false]);
      expect(await read('run-1', 'stdout', 8)).toEqual(['', 8, false]);
      expect(await read('run-1', 'stdout', 100)).toEqual(['', 8, false]);
      expect(await read('run-2', 'stdout')).toBeUndefined();
      expect(await spool.list()).toEqual(['run-1']);
    }),
  );

  test(
    'a run over its limit keeps its beginning and says so',
    using(async (spool, read) => {
      spool.append('r', 'stderr', bytes('e'.repeat(400)));
      spool.append('r', 'stdout', bytes('x'.repeat(700)));
      spool.append('r', 'stderr', bytes('more'));
      expect(await read('r', 'stdout')).toEqual(['x'.repeat(600), 600, true]);
      expect(await read('r', 'stderr')).toEqual(['e'.repeat(400), 400, true]);
    }),
  );

  test(
    'over the limit of all the oldest runs go',
    using(async (spool, read) => {
      for (const runId of ['a', 'b', 'c', 'd']) {
        spool.append(runId, 'stdout', bytes(runId.repeat(800)));
      }
      expect(await spool.list()).toEqual(['b', 'c', 'd']);
      expect(await read('a', 'stdout')).toBeUndefined();
      expect(await read('d', 'stdout')).toEqual(['d'.repeat(800), 800, false]);
    }),
  );

  test(
    'a removed run is gone, and may begin anew',
    using(async (spool, read) => {
      spool.append('r', 'stdout', bytes('old'));
      const removal = spool.remove('r');
      spool.append('r', 'stdout', bytes('new'));
      await removal;
      expect(await read('r', 'stdout')).toEqual(['new', 3, false]);
      await spool.remove('r');
      await spool.remove('r');
      expect(await read('r', 'stdout')).toBeUndefined();
      expect(await spool.list()).toEqual([]);
    }),
  );

  test(
    'an error of the disk is an answer, and the run is forgotten all the same',
    using(async (spool, read, { breakRun }) => {
      spool.append('bad', 'stdout', bytes('lost'));
      spool.append('good', 'stdout', bytes('kept'));
      expect(await read('bad', 'stdout')).toEqual(['lost', 4, false]);
      await breakRun('bad');
      expect(await spool.read('bad', 'stdout', 0, 10)).toMatchObject({ ok: false });
      expect(await spool.remove('bad')).toMatchObject({ ok: false });
      expect(await read('bad', 'stdout')).toBeUndefined();
      expect(await spool.list()).toEqual(['good']);
      expect(await read('good', 'stdout')).toEqual(['kept', 4, false]);
      expect(await spool.remove('good')).toMatchObject({ ok: true });
    }),
  );

  test(
    'a run id that is no file name is a broken invariant',
    using(async (spool) => {
      for (const runId of ['', '../x', 'a/b', 'a.b', 'x'.repeat(200)]) {
        expect(() => spool.append(runId, 'stdout', bytes('x'))).toThrow();
      }
    }),
  );
}
