/** Bytes as the control socket carries them (text, or base64 in an object), and texts that a terminal may show. */
import { isUtf8 } from 'node:buffer';

export type WireBytes = string | { base64: string };

/** The shorter of the two spellings: text full of control characters grows sixfold in JSON, base64 by a third. */
export function encodeBytes(bytes: Buffer): WireBytes {
  if (isUtf8(bytes)) {
    const text = bytes.toString('utf8');
    if (JSON.stringify(text).length <= bytes.length * 1.34 + 16) return text;
  }
  return { base64: bytes.toString('base64') };
}

export function decodeBytes(wire: WireBytes | undefined): Buffer {
  if (wire === undefined) return Buffer.alloc(0);
  return typeof wire === 'string' ? Buffer.from(wire, 'utf8') : Buffer.from(wire.base64, 'base64');
}

/** Bytes that a JSON line needs for this at most. */
export const wireBytes = (wire: WireBytes): number =>
  typeof wire === 'string' ? Buffer.byteLength(JSON.stringify(wire)) : wire.base64.length + 16;

/** Control characters spelled out, so that a name or a file from elsewhere cannot drive the terminal. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, (char) => {
    if (char === '\n') return '\\n';
    if (char === '\t') return '\\t';
    return `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`;
  });
}

/** At most `max` characters, the rest told by an ellipsis. */
export const shorten = (text: string, max: number): string =>
  text.length <= max ? text : `${text.slice(0, max - 1)}…`;

/** A command line as one could type it again. */
export function shellWords(argv: readonly string[]): string {
  return argv
    .map((word) =>
      /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`,
    )
    .join(' ');
}
