/** What Covey is measured beside: packages of Debian and npm, unpacked into a directory and not installed. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const FETCH_TIMEOUT_MS = 120_000;

const run = promisify(execFile);

/** `path`: the program, or the directory whose `node_modules` holds the packages. */
export type Fetched = { readonly path: string } | { readonly why: string };

const firstLineOf = (thrown: unknown): string => String(thrown).split('\n')[0] ?? '';

/** Packages and the program in them. They need no place of their own but the libraries' (LD_LIBRARY_PATH). */
export async function debian(
  dir: string,
  packages: readonly string[],
  program: string,
): Promise<Fetched> {
  const root = join(dir, 'root');
  const path = join(root, program);
  if (existsSync(path)) return { path };
  const how = `apt-get update && apt-get download ${packages.join(' ')} && dpkg -x …`;
  try {
    await mkdir(root, { recursive: true });
    await run('apt-get', ['download', ...packages], { cwd: dir, timeout: FETCH_TIMEOUT_MS });
    for (const name of await readdir(dir)) {
      if (name.endsWith('.deb')) await run('dpkg', ['-x', name, 'root'], { cwd: dir });
    }
  } catch (thrown) {
    return { why: `not there (${firstLineOf(thrown)}); on Debian: ${how}` };
  }
  return existsSync(path) ? { path } : { why: `not there; on Debian: ${how}` };
}

/** Exact versions, without their build scripts. */
export async function npm(dir: string, packages: readonly string[]): Promise<Fetched> {
  const names = packages.map((one) => one.slice(0, one.lastIndexOf('@')));
  if (names.every((name) => existsSync(join(dir, 'node_modules', name)))) return { path: dir };
  try {
    await mkdir(dir, { recursive: true });
    await writeFile(join(dir, 'package.json'), '{"private":true}');
    const args = ['install', '--ignore-scripts', '--no-audit', '--no-fund', ...packages];
    await run('npm', args, { cwd: dir, timeout: FETCH_TIMEOUT_MS });
    return { path: dir };
  } catch (thrown) {
    return {
      why: `not there; npm could not install ${packages.join(' ')}: ${firstLineOf(thrown)}`,
    };
  }
}
