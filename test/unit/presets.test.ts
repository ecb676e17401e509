/** The files of configs/: what each preset says, and that the systemd unit fits the daemon. */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { CONFIG_KEYS, type Config, configSchema } from '../../src/api/config.ts';
import { mergeConfig, readConfigFile, toFlag } from '../../src/host/config.ts';
import { COVEYD } from '../../src/testnet/paths.ts';

const pathOf = (name: string): string =>
  fileURLToPath(new URL(`../../configs/${name}`, import.meta.url));
const DEFAULTS = configSchema.parse({});

async function load(name: string): Promise<Config> {
  const path = pathOf(name);
  const read = await readConfigFile(path);
  if (!read.ok) throw new Error(read.error);
  const merged = mergeConfig({ file: { path, values: read.value }, env: {}, flags: {} });
  if (!merged.ok) throw new Error(merged.error);
  return merged.value;
}

test('lan is the defaults, and explains every key there is', async () => {
  expect(await load('lan.yaml')).toEqual(DEFAULTS);
  const text = await readFile(pathOf('lan.yaml'), 'utf8');
  const explained = [...text.matchAll(/^(?:# )?([a-z_]+):(?: |$)/gm)].map(([, key]) => key);
  expect(explained.sort()).toEqual([...CONFIG_KEYS].sort());
});

test('solo keeps one copy', async () => {
  expect(await load('solo.yaml')).toEqual({ ...DEFAULTS, copies: 1, copies_required: 1 });
});

test('wan is more patient than lan in everything', async () => {
  const wan = await load('wan.yaml');
  const patience = [
    'heartbeat_pause',
    'silence_patience',
    'takeover_patience',
    'redial_max',
  ] as const;
  for (const key of patience) expect(wan[key]).toBeGreaterThan(DEFAULTS[key]);
});

test('presets other than lan list differences only', async () => {
  for (const name of ['solo.yaml', 'wan.yaml', 'testnet.yaml']) {
    const values = parse(await readFile(pathOf(name), 'utf8')) as Record<string, unknown>;
    const same = Object.entries(await load(name)).filter(
      ([key, value]) => key in values && value === DEFAULTS[key as keyof Config],
    );
    expect(same).toEqual([]);
  }
});

test('the systemd unit passes flags that the daemon has, and gives a stop the time it needs', async () => {
  const unit = await readFile(pathOf('coveyd.service'), 'utf8');
  const { stdout: help } = await promisify(execFile)(COVEYD, ['--help']);
  const values = new Map(
    [...unit.matchAll(/^(\w+)=(.*)$/gm)].map(([, key, value]) => [key, value] as const),
  );
  const flags = [...(values.get('ExecStart') ?? '').matchAll(/--[a-z-]+/g)].map(([flag]) => flag);
  expect(flags).toEqual(['--config', '--data-dir', '--socket']);
  for (const flag of flags) expect(help).toContain(`\n  ${flag} <`);
  expect(values.get('Type')).toBe('notify');
  expect(values.get('KillMode')).toBe('mixed');
  // Commands would inherit it; the daemon's own files are private without it (e2e/first-steps).
  expect(values.has('UMask')).toBe(false);
  const stopMs = Number(values.get('TimeoutStopSec')) * 1_000;
  expect(stopMs).toBeGreaterThan(DEFAULTS.shutdown_timeout + DEFAULTS.kill_grace);
});

test('every key is a flag of coveyd, and the operations page names it', async () => {
  const { stdout: help } = await promisify(execFile)(COVEYD, ['--help']);
  const flags = [...help.matchAll(/^ {2}(--[a-z-]+) [<[]/gm)].map(([, flag]) => flag);
  const others = ['--config', '--join', '--label'];
  expect(flags.sort()).toEqual([...others, ...CONFIG_KEYS.map(toFlag)].sort());
  const page = await readFile(new URL('../../docs/operations.md', import.meta.url), 'utf8');
  const unnamed = CONFIG_KEYS.filter((key) => !page.includes(`\`${key}\``));
  expect(unnamed).toEqual([]);
});
