/**
 * The rules that look at one file at a time. Each answers with what is wrong, where, and what to write instead.
 */
import childProcess from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import { posix } from 'node:path';
import zlib from 'node:zlib';
import {
  isCallExpression,
  isCatchClause,
  isExportDeclaration,
  isIdentifier,
  isImportDeclaration,
  isImportTypeNode,
  isNamedImports,
  isPropertyAccessExpression,
  isStringLiteral,
  type Node,
  SyntaxKind,
} from 'typescript/unstable/ast';
import { descendants, lineOf, type Problem, type TidyFile } from './program.ts';
import * as rooms from './rooms.ts';

export type FileRule = (file: TidyFile) => Problem[];

export interface Import {
  readonly specifier: string;
  readonly typeOnly: boolean;
  readonly node: Node;
}

/** Every module that a file names: import, export from, import() and import types. */
export function importsOf(file: TidyFile): Import[] {
  const found: Import[] = [];
  const add = (specifier: Node | undefined, typeOnly: boolean): void => {
    if (specifier !== undefined && isStringLiteral(specifier)) {
      found.push({ specifier: specifier.text, typeOnly, node: specifier });
    }
  };
  for (const node of descendants(file.tree)) {
    if (isImportDeclaration(node)) {
      const clause = node.importClause;
      const named = clause?.namedBindings;
      const eachIsType =
        clause?.name === undefined &&
        named !== undefined &&
        isNamedImports(named) &&
        named.elements.every((element) => element.isTypeOnly);
      add(node.moduleSpecifier, clause?.phaseModifier === SyntaxKind.TypeKeyword || eachIsType);
    } else if (isExportDeclaration(node)) {
      add(node.moduleSpecifier, node.isTypeOnly);
    } else if (isImportTypeNode(node)) {
      const literal = [...descendants(node)].find(isStringLiteral);
      add(literal, true);
    } else if (isCallExpression(node) && node.expression.kind === SyntaxKind.ImportKeyword) {
      add(node.arguments[0], false);
    }
  }
  return found;
}

/** The file of the project that a relative import names. */
export const targetOf = (file: TidyFile, specifier: string): string =>
  posix.normalize(posix.join(posix.dirname(file.path), specifier));

const problem = (rule: string, file: TidyFile, node: Node, message: string): Problem => ({
  rule,
  file: file.path,
  line: lineOf(file, node),
  message,
});

export const directions: FileRule = (file) => {
  if (!rooms.isSource(file.path)) return [];
  const room = rooms.roomOf(file.path);
  const allowed = rooms.MAY_IMPORT[room];
  if (allowed === undefined) {
    return [problem('direction', file, file.tree, `room '${room}' is not in test/tidy/rooms.ts`)];
  }
  return importsOf(file).flatMap(({ specifier, typeOnly, node }) => {
    if (!specifier.startsWith('.')) return [];
    const target = targetOf(file, specifier);
    const other = rooms.isSource(target) ? rooms.roomOf(target) : target;
    if (other === room || allowed.includes(other)) return [];
    if (typeOnly && allowed.includes(`type:${other}`)) return [];
    if (other === 'sim' && rooms.SIM_IN_CLI.test(file.path)) return [];
    const may = allowed.length === 0 ? 'nothing' : allowed.join(', ');
    const message = `'${room}' may not import '${other}' (${specifier}), only ${may}; pass what is needed in as a function`;
    return [problem('direction', file, node, message)];
  });
};

export const packages: FileRule = (file) => {
  if (!rooms.isSource(file.path) || rooms.isExcepted('package', file.path)) return [];
  const room = rooms.roomOf(file.path);
  const allowed = rooms.PACKAGES[room] ?? [];
  const matches = (name: string, rule: string): boolean =>
    /[:/-]$/.test(rule) ? name.startsWith(rule) : name === rule || name.startsWith(`${rule}/`);
  return importsOf(file).flatMap(({ specifier, node }) => {
    if (specifier.startsWith('.') || allowed.some((rule) => matches(specifier, rule))) return [];
    const may = allowed.length === 0 ? 'no package' : `only ${allowed.join(', ')}`;
    const message = `'${room}' may not import '${specifier}', ${may}; put it behind a port, in src/host`;
    return [problem('package', file, node, message)];
  });
};

/** The names of every blocking call of Node and LMDB. A method of ours that merely ends so is none of them. */
const SYNC_CALLS = new Set(
  [fs, childProcess, crypto, zlib]
    .flatMap((module) => Object.keys(module))
    .filter((name) => name.endsWith('Sync'))
    .concat('putSync', 'removeSync', 'transactionSync', 'clearSync', 'dropSync'),
);

export const blockingCalls: FileRule = (file) => {
  if (!rooms.isSource(file.path) || rooms.isExcepted('sync', file.path)) return [];
  return [...descendants(file.tree)].flatMap((node) => {
    if (!isCallExpression(node)) return [];
    const called = node.expression;
    const name = isIdentifier(called)
      ? called.text
      : isPropertyAccessExpression(called)
        ? called.name.text
        : '';
    if (!SYNC_CALLS.has(name)) return [];
    const message = `${name} stops the event loop; use the promise of node:fs/promises`;
    return [problem('sync', file, node, message)];
  });
};

