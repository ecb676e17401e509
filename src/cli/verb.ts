/** The shape of a verb's module. Each is imported only when it is used, so that `covey version` stays fast. */
import type { Command } from 'commander';
import type { Cli } from './context.ts';

export interface Verb {
  /** Declares arguments and flags; `--socket`, `--peer` and `--no-color` are there already. */
  configure(command: Command): void;
  /** Runs with the parsed command (`command.args`, `command.opts()`); returns the exit code. */
  run(cli: Cli, command: Command): Promise<number>;
  /** True: what follows the first `--` is kept apart, in `cli.afterDashes` (`submit … -- CMD`). */
  readonly splitsAtDashes?: boolean;
  /** The exit code for Covey's own failures where it is not the common one (`run`, `xargs`). */
  readonly failureExit?: number;
}
