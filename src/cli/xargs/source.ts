/** From the bytes of stdin to pieces of work, one a task; pure machines, fed in chunks of any size. */
import { isUtf8 } from 'node:buffer';
import { ARGV_BYTES_MAX, STDIN_BYTES_MAX } from '../../api/limits.ts';
import { encodeBytes, type WireBytes } from '../bytes.ts';
import { BlockCutter } from './blocks.ts';
import { type Batch, Batcher, type CommandTemplate } from './command.ts';
import { RecordSplitter, type SplitRecord } from './records.ts';

export type Work =
  | { readonly kind: 'items'; readonly items: readonly string[] }
  | { readonly kind: 'block'; readonly number: number; readonly stdin: WireBytes }
  /** Never submitted; counted and named as failed. */
  | { readonly kind: 'refused'; readonly name: string; readonly why: string };

export interface WorkSource {
  push(chunk: Buffer): Work[];
  end(): Work[];
}

const LINE_FEED = 0x0a;
const NUL = 0x00;
export const separatorOf = (nul: boolean): number => (nul ? NUL : LINE_FEED);

/** Memory that a piece of work holds while it waits. */
export function workBytes(work: Work): number {
  if (work.kind === 'items') return work.items.reduce((sum, item) => sum + item.length + 48, 64);
  if (work.kind === 'refused') return work.name.length + 128;
  return 64 + (typeof work.stdin === 'string' ? work.stdin.length : work.stdin.base64.length);
}

/** How a person is told which piece of work it was. */
export function workName(work: Work): string {
  if (work.kind === 'block') return `block ${work.number}`;
  if (work.kind === 'refused') return `'${work.name}'`;
  const [first = '', ...more] = work.items;
  return more.length === 0 ? `'${first}'` : `'${first}' and ${more.length} more`;
}

/** Whole lines (or NUL-ended items) as arguments. */
export class ItemSource implements WorkSource {
  readonly #splitter: RecordSplitter;
  readonly #batcher: Batcher;

  constructor(template: CommandTemplate, itemsMax: number, nul: boolean) {
    this.#splitter = new RecordSplitter(separatorOf(nul), ARGV_BYTES_MAX);
    this.#batcher = new Batcher(template, itemsMax);
  }

  push(chunk: Buffer): Work[] {
    return this.#splitter.push(chunk).flatMap((record) => this.#take(record));
  }

  end(): Work[] {
    const last = this.#splitter.end().flatMap((record) => this.#take(record));
    return [...last, ...this.#batcher.end().map(workOfBatch)];
  }

  #take(record: SplitRecord): Work[] {
    if (record.kind === 'too_long') {
      const name = `${record.beginning.toString('utf8')}…`;
      return [{ kind: 'refused', name, why: `longer than ${ARGV_BYTES_MAX} bytes` }];
    }
    const text = record.bytes.toString('utf8');
    // A command line travels as text. A wrong name must not be "repaired": the command would open another file.
    if (!isUtf8(record.bytes)) {
      return [{ kind: 'refused', name: text, why: 'not UTF-8; --pipe passes any bytes' }];
    }
    if (text.includes('\0')) {
      return [{ kind: 'refused', name: text, why: 'holds a NUL; is -0 missing?' }];
    }
    return this.#batcher.push(text).map(workOfBatch);
  }
}

const workOfBatch = (batch: Batch): Work =>
  batch.kind === 'batch'
    ? { kind: 'items', items: batch.items }
    : {
        kind: 'refused',
        name: batch.item.slice(0, 256),
        why: `the command line would be longer than ${ARGV_BYTES_MAX} bytes`,
      };

/** Blocks of stdin as the stdin of the tasks. */
export class BlockSource implements WorkSource {
  readonly #cutter: BlockCutter;
  #number = 0;

  constructor(blockBytes: number, nul: boolean) {
    this.#cutter = new BlockCutter(separatorOf(nul), blockBytes, STDIN_BYTES_MAX);
  }

  push(chunk: Buffer): Work[] {
    return this.#cutter.push(chunk).map((block) => this.#workOf(block));
  }

  end(): Work[] {
    return this.#cutter.end().map((block) => this.#workOf(block));
  }

  #workOf(block: ReturnType<BlockCutter['push']>[number]): Work {
    const number = this.#number++;
    return block.kind === 'block'
      ? { kind: 'block', number, stdin: encodeBytes(block.bytes) }
      : {
          kind: 'refused',
          name: `block ${number}`,
          why: `one record of ${block.bytes} bytes; ${STDIN_BYTES_MAX} at most`,
        };
  }
}
