/** Verbs that do the same to several ids: each is told on its own, and one that fails does not stop the rest. */
import type { Result } from '../base/result.ts';
import type { RpcFailure } from '../client/types.ts';
import type { Cli } from './context.ts';
import { EXIT } from './exit-codes.ts';

/** The exit code of the first failure, 0 without one. */
export async function forEachId(
  cli: Cli,
  texts: readonly string[],
  act: (
    id: string,
  ) => Promise<Result<{ readonly line: string; readonly value: unknown }, RpcFailure>>,
): Promise<number> {
  let exit: number = EXIT.ok;
  for (const text of texts) {
    const id = await cli.resolveId(text);
    const done = id.ok ? await act(id.value) : id;
    if (!done.ok) {
      const failed = await cli.fail(done.error);
      if (exit === EXIT.ok) exit = failed;
      // Nothing else would be answered either.
      if (failed === EXIT.unreachable) return exit;
    } else if (cli.options.json === true) {
      await cli.json(done.value.value);
    } else {
      await cli.print(`${done.value.line}\n`);
    }
  }
  return exit;
}
