/** What the tests of single daemons have in common: daemons of a test's own, and an end for whatever it made. */
import { afterEach } from 'vitest';
import { Daemons } from './daemons.ts';
import { TEST_MS } from './mesh.ts';

const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
}, TEST_MS);

/** Done after the test, the last one first, also when it fails. */
export const atEnd = (cleanup: () => Promise<unknown>): void => {
  cleanups.push(cleanup);
};

export async function daemons(): Promise<Daemons> {
  const made = await Daemons.create();
  atEnd(() => made.end());
  return made;
}
