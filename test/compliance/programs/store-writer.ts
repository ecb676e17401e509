/**
 * Appends to the store in its first argument for ever and prints each acknowledged number; gets
 * killed.
 */
import { HostClock } from '../../../src/host/clock.ts';
import { openStore } from '../../../src/host/store.ts';

const opened = await openStore({ directory: process.argv[2] ?? '', clock: new HostClock() });
if (!opened.ok) {
  process.stdout.write(`${opened.error.code} ${opened.error.detail}\n`);
  process.exit(1);
}
for (let i = 0; ; i++) {
  const value = new Uint8Array(1_000).fill(i);
  const result = await opened.value.append([
    { put: `a/${i}`, value },
    { put: `b/${i}`, value },
  ]);
  process.stdout.write(result.ok ? `${i}\n` : `${result.code} ${result.detail}\n`);
  if (!result.ok && result.code === 'failed') process.exit(2);
}
