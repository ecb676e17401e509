/** How the CLI prints: tables for people, JSON for programs, colour on a terminal only. */
import { styleText } from 'node:util';
import type { TaskState } from '../api/task.ts';
import { printable } from './bytes.ts';

export type Style = 'red' | 'green' | 'yellow' | 'cyan' | 'dim' | 'bold';
export interface Cell {
  readonly text: string;
  readonly style?: Style;
}
export type CellInput = string | number | undefined | Cell;

const GAP = '  ';

function toCell(input: CellInput): Cell {
  if (input === undefined || input === '') return { text: '-' };
  if (typeof input === 'object') return { text: printable(input.text), ...styleOf(input) };
  return { text: printable(String(input)) };
}

const styleOf = (cell: Cell): { style?: Style } =>
  cell.style === undefined ? {} : { style: cell.style };

export const paint = (text: string, style: Style | undefined, color: boolean): string =>
  color && style !== undefined ? styleText(style, text, { validateStream: false }) : text;

/** Columns as wide as their widest cell; the last is never padded. Empty cells show `-`, for cut(1) and awk(1). */
export function table(
  header: readonly string[],
  rows: readonly (readonly CellInput[])[],
  color: boolean,
): string {
  const cells = rows.map((row) => row.map(toCell));
  const widths = header.map((title, column) =>
    cells.reduce((width, row) => Math.max(width, (row[column]?.text ?? '').length), title.length),
  );
  const lineOf = (row: readonly Cell[]): string =>
    row
      .map((cell, column) => {
        const pad = column === row.length - 1 ? 0 : (widths[column] ?? 0) - cell.text.length;
        return paint(cell.text, cell.style, color) + ' '.repeat(Math.max(0, pad));
      })
      .join(GAP);
  const head = lineOf(header.map((text): Cell => ({ text, style: 'bold' })));
  return `${[head, ...cells.map(lineOf)].join('\n')}\n`;
}

/** `name: value` lines, values aligned; empty ones left out. */
export function fields(entries: readonly (readonly [string, CellInput])[], color: boolean): string {
  const shown = entries.filter(([, value]) => value !== undefined && value !== '');
  const width = shown.reduce((max, [name]) => Math.max(max, name.length + 1), 0);
  return shown
    .map(([name, value]) => {
      const cell = toCell(value);
      return `${paint(`${name}:`.padEnd(width), 'dim', color)} ${paint(cell.text, cell.style, color)}\n`;
    })
    .join('');
}

export function stateCell(state: TaskState, reason?: string): Cell {
  const text = reason === undefined || reason === '' ? state : `${state} (${reason})`;
  if (state === 'completed') return { text, style: 'green' };
  if (state === 'failed' || state === 'expired') return { text, style: 'red' };
  if (state === 'active') return { text, style: 'cyan' };
  return state === 'canceled' ? { text, style: 'dim' } : { text, style: 'yellow' };
}
