/** `covey monitor`: what the daemon logs, and its events, as they happen; until Ctrl-C. */
import { Option } from 'commander';
import { MONITOR_BACKLOG_MAX } from '../api/limits.ts';
import type { NotificationParams } from '../api/methods.ts';
import { LOG_LEVELS, type LogLevel } from '../base/telemetry.ts';
import { printable } from './bytes.ts';
import type { Cli } from './context.ts';
import { EXIT } from './exit-codes.ts';
import { integer, jsonFlag } from './flags.ts';
import { Live, type LiveItem } from './live.ts';
import { paint, type Style } from './output.ts';
import type { Verb } from './verb.ts';

interface Flags {
  readonly logLevel: LogLevel;
  readonly tail: number;
  readonly events: boolean;
}

/** Whether somebody still reads is looked at so often. */
const LOOK_MS = 1_000;

export const verb: Verb = {
  configure(command) {
    command
      .addOption(
        new Option(
          '--log-level <level>',
          'least level of what is shown, whatever the daemon itself writes',
        )
          .choices(LOG_LEVELS)
          .default('info'),
      )
      .option(
        '-n, --tail <n>',
        'begin with so many of the last records',
        integer(0, MONITOR_BACKLOG_MAX),
        10,
      )
      .option('--no-events', 'the log alone; events are left out for warn and error anyway');
    jsonFlag(command).addHelpText(
      'after',
      `
The log goes on whether anybody reads it or not: who reads too slowly is told how many records are missing.`,
    );
  },
  async run(cli, command) {
    const { logLevel, tail, events } = command.opts<Flags>();
    const hasEvents = events && (logLevel === 'debug' || logLevel === 'info');
    const live = new Live(cli, {
      log: { level: logLevel, backlog: tail },
      ...(hasEvents ? { topics: ['member', 'task'] as const } : {}),
    });
    while (!live.ended) {
      for (const item of await live.take(LOOK_MS)) {
        const line = cli.options.json === true ? jsonOf(item) : textOf(item, cli);
        if (line !== undefined) await cli.io.stdout.line(line);
      }
    }
    return live.failure === undefined ? EXIT.ok : cli.fail(live.failure);
  },
};

function jsonOf(item: LiveItem): string | undefined {
  if (item.kind === 'connected') return undefined;
  if (item.kind === 'gap') return JSON.stringify(item);
  const { subscription: _, ...said } = item.kind === 'event' ? item.event : item.record;
  return JSON.stringify({ kind: item.kind, ...said });
}

const STYLES: Readonly<Record<LogLevel, Style | undefined>> = {
  debug: 'dim',
  info: undefined,
  warn: 'yellow',
  error: 'red',
};

function textOf(item: LiveItem, { color }: Cli): string | undefined {
  switch (item.kind) {
    case 'connected':
      return undefined;
    case 'gap': {
      const what = item.of === 'log' ? 'records of the log' : 'events';
      // From 0: of an earlier boot, nobody knows how many.
      const count = item.from === 0 ? 'some' : String(item.to - item.from + 1);
      return paint(`... ${count} ${what} are missing`, 'yellow', color);
    }
    case 'log': {
      const { at, level, message, fields } = item.record;
      const text = `${at} ${level.toUpperCase().padEnd(5)} ${printable(message)}${fieldsText(fields)}`;
      return paint(text, STYLES[level], color);
    }
    case 'event':
      return paint(eventText(item.event), 'cyan', color);
  }
}

function eventText({ at, topic, type, id, data }: NotificationParams<'event'>): string {
  const { cause: _, evidence, ...rest } = data;
  const why = typeof evidence === 'string' ? ` (${printable(evidence)})` : '';
  return `${at} EVENT ${topic} ${printable(type)}${why} id=${printable(id ?? '')}${fieldsText(rest)}`;
}

const fieldsText = (fields: Readonly<Record<string, unknown>>): string =>
  Object.entries(fields)
    .map(([name, value]) => ` ${printable(name)}=${valueText(value)}`)
    .join('');

const valueText = (value: unknown): string =>
  typeof value === 'string' && !/[\s"=]/.test(value)
    ? printable(value)
    : printable(JSON.stringify(value) ?? '');
