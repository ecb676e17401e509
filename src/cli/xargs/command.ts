/** From items to command lines: placeholders, appending, and batches that fit. Pure. */
import { ARGV_BYTES_MAX, ARGV_MAX } from '../../api/limits.ts';

export interface CommandTemplate {
  readonly words: readonly string[];
  readonly placeholder: string;
}

const utf8Bytes = (text: string): number => Buffer.byteLength(text, 'utf8');

const isPlaced = ({ words, placeholder }: CommandTemplate): boolean =>
  words.some((word) => word.includes(placeholder));

/**
 * Without a placeholder the items are appended. With it, a word that contains it stands once for each item, so
 * that nothing ever joins two items into one argument. `split`/`join`, not `replace`: an item may contain `$&`,
 * or the placeholder itself, and must arrive as it is.
 */
export function buildArgv(template: CommandTemplate, items: readonly string[]): string[] {
  if (!isPlaced(template)) return [...template.words, ...items];
  return template.words.flatMap((word) =>
    word.includes(template.placeholder)
      ? items.map((item) => word.split(template.placeholder).join(item))
      : [word],
  );
}

export type Batch =
  | { readonly kind: 'batch'; readonly items: readonly string[] }
  /** One item that alone makes the command line too long. */
  | { readonly kind: 'too_long'; readonly item: string };

/** Collects up to `itemsMax` items a command line, fewer where the line would become longer than allowed. */
export class Batcher {
  readonly #itemsMax: number;
  readonly #fixedBytes: number;
  readonly #fixedWords: number;
  /** Per item: words that it adds, and their bytes apart from the item's own. */
  readonly #wordsPerItem: number;
  readonly #frameBytes: number;
  readonly #occurrences: number;
  #items: string[] = [];
  #bytes = 0;

  constructor(template: CommandTemplate, itemsMax: number) {
    const { words, placeholder } = template;
    const placed = words.filter((word) => word.includes(placeholder));
    const fixed = words.filter((word) => !word.includes(placeholder));
    this.#itemsMax = itemsMax;
    this.#fixedWords = fixed.length;
    // One byte a word for the NUL that ends it.
    this.#fixedBytes = fixed.reduce((sum, word) => sum + utf8Bytes(word) + 1, 0);
    this.#wordsPerItem = Math.max(1, placed.length);
    const occurrences = placed.reduce((n, word) => n + word.split(placeholder).length - 1, 0);
    this.#occurrences = Math.max(1, occurrences);
    const placedBytes = placed.reduce((sum, word) => sum + utf8Bytes(word), 0);
    this.#frameBytes = placedBytes - occurrences * utf8Bytes(placeholder) + this.#wordsPerItem;
  }

  push(item: string): Batch[] {
    const bytes = utf8Bytes(item) * this.#occurrences + this.#frameBytes;
    if (!this.#fits(1, bytes)) return [...this.end(), { kind: 'too_long', item }];
    const out = this.#fits(this.#items.length + 1, this.#bytes + bytes) ? [] : this.end();
    this.#items.push(item);
    this.#bytes += bytes;
    return this.#items.length >= this.#itemsMax ? [...out, ...this.end()] : out;
  }

  end(): Batch[] {
    if (this.#items.length === 0) return [];
    const items = this.#items;
    this.#items = [];
    this.#bytes = 0;
    return [{ kind: 'batch', items }];
  }

  #fits(items: number, bytes: number): boolean {
    return (
      this.#fixedBytes + bytes <= ARGV_BYTES_MAX &&
      this.#fixedWords + items * this.#wordsPerItem <= ARGV_MAX
    );
  }
}
