/**
 * The daemon's configuration from its three sources: flags before environment before file. An unknown key is an
 * error that names the nearest known one; every error names the key and where it came from.
 */
import { readFile } from 'node:fs/promises';
import { distance } from 'fastest-levenshtein';
import { parse } from 'yaml';
import {
  CONFIG_FORMS,
  CONFIG_KEYS,
  type Config,
  type ConfigForm,
  configSchema,
  issueText,
} from '../api/config.ts';
import { err, ok, type Result } from '../base/result.ts';

/** Flag and environment values are text; the schema wants some of them otherwise. */
const KINDS: ReadonlyMap<string, ConfigForm['kind']> = new Map(
  CONFIG_FORMS.map(({ key, kind }) => [key, kind]),
);

/** Covey's own variables that are no configuration of the daemon. */
const OTHER_VARIABLES = new Set([
  'COVEY_CONFIG',
  'COVEY_JOIN',
  // The CLI's.
  'COVEY_DEBUG',
  // A command's own: a daemon may be started by a task.
  'COVEY_TASK_ID',
  'COVEY_ATTEMPT',
  'COVEY_RUN_ID',
  'COVEY_DEADLINE',
  'COVEY_QUEUE',
  'COVEY_PEER',
]);

/** Variables that the CLI reads too, and to which empty means not set (client/socket-path.ts). */
const PLACES = new Set(['COVEY_DATA_DIR', 'COVEY_SOCKET']);

/** What the daemon takes at its start, and a file cannot say: where the file is, and a secret that works once. */
const NOT_IN_FILE = new Set(['config', 'join']);

export const toFlag = (key: string): string => `--${key.replaceAll('_', '-')}`;

/** The nearest known key, for a hint. */
export function nearestKey(
  text: string,
  keys: readonly string[] = CONFIG_KEYS,
): string | undefined {
  const sorted = [...keys].sort((a, b) => distance(text, a) - distance(text, b));
  const best = sorted[0];
  return best !== undefined && distance(text, best) <= Math.max(2, best.length / 3)
    ? best
    : undefined;
}

function coerce(key: string, text: string): unknown {
  switch (KINDS.get(key)) {
    case 'number':
      return text.trim() === '' || Number.isNaN(Number(text)) ? text : Number(text);
    case 'boolean':
      if (text === 'true' || text === '1') return true;
      return text === 'false' || text === '0' ? false : text;
    case 'list':
      return text.split(',');
    case 'pairs':
      return Object.fromEntries(text.split(',').map((pair) => splitPair(pair)));
    default:
      return text;
  }
}

/** `k=v`; a pair without `=` has an empty value. */
export function splitPair(pair: string): [string, string] {
  const at = pair.indexOf('=');
  return at < 0 ? [pair, ''] : [pair.slice(0, at), pair.slice(at + 1)];
}

interface Sources {
  readonly file?: { readonly path: string; readonly values: Readonly<Record<string, unknown>> };
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly flags: Readonly<Record<string, unknown>>;
}

/** Pure: merges the sources and checks the whole. */
export function mergeConfig(sources: Sources): Result<Config, string> {
  const values: Record<string, unknown> = {};
  const origin = new Map<string, string>();
  const take = (key: string, value: unknown, from: string): string | undefined => {
    if (!(CONFIG_KEYS as readonly string[]).includes(key)) {
      if (NOT_IN_FILE.has(key)) {
        return `${from}: '${key}' is no key: give it as ${toFlag(key)} or COVEY_${key.toUpperCase()}`;
      }
      const nearest = nearestKey(key);
      return `${from}: there is no key '${key}'${nearest === undefined ? '' : `; did you mean '${nearest}'?`}`;
    }
    values[key] = value;
    origin.set(key, from);
    return undefined;
  };
  for (const [key, value] of Object.entries(sources.file?.values ?? {})) {
    const problem = take(key, value, sources.file?.path ?? 'the file');
    if (problem !== undefined) return err(problem);
  }
  for (const [name, text] of Object.entries(sources.env)) {
    if (!name.startsWith('COVEY_') || OTHER_VARIABLES.has(name) || text === undefined) continue;
    if (text === '' && PLACES.has(name)) continue;
    const key = name.slice('COVEY_'.length).toLowerCase();
    const problem = take(key, coerce(key, text), `environment variable ${name}`);
    if (problem !== undefined) return err(problem);
  }
  for (const [key, value] of Object.entries(sources.flags)) {
    if (value === undefined) continue;
    const problem = take(key, typeof value === 'string' ? coerce(key, value) : value, toFlag(key));
    if (problem !== undefined) return err(problem);
  }
  const checked = configSchema.safeParse(values);
  if (checked.success) return crossCheck(checked.data);
  const issue = checked.error.issues[0];
  const key = String(issue?.path[0] ?? '');
  const rest = issue?.path.slice(1).join('.') ?? '';
  return err(
    `${origin.get(key) ?? 'the configuration'}: '${key}${rest === '' ? '' : `.${rest}`}' ${issue === undefined ? 'is invalid' : issueText(issue)}`,
  );
}

/** Intervals at which something is done again and again; at 0 a daemon would do nothing else. */
const INTERVALS = [
  'heartbeat_interval',
  'anti_entropy_interval',
  'record_sync_interval',
  'redial_max',
] as const satisfies readonly (keyof Config)[];
const INTERVAL_MS_MIN = 10;
/** With less, every restart is a long absence, and others' unfinished tasks are set aside. */
const TOMBSTONE_TTL_MS_MIN = 60_000;
/** A canceled command keeps its slot for so long. */
const KILL_GRACE_MS_MAX = 3_600_000;

/** What one key alone cannot know. */
function crossCheck(config: Config): Result<Config, string> {
  const tooShort = INTERVALS.find((key) => config[key] < INTERVAL_MS_MIN);
  if (tooShort !== undefined) return err(`'${tooShort}' must be at least ${INTERVAL_MS_MIN}ms`);
  if (config.tombstone_ttl < TOMBSTONE_TTL_MS_MIN)
    return err("'tombstone_ttl' must be at least 1m");
  if (config.kill_grace > KILL_GRACE_MS_MAX) return err("'kill_grace' must be at most 1h");
  if (config.copies_required > config.copies) {
    return err(
      `'copies_required' (${config.copies_required}) is more than 'copies' (${config.copies})`,
    );
  }
  if (config.heartbeat_pause < 2 * config.heartbeat_interval) {
    return err(
      "'heartbeat_pause' must be at least twice 'heartbeat_interval', or every late heartbeat is a suspicion",
    );
  }
  if (config.silence_patience <= config.heartbeat_pause) {
    return err("'silence_patience' must be longer than 'heartbeat_pause'");
  }
  return ok(config);
}

/** Reads a configuration file: YAML, of which JSON is a part. */
export async function readConfigFile(
  path: string,
): Promise<Result<Readonly<Record<string, unknown>>, string>> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (thrown) {
    return err(
      `${path} cannot be read: ${thrown instanceof Error ? thrown.message : String(thrown)}`,
    );
  }
  try {
    const value: unknown = parse(text);
    if (value === null) return ok({});
    if (typeof value !== 'object' || Array.isArray(value))
      return err(`${path} is not a map of keys`);
    return ok(value as Record<string, unknown>);
  } catch (thrown) {
    return err(
      `${path} is not valid YAML: ${thrown instanceof Error ? thrown.message : String(thrown)}`,
    );
  }
}