export const emptyCatches: FileRule = (file) =>
  [...descendants(file.tree)].flatMap((node) =>
    isCatchClause(node) && node.block.statements.length === 0
      ? [
          problem(
            'catch',
            file,
            node,
            'empty catch; handle it, return a Result, or say why in code',
          ),
        ]
      : [],
  );

export const opensWithComment: FileRule = (file) =>
  /^(#!.*\n)?\/[*/]/.test(file.tree.text)
    ? []
    : [
        problem(
          'opening',
          file,
          file.tree,
          'the file must open with a comment that says its purpose',
        ),
      ];

export const fileLength: FileRule = (file) => {
  const lines = file.tree.text.replace(/\n$/, '').split('\n').length;
  const raised = rooms.RAISED.find(
    (entry) => entry.file === file.path && entry.functionName === undefined,
  );
  const max = raised?.lines ?? rooms.FILE_LINES_MAX;
  if (lines <= max) return [];
  const message = `${lines} lines, at most ${max}; split it by what changes together`;
  return [{ rule: 'file length', file: file.path, line: max + 1, message }];
};

const FUNCTIONS = new Set([
  SyntaxKind.FunctionDeclaration,
  SyntaxKind.FunctionExpression,
  SyntaxKind.ArrowFunction,
  SyntaxKind.MethodDeclaration,
  SyntaxKind.Constructor,
  SyntaxKind.GetAccessor,
  SyntaxKind.SetAccessor,
]);

function nameOf(node: Node): string {
  const named = node as Node & { readonly name?: Node };
  if (named.name !== undefined) return named.name.getText();
  const parent = node.parent as Node & { readonly name?: Node };
  return parent.name === undefined ? '(anonymous)' : parent.name.getText();
}

/** A suite is a list of tests, not a function that anybody follows from top to bottom. */
function isSuite(file: TidyFile, node: Node): boolean {
  if (file.path.startsWith('test/compliance/') && nameOf(node).endsWith('Compliance')) return true;
  const call = node.parent;
  return isCallExpression(call) && /^describe\b/.test(call.expression.getText());
}

export const functionLength: FileRule = (file) =>
  [...descendants(file.tree)].flatMap((node) => {
    if (!FUNCTIONS.has(node.kind) || isSuite(file, node)) return [];
    const last = file.tree.getLineAndCharacterOfPosition(node.getEnd()).line + 1;
    const lines = last - lineOf(file, node) + 1;
    const name = nameOf(node);
    const raised = rooms.RAISED.find(
      (entry) => entry.file === file.path && entry.functionName === name,
    );
    const max = raised?.lines ?? rooms.FUNCTION_LINES_MAX;
    if (lines <= max) return [];
    const message = `function ${name} has ${lines} lines, at most ${max}; name its steps`;
    return [problem('function length', file, node, message)];
  });

const SKIPS = new Set(['skip', 'only', 'todo', 'skipIf', 'runIf', 'fails']);

/** `test.skip` and the like, and `{ retry: n }`, which hides a flake. */
export const everyTestRuns: FileRule = (file) => {
  if (!rooms.isTest(file.path)) return [];
  return [...descendants(file.tree)].flatMap((node) => {
    if (isPropertyAccessExpression(node) && SKIPS.has(node.name.text)) {
      if (!/^(test|it|describe|suite)$/.test(node.expression.getText())) return [];
      return [problem('skip', file, node, `${node.getText()}: every test runs, or is deleted`)];
    }
    const isTestCall = isCallExpression(node) && /^(test|it)\b/.test(node.expression.getText());
    if (!isTestCall || !node.arguments.some((given) => /^\{[^}]*\bretry\b/.test(given.getText()))) {
      return [];
    }
    return [problem('skip', file, node, 'retry hides a flake; await the condition instead')];
  });
};

const FORBIDDEN_WORDS: readonly (readonly [RegExp, string])[] = [
  [/\b(?:TO)(?:DO)\b|\bFIX(?:ME)\b/, 'file an issue, or do it'],
  [/@ts-(?:ignore|nocheck|expect-error)/, 'make the type right'],
  [/biome-(?:ignore)(?![^:\n]*: \S.{9,})/, 'give the reason after the colon'],
];

/** Any text file of the project. */
export function forbiddenWords(path: string, text: string): Problem[] {
  return text.split('\n').flatMap((line, index) =>
    FORBIDDEN_WORDS.flatMap(([pattern, instead]) => {
      const match = pattern.exec(line);
      if (match === null) return [];
      return [{ rule: 'word', file: path, line: index + 1, message: `${match[0]}: ${instead}` }];
    }),
  );
}

const OUTSIDE = /\.\.\/shared\b|\/work\/|\bregistry\.[a-z]+\b|\bdeb\.debian\.org\b/;

/** Documents must make sense to who has only this project. */
export function outsidePaths(path: string, text: string): Problem[] {
  return text.split('\n').flatMap((line, index) => {
    const match = OUTSIDE.exec(line);
    if (match === null) return [];
    const message = `${match[0]} lies outside the project; say it here instead`;
    return [{ rule: 'outside', file: path, line: index + 1, message }];
  });
}

export const FILE_RULES: readonly FileRule[] = [
  directions,
  packages,
  blockingCalls,
  emptyCatches,
  opensWithComment,
  fileLength,
  functionLength,
  everyTestRuns,
  (file) => forbiddenWords(file.path, file.tree.text),
];
