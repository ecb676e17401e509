/** A token as an argument, or `-`: from stdin, which keeps it out of ps(1) and the history. */
import { err, ok, type Result } from '../base/result.ts';
import type { Cli } from './context.ts';
import { readAll } from './stdin.ts';

const TOKEN_BYTES_MAX = 8_192;

export async function readToken(cli: Cli, argument: string): Promise<Result<string, string>> {
  let token = argument;
  if (token === '-') {
    const read = await readAll(cli.io.stdin, TOKEN_BYTES_MAX);
    if (!read.ok) return read;
    token = read.value.toString('utf8');
  }
  token = token.trim();
  return token === '' ? err('the token is empty') : ok(token);
}
