/**
 * The rules that need to know what a name or an expression *is*: globals, and promises that nobody waits for. All
 * questions to the checker are put in batches, because each is a message to another process.
 */
import {
  isCallExpression,
  isExpressionStatement,
  isIdentifier,
  isPropertyAccessExpression,
  type Node,
  SyntaxKind,
} from 'typescript/unstable/ast';
import { descendants, lineOf, type Problem, type Program, type TidyFile } from './program.ts';
import * as rooms from './rooms.ts';

interface Candidate {
  readonly file: TidyFile;
  readonly node: Node;
  readonly name: string;
  readonly instead: string;
}

/** The right side of a dot, a key or the name of a declaration is no use of a global. */
function isUse(node: Node): boolean {
  const parent = node.parent as Node & { readonly name?: Node; readonly right?: Node };
  if (parent.kind === SyntaxKind.QualifiedName) return parent.right !== node;
  if (parent.kind === SyntaxKind.ShorthandPropertyAssignment) return true;
  return parent.name !== node;
}

function candidatesIn(file: TidyFile): Candidate[] {
  const found: Candidate[] = [];
  const banned = !rooms.HOST_ROOMS.has(rooms.roomOf(file.path));
  const mayPrint = rooms.roomOf(file.path) === 'cli';
  for (const node of descendants(file.tree)) {
    if (!isIdentifier(node) || !isUse(node)) continue;
    const { parent, text } = node;
    if (text === 'console' && !mayPrint) {
      found.push({ file, node, name: text, instead: 'the Logger' });
    }
    if (!banned) continue;
    const instead = Object.hasOwn(rooms.BANNED_GLOBALS, text) && rooms.BANNED_GLOBALS[text];
    if (instead) found.push({ file, node, name: text, instead });
    if (isPropertyAccessExpression(parent) && parent.expression === node) {
      const name = `${text}.${parent.name.text}`;
      const member = rooms.BANNED_MEMBERS[name];
      if (member !== undefined) found.push({ file, node, name, instead: member });
    }
  }
  return found;
}

/** A name is global if nothing but libraries declares it: a parameter called `process` is ours. */
export function globals(program: Program): Problem[] {
  const candidates = program.files
    .filter(({ path }) => rooms.isSource(path) && !rooms.isExcepted('global', path))
    .flatMap(candidatesIn);
  if (candidates.length === 0) return [];
  const symbols = program.checker.getSymbolAtLocation(candidates.map(({ node }) => node));
  // In `{ crypto }` the name is a key first; the value behind it is what counts.
  for (const [index, { node }] of candidates.entries()) {
    if (node.parent.kind !== SyntaxKind.ShorthandPropertyAssignment) continue;
    symbols[index] = program.checker.getShorthandAssignmentValueSymbol(node.parent);
  }
  return candidates.flatMap(({ file, node, name, instead }, index) => {
    const declarations = symbols[index]?.declarations ?? [];
    if (declarations.some(({ path }) => !path.endsWith('.d.ts') && !path.endsWith('.d.cts'))) {
      return [];
    }
    // Imported from node: — then the rule on packages has its say.
    if (declarations.some(({ kind }) => kind === SyntaxKind.ImportSpecifier)) return [];
    const message = `'${name}' is not for '${rooms.roomOf(file.path)}'; use ${instead}`;
    return [{ rule: 'global', file: file.path, line: lineOf(file, node), message }];
  });
}

/** `p.catch(f)` and `p.then(f, g)` have somebody who hears of the failure. */
function isHandled(node: Node): boolean {
  if (!isCallExpression(node) || !isPropertyAccessExpression(node.expression)) return false;
  const { name, expression } = node.expression;
  if (name.text === 'catch') return node.arguments.length >= 1;
  if (name.text === 'then') return node.arguments.length >= 2;
  return name.text === 'finally' && isHandled(expression);
}

/** Biome's own rule knows a file and a few types; this one asks the checker, across all files. */
export function floatingPromises(program: Program): Problem[] {
  const statements = program.files.flatMap((file) =>
    [...descendants(file.tree)]
      .filter(isExpressionStatement)
      .map(({ expression }) => ({ file, expression }))
      .filter(({ expression }) => isCallExpression(expression) && !isHandled(expression)),
  );
  if (statements.length === 0) return [];
  const types = program.checker.getTypeAtLocation(statements.map(({ expression }) => expression));
  const known = new Map<number, boolean>();
  return statements.flatMap(({ file, expression }, index) => {
    const type = types[index];
    if (type === undefined) return [];
    let isPromise = known.get(type.id);
    if (isPromise === undefined) {
      isPromise = program.checker.getPropertyOfType(type, 'then') !== undefined;
      known.set(type.id, isPromise);
    }
    if (!isPromise) return [];
    const message = `nobody waits for '${expression.getText().slice(0, 50)}'; await it, return it, or \`void\` one that cannot reject`;
    return [{ rule: 'promise', file: file.path, line: lineOf(file, expression), message }];
  });
}
