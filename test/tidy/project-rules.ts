/** The rules that look at the project as a whole: files nobody loads, codes nobody uses, names that lie. */
import { isIdentifier, isStringLiteral } from 'typescript/unstable/ast';
import { descendants, type Problem, type TidyFile } from './program.ts';
import { isSource, isTest } from './rooms.ts';
import { importsOf, targetOf } from './rules.ts';

/** Files of src/ that no entry point reaches. Those of sim/ may also be reached from a test: it is their host. */
export function deadFiles(files: readonly TidyFile[], entryPoints: readonly string[]): Problem[] {
  const edges = new Map(
    files.map((file) => [
      file.path,
      importsOf(file)
        .filter(({ specifier }) => specifier.startsWith('.'))
        .map(({ specifier }) => targetOf(file, specifier)),
    ]),
  );
  const reach = (roots: readonly string[]): Set<string> => {
    const seen = new Set<string>();
    const open = [...roots];
    for (let path = open.pop(); path !== undefined; path = open.pop()) {
      if (seen.has(path)) continue;
      seen.add(path);
      open.push(...(edges.get(path) ?? []));
    }
    return seen;
  };
  const fromEntries = reach(entryPoints);
  const fromTests = reach(files.map(({ path }) => path).filter(isTest));
  return files
    .map(({ path }) => path)
    .filter(isSource)
    .filter((path) => !fromEntries.has(path))
    .filter((path) => !(path.startsWith('src/sim/') && fromTests.has(path)))
    .map((path) => ({
      rule: 'dead file',
      file: path,
      line: 1,
      message: 'no entry point loads it; delete it, or wire it up',
    }));
}

/** Codes of the error table that no other file of src/ names. */
export function unusedCodes(files: readonly TidyFile[], codes: readonly string[]): Problem[] {
  const table = 'src/base/errors.ts';
  const named = new Set<string>();
  for (const file of files) {
    if (!isSource(file.path) || file.path === table) continue;
    for (const node of descendants(file.tree)) {
      if (isStringLiteral(node) || isIdentifier(node)) named.add(node.text);
    }
  }
  return codes
    .filter((code) => !named.has(code))
    .map((code) => ({
      rule: 'error code',
      file: table,
      line: 1,
      message: `nothing answers ${code}; use it, or delete it before it is published`,
    }));
}

/** Numbers given to two codes. */
export function sharedNumbers(
  table: Readonly<Record<string, { readonly rpc: number }>>,
): Problem[] {
  const owners = new Map<number, string>();
  return Object.entries(table).flatMap(([code, { rpc }]) => {
    const owner = owners.get(rpc);
    owners.set(rpc, owner ?? code);
    if (owner === undefined) return [];
    const message = `${code} and ${owner} share ${rpc}; give the newer one the next free number`;
    return [{ rule: 'error number', file: 'src/base/errors.ts', line: 1, message }];
  });
}

/** Paths of this project that a document names and that do not exist. `exists` answers for one path. */
export function missingPaths(
  path: string,
  text: string,
  exists: (path: string) => boolean,
): Problem[] {
  return text.split('\n').flatMap((line, index) =>
    [...line.matchAll(/(?<![\w./-])(?:src|test|bin|configs|bench|docs)\/[\w./-]*\w/g)]
      .map(([name]) => name)
      .filter((name) => !exists(name))
      .map((name) => ({
        rule: 'missing path',
        file: path,
        line: index + 1,
        message: `${name} does not exist; name the file that does`,
      })),
  );
}
