/**
 * `covey members -w`: on a terminal the list, redrawn; elsewhere the list once, then one line a change; with --json one
 * object a line, the members first.
 */
import type {
  MemberEventData,
  MemberView,
  MethodResult,
  NotificationParams,
} from '../api/methods.ts';
import { printable } from './bytes.ts';
import type { Cli } from './context.ts';
import { EXIT } from './exit-codes.ts';
import { Live, type LiveItem } from './live.ts';
import { paint } from './output.ts';

type List = MethodResult<'members.list'>;
type MemberEvent = NotificationParams<'event'>;

/** phi and load move between the changes; a person watches them. */
const REFRESH_MS = 1_000;
const CLEAR_SCREEN = '\u001b[H\u001b[J';
/** Changes shown under the list. */
const LINES_SHOWN = 8;

/** `render` prints a list as `covey members` does. */
export async function watchMembers(cli: Cli, render: (list: List) => string): Promise<number> {
  const live = new Live(cli, { topics: ['member'] });
  const isScreen =
    cli.io.stdout.isTerminal && cli.options.json !== true && cli.options.quiet !== true;
  const show = isScreen ? new Screen(cli, render) : new Lines(cli, render);
  while (!live.ended) {
    const items = await live.take(REFRESH_MS);
    if (live.ended || (items.length === 0 && !isScreen)) continue;
    const list = await cli.call('members.list', {});
    // The daemon is away: `live` waits for it.
    if (list.ok) await show.show(items, list.value);
  }
  return live.failure === undefined ? EXIT.ok : cli.fail(live.failure);
}

interface Show {
  show(items: readonly LiveItem[], list: List): Promise<void>;
}

const dataOf = (event: MemberEvent): MemberEventData => event.data as MemberEventData;

function sentenceOf(event: MemberEvent): string {
  const { name, was, evidence } = dataOf(event);
  const change = was === undefined ? event.type : `${was} -> ${event.type}`;
  return [event.at, name, change, evidence ?? ''].map(printable).join('  ').trimEnd();
}

class Screen implements Show {
  readonly #cli: Cli;
  readonly #render: (list: List) => string;
  readonly #last: string[] = [];

  constructor(cli: Cli, render: (list: List) => string) {
    this.#cli = cli;
    this.#render = render;
  }

  async show(items: readonly LiveItem[], list: List): Promise<void> {
    for (const item of items) {
      if (item.kind === 'event') this.#last.push(sentenceOf(item.event));
      if (item.kind === 'gap') this.#last.push('some changes were missed');
    }
    this.#last.splice(0, this.#last.length - LINES_SHOWN);
    const { color } = this.#cli;
    const changes = this.#last.map((line) => `${paint(line, 'dim', color)}\n`).join('');
    const space = changes === '' ? '' : '\n';
    await this.#cli.print(CLEAR_SCREEN + this.#render(list) + space + changes);
  }
}

class Lines implements Show {
  readonly #cli: Cli;
  readonly #render: (list: List) => string;
  #hasBegun = false;

  constructor(cli: Cli, render: (list: List) => string) {
    this.#cli = cli;
    this.#render = render;
  }

  async show(items: readonly LiveItem[], list: List): Promise<void> {
    for (const item of items) {
      if (item.kind === 'connected' && !this.#hasBegun) await this.#begin(list);
      else if (item.kind === 'event') await this.#change(item.event, list);
      else if (item.kind === 'gap') await this.#gap(item, list);
    }
  }

  async #begin(list: List): Promise<void> {
    this.#hasBegun = true;
    if (this.#cli.options.json !== true) return this.#cli.print(this.#render(list));
    for (const member of list.members) await this.#cli.json({ type: 'present', member });
  }

  #change(event: MemberEvent, list: List): Promise<void> {
    const { json, quiet } = this.#cli.options;
    if (quiet === true) return this.#cli.io.stdout.line(event.id ?? '');
    if (json !== true) return this.#cli.io.stdout.line(sentenceOf(event));
    const member: MemberView | null =
      list.members.find(({ peer_id: id }) => id === event.id) ?? null;
    const { type, at, id } = event;
    return this.#cli.json({ type, at, peer_id: id, ...dataOf(event), member });
  }

  /** What was missed is in the list as it is now. */
  async #gap({ from, to }: { readonly from: number; readonly to: number }, list: List) {
    if (this.#cli.options.json === true) await this.#cli.json({ type: 'gap', from, to });
    else await this.#cli.say('some changes were missed; the members as they are now:');
    await this.#begin(list);
  }
}
