/**
 * A mutant: one planted bug, as edits of source text. It is never a branch in src/: the edits are applied to a
 * temporary copy, and each must match exactly once, so that a mutant cannot rot away unseen when the source moves on.
 */
import { stripTypeScriptTypes } from 'node:module';
import type { ScenarioOptions } from '../../src/sim/options.ts';

/** The faults of the stories in which the bug can show. The runner takes them in turn. */
export type MutantMode = 'calm' | 'crashes' | 'cuts' | 'wild' | 'storm';

export interface Edit {
  /** Below src/. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

export interface Mutant {
  readonly name: string;
  /** What it breaks, in words for docs/simulator.md. */
  readonly breaks: string;
  readonly modes: readonly MutantMode[];
  /** What its worlds are like, where those that are drawn for all show it too seldom. */
  readonly world?: Partial<ScenarioOptions>;
  readonly edits: readonly Edit[];
}

/** The text with the edit applied; throws when its place is not there or not the only one. */
export function applyEdit(name: string, text: string, edit: Edit): string {
  const parts = text.split(edit.find);
  if (parts.length !== 2) {
    const count = parts.length - 1;
    throw new Error(
      `mutant ${name}: its edit of ${edit.file} matches ${count} times instead of once`,
    );
  }
  return parts.join(edit.replace);
}

/** Every file that the mutant changes, with its new text; throws when an edit does not fit or does not parse. */
export async function mutatedFiles(
  mutant: Mutant,
  read: (file: string) => Promise<string>,
): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  for (const edit of mutant.edits) {
    const text = files.get(edit.file) ?? (await read(edit.file));
    files.set(edit.file, applyEdit(mutant.name, text, edit));
  }
  for (const [file, text] of files) {
    try {
      stripTypeScriptTypes(text);
    } catch (thrown) {
      throw new Error(`mutant ${mutant.name}: ${file} does not parse: ${String(thrown)}`);
    }
  }
  return files;
}
