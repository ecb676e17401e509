/**
 * TypeScript's own view of the sources, for the rules of tidy.test.ts: a real syntax tree and a checker that knows
 * whether `process` is Node's or a parameter. Snippets are laid over the real file system in a folder that does
 * not exist, so that they are read by exactly the same functions.
 */
import { posix, relative } from 'node:path';
import type { Node, SourceFile } from 'typescript/unstable/ast';
import { API, type Checker, type Project } from 'typescript/unstable/sync';

export interface Problem {
  readonly rule: string;
  /** Relative to the root of the project. */
  readonly file: string;
  readonly line: number;
  readonly message: string;
}

export interface TidyFile {
  readonly path: string;
  readonly tree: SourceFile;
}

export interface Program {
  readonly files: readonly TidyFile[];
  readonly checker: Checker;
  close(): void;
}

export const lineOf = (file: TidyFile, node: Node): number =>
  file.tree.getLineAndCharacterOfPosition(node.getStart(file.tree)).line + 1;

/** Every node below, in the order of the text. */
export function* descendants(node: Node): Generator<Node> {
  const children: Node[] = [];
  node.forEachChild((child) => {
    children.push(child);
  });
  for (const child of children) {
    yield child;
    yield* descendants(child);
  }
}

function collect(api: API, project: Project, root: string): Program {
  const files: TidyFile[] = [];
  for (const name of project.rootFiles) {
    const tree = project.program.getSourceFile(name);
    if (tree === undefined) throw new Error(`${name} could not be read`);
    files.push({ path: relative(root, name), tree });
  }
  return { files, checker: project.checker, close: () => api.close() };
}

function onlyProject(api: API, config: string): Project {
  const project = api.updateSnapshot({ openProjects: [config] }).getProject(config);
  if (project === undefined) throw new Error(`${config} holds no project`);
  return project;
}

/** All files of the project's tsconfig.json. */
export function openProject(root: string): Program {
  const api = new API({ cwd: root });
  return collect(api, onlyProject(api, posix.join(root, 'tsconfig.json')), root);
}

/** Files that exist in memory only, by their path relative to an imagined project. */
export function openSnippets(root: string, texts: Readonly<Record<string, string>>): Program {
  const home = posix.join(root, 'tidy-snippets');
  const config = posix.join(home, 'tsconfig.json');
  const files = new Map(
    Object.entries(texts).map(([path, text]) => [posix.join(home, path), text]),
  );
  const names = JSON.stringify([...files.keys()]);
  files.set(config, `{ "extends": "../tsconfig.json", "include": [], "files": ${names} }`);
  const directories = new Set<string>();
  for (const file of files.keys()) {
    for (let at = posix.dirname(file); at.startsWith(home); at = posix.dirname(at)) {
      directories.add(at);
    }
  }
  // `undefined` falls back to the real file system, for the libraries and @types/node.
  const api = new API({
    cwd: root,
    fs: {
      readFile: (name) => files.get(name),
      fileExists: (name) => (files.has(name) ? true : undefined),
      directoryExists: (name) => (directories.has(name) ? true : undefined),
    },
  });
  return collect(api, onlyProject(api, config), home);
}
