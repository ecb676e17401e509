/** The configuration: which source wins, what each key takes, and how mistakes are named. */
import { glob, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { CONFIG_FORMS, CONFIG_KEYS, configSchema } from '../../src/api/config.ts';
import { mergeConfig, nearestKey, readConfigFile, toFlag } from '../../src/host/config.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

const merge = (parts: {
  file?: Record<string, unknown>;
  env?: Record<string, string>;
  flags?: Record<string, unknown>;
}) =>
  mergeConfig({
    ...(parts.file === undefined ? {} : { file: { path: 'covey.yaml', values: parts.file } }),
    env: parts.env ?? {},
    flags: parts.flags ?? {},
  });

describe('the configuration', () => {
  it('is merged from flags before environment before file, and has an answer for every key', () => {
    const merged = merge({
      file: { slots: 1, kill_grace: '1s', labels: { zone: 'x' } },
      env: { COVEY_SLOTS: '2', COVEY_LABELS: 'zone=y,rack=7', HOME: '/root' },
      flags: { slots: '3', log_level: undefined },
    });
    expect(merged).toMatchObject({
      ok: true,
      value: {
        slots: 3,
        kill_grace: 1_000,
        labels: { zone: 'y', rack: '7' },
        bind: '127.0.0.1:26839',
        log_level: 'info',
        copies: 3,
      },
    });
  });

  it('takes text from flags and environment as the key wants it', () => {
    const merged = merge({
      env: { COVEY_EXEC: 'false', COVEY_ALLOW_ROOT: '1', COVEY_ADVERTISE: 'a:1,[::1]:2' },
      flags: { phi_threshold: '9.5' },
    });
    expect(merged).toMatchObject({
      value: { exec: false, allow_root: true, advertise: ['a:1', '[::1]:2'], phi_threshold: 9.5 },
    });
  });

  it('says where the daemon lies, from any of its sources; an empty variable is none', () => {
    const file = { data_dir: '/file/data', socket: '/file/socket' };
    const env = { COVEY_DATA_DIR: '/env/data', COVEY_SOCKET: '' };
    expect(merge({ file, env })).toMatchObject({
      value: { data_dir: '/env/data', socket: '/file/socket' },
    });
    expect(merge({ file, env, flags: { data_dir: '/flag/data' } })).toMatchObject({
      value: { data_dir: '/flag/data' },
    });
  });

  it('leaves every variable of ours alone that is no configuration', async () => {
    const names = new Set<string>();
    for await (const path of glob('src/{cli,client,executors,peer}/**/*.ts', { cwd: ROOT })) {
      const text = await readFile(join(ROOT, path), 'utf8');
      for (const [name] of text.matchAll(/\bCOVEY_[A-Z_]+\b/g)) names.add(name);
    }
    expect([...names]).toEqual(
      expect.arrayContaining(['COVEY_DEBUG', 'COVEY_TASK_ID', 'COVEY_PEER', 'COVEY_SOCKET']),
    );
    const env = { ...Object.fromEntries([...names].map((name) => [name, 'x'])), PATH: '/bin' };
    expect(merge({ env })).toMatchObject({ value: configSchema.parse({}) });
  });

  it('has every key as a flag, and says what each is for', () => {
    expect(CONFIG_FORMS.map(({ key }) => key)).toEqual(CONFIG_KEYS);
    const form = Object.fromEntries(CONFIG_FORMS.map((item) => [item.key, item]));
    expect(form.redial_max).toEqual({
      key: 'redial_max',
      kind: 'text',
      value: 'duration',
      description: 'cap of the backoff between dials of one member (10s)',
    });
    expect(form.log_format).toMatchObject({ value: 'json|text' });
    expect(form.copies).toMatchObject({ kind: 'number', value: 'n' });
    expect(toFlag('redial_max')).toBe('--redial-max');
  });

  it.each([
    ['covey.yaml', { file: { slot: 1 } }, "there is no key 'slot'; did you mean 'slots'?"],
    ['environment variable COVEY_COPYS', { env: { COVEY_COPYS: '1' } }, "did you mean 'copies'?"],
    ['--kill-grase', { flags: { kill_grase: '1s' } }, "did you mean 'kill_grace'?"],
    ['covey.yaml', { file: { join: 'covey1-x' } }, 'give it as --join or COVEY_JOIN'],
    ['covey.yaml', { file: { config: '/x' } }, 'give it as --config or COVEY_CONFIG'],
    ['covey.yaml', { file: { socket: '' } }, "'socket'"],
    ['covey.yaml', { file: { quite_something: 1 } }, "there is no key 'quite_something'"],
    ['covey.yaml', { file: { kill_grace: '5 minutes' } }, "'5 minutes' is not a duration"],
    ['covey.yaml', { file: { kill_grace: 5 } }, "'kill_grace'"],
    ['--slots', { flags: { slots: 'many' } }, "'slots' must be a number"],
    ['covey.yaml', { file: { slots: 1.5 } }, "'slots' must be a whole number"],
    ['covey.yaml', { file: { copies: 9 } }, "'copies' must be at most 7"],
    ['covey.yaml', { file: { exec: 'no' } }, "'exec' must be true or false"],
    ['--log-format', { flags: { log_format: 'xml' } }, "'log_format' must be one of json, text"],
    ['--slots', { flags: { slots: '-1' } }, "'slots'"],
    ['environment variable COVEY_SLOTS', { env: { COVEY_SLOTS: '' } }, "'slots'"],
    ['environment variable COVEY_EXEC', { env: { COVEY_EXEC: 'perhaps' } }, "'exec'"],
    ['--bind', { flags: { bind: 'nowhere' } }, 'must be HOST:PORT'],
    ['--bind', { flags: { bind: 'x:65536' } }, 'must have a port of at most 65535'],
    ['--log-level', { flags: { log_level: 'loud' } }, "'log_level'"],
    ['covey.yaml', { file: { labels: { 'a b': 1 } } }, "'labels"],
    ['covey.yaml', { file: { labels: { ' a': '' } } }, 'has a name that must be printable'],
    [
      'covey.yaml',
      { file: { peers: ['srv:'] } },
      'must be HOST:PORT, srv:NAME, dnsaddr:NAME or mdns',
    ],
  ])('says where an error is: %s', (from, parts, why) => {
    const merged = merge(parts);
    expect(merged.ok).toBe(false);
    expect(merged).toMatchObject({ error: expect.stringContaining(`${from}: `) });
    expect(merged).toMatchObject({ error: expect.stringContaining(why) });
  });

  it.each([
    [{ copies: 2, copies_required: 3 }, "'copies_required' (3) is more than 'copies' (2)"],
    [{ tombstone_ttl: '59m' }, "'tombstone_ttl' must be at least 1h"],
    [{ kill_grace: '99999d' }, "'kill_grace' must be at most 1h"],
    [{ retention_count: 0 }, 'must be at least 1'],
    [{ heartbeat_pause: '900ms' }, "'heartbeat_pause' must be at least twice"],
    [{ silence_patience: '2s' }, "'silence_patience' must be longer"],
    [{ heartbeat_interval: '0ms' }, "'heartbeat_interval' must be at least 10ms"],
    [{ record_sync_interval: '0s' }, "'record_sync_interval' must be at least 10ms"],
  ])('checks what keys mean together: %j', (file, why) => {
    expect(merge({ file })).toMatchObject({ ok: false, error: expect.stringContaining(why) });
  });

  it('names the nearest key, if one is near', () => {
    expect(nearestKey('heartbeet_interval')).toBe('heartbeat_interval');
    expect(nearestKey('x')).toBeUndefined();
  });
});

describe('a configuration file', () => {
  const directories: string[] = [];
  afterEach(async () => {
    await Promise.all(directories.splice(0).map((path) => rm(path, { recursive: true })));
  });
  const fileOf = async (text: string): Promise<string> => {
    const directory = await mkdtemp(join(tmpdir(), 'covey-config-'));
    directories.push(directory);
    const path = join(directory, 'covey.yaml');
    await writeFile(path, text);
    return path;
  };

  it('is YAML, of which JSON is a part', async () => {
    const path = await fileOf('slots: 2\nlabels:\n  zone: a\n');
    expect(await readConfigFile(path)).toEqual({
      ok: true,
      value: { slots: 2, labels: { zone: 'a' } },
    });
    expect(await readConfigFile(await fileOf('{"slots": 2}'))).toMatchObject({ ok: true });
    expect(await readConfigFile(await fileOf('# nothing yet\n'))).toEqual({ ok: true, value: {} });
  });

  it.each([
    ['slots: [', 'is not valid YAML'],
    ['slots: 1\nslots: 2\n', 'is not valid YAML'],
    ['- a\n', 'is not a map of keys'],
    ['just text', 'is not a map of keys'],
  ])('is refused with its path: %j', async (text, why) => {
    const path = await fileOf(text);
    expect(await readConfigFile(path)).toMatchObject({
      ok: false,
      error: expect.stringContaining(`${path} ${why}`),
    });
  });

  it('that is not there is named', async () => {
    expect(await readConfigFile('/nowhere/covey.yaml')).toMatchObject({
      ok: false,
      error: expect.stringContaining('/nowhere/covey.yaml cannot be read: ENOENT'),
    });
  });
});
