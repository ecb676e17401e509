/** `covey doctor`: what is wrong with the mesh, as far as this daemon and those it can ask know; and what to do. */
import { Option } from 'commander';
import type { Check, MethodResult } from '../api/methods.ts';
import { printable } from './bytes.ts';
import { EXIT } from './exit-codes.ts';
import { durationBetween, jsonFlag } from './flags.ts';
import { paint, type Style } from './output.ts';
import type { Verb } from './verb.ts';

/** The daemon answers by then; added to what its members may take. */
const OWN_MS = 10_000;

export const verb: Verb = {
  configure(command) {
    command.addOption(
      new Option('--timeout <duration>', 'how long the members may take to answer, 100ms to 30s')
        .argParser(durationBetween('100ms', '30s'))
        .default(5_000, '5s'),
    );
    jsonFlag(command)
      .option('-q, --quiet', 'print what is not well only')
      .addHelpText(
        'after',
        '\nExit code: 0 if nothing failed (warnings are no failure), 1 if something did.',
      );
  },
  async run(cli, command) {
    const { timeout } = command.opts<{ readonly timeout: number }>();
    const timeoutMs = timeout + OWN_MS;
    const answer = await cli.call('system.doctor', { timeout_ms: timeout }, { timeoutMs });
    if (!answer.ok) return cli.fail(answer.error);
    const { value } = answer;
    if (cli.options.json === true) await cli.json(value);
    else await cli.print(textOf(value, cli.options.quiet === true, cli.color));
    return value.checks.some(({ status }) => status === 'fail') ? EXIT.failure : EXIT.ok;
  },
};

const STYLES: Readonly<Record<Check['status'], Style>> = {
  ok: 'green',
  warn: 'yellow',
  fail: 'red',
};

function textOf({ checks }: MethodResult<'system.doctor'>, quiet: boolean, color: boolean): string {
  const shown = checks.filter(({ status }) => !quiet || status !== 'ok');
  const width = shown.reduce((max, { check }) => Math.max(max, check.length), 0);
  return shown
    .map(({ check, status, summary, todo }) => {
      const word = paint(status.toUpperCase().padEnd(4), STYLES[status], color);
      const line = `${word}  ${printable(check).padEnd(width)}  ${printable(summary)}\n`;
      return todo === undefined ? line : `${line}      ${' '.repeat(width)}  ${printable(todo)}\n`;
    })
    .join('');
}
