/** Standard input that travels with a task: read whole, up to a limit. */
import type { Readable } from 'node:stream';
import { err, ok, type Result } from '../base/result.ts';

export async function readAll(stream: Readable, bytesMax: number): Promise<Result<Buffer, string>> {
  const chunks: Buffer[] = [];
  let total = 0;
  for await (const chunk of stream) {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : (chunk as Buffer);
    total += bytes.length;
    if (total > bytesMax) {
      return err(
        `standard input is longer than ${bytesMax} bytes; put large inputs at the same path on all hosts`,
      );
    }
    chunks.push(bytes);
  }
  return ok(Buffer.concat(chunks));
}
