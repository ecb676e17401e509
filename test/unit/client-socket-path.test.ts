/** Where socket and data lie; and that the client needs nothing but Node. */
import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { defaultDataDir, defaultSocketPath } from '../../src/client/socket-path.ts';

test('a user keeps data in the state directory, and the socket in the runtime directory', () => {
  const env = { HOME: '/home/ada', XDG_RUNTIME_DIR: '/run/user/1000' };
  expect(defaultDataDir(env, 1_000)).toBe('/home/ada/.local/state/covey');
  expect(defaultSocketPath(env, 1_000)).toBe('/run/user/1000/covey/covey.sock');
});

test('without a runtime directory the socket lies with the data', () => {
  const env = { HOME: '/home/ada', XDG_STATE_HOME: '/state', XDG_RUNTIME_DIR: '' };
  expect(defaultSocketPath(env, 1_000)).toBe('/state/covey/covey.sock');
  expect(defaultSocketPath(env, 1_000, '/elsewhere')).toBe('/elsewhere/covey.sock');
});

test('relative XDG directories are ignored, as their specification says', () => {
  const env = { HOME: '/home/ada', XDG_STATE_HOME: 'state', XDG_RUNTIME_DIR: 'run' };
  expect(defaultSocketPath(env, 1_000)).toBe('/home/ada/.local/state/covey/covey.sock');
});

test('root uses the places of the system, and a variable goes before everything', () => {
  const env = { HOME: '/root', XDG_RUNTIME_DIR: '/run/user/0' };
  expect(defaultDataDir(env, 0)).toBe('/var/lib/covey');
  expect(defaultSocketPath(env, 0)).toBe('/run/covey/covey.sock');
  const named = { ...env, COVEY_SOCKET: '/tmp/c.sock', COVEY_DATA_DIR: '/tmp/data' };
  expect(defaultSocketPath(named, 0)).toBe('/tmp/c.sock');
  expect(defaultDataDir(named, 0)).toBe('/tmp/data');
});

test('the client imports Node and our own constants, no package', async () => {
  const seen = new Set<string>();
  const packages = new Set<string>();
  const visit = async (file: URL): Promise<void> => {
    if (seen.has(file.href)) return;
    seen.add(file.href);
    const text = await readFile(file, 'utf8');
    for (const [, kind, from = ''] of text.matchAll(
      /^(?:import|export) (type )?[^;]*?from '([^']+)';/gm,
    )) {
      if (kind !== undefined) continue;
      if (from.startsWith('.')) await visit(new URL(from, file));
      else if (!from.startsWith('node:')) packages.add(from);
    }
  };
  await visit(new URL('../../src/client/index.ts', import.meta.url));
  expect([...packages]).toEqual([]);
  expect(seen.size).toBeGreaterThan(8);
});
