/**
 * What clients read through any peer, judged when they have the answer: where every daemon runs, sees all others and did
 * so when the question was asked, an acknowledged task is found, and an end that was shown by anybody is shown by all.
 */
import { taskOf } from '../tasks/task.ts';
import type { ShownFinal } from './evidence.ts';
import { Versions } from './versions.ts';
import type { World } from './world.ts';

const short = (id: string): string => id.slice(8, 20);
/** More than a story has tasks. */
const LIST_MAX = 1_000;

export class Reads {
  readonly #world: World;
  readonly versions: Versions;

  constructor(world: World) {
    this.#world = world;
    this.versions = new Versions(world);
  }

  /** Whether all is whole and no daemon was started since; undefined: it is not whole now. */
  #stand(): string | undefined {
    const { hosts } = this.#world;
    return this.#world.isWhole() ? hosts.map(({ boot }) => boot).join(' ') : undefined;
  }

  #shown(id: string): ShownFinal | undefined {
    return this.#world.told.find((told) => told.id === id && told.final !== undefined)?.final;
  }

  /** `covey get`. */
  get(i: number, id: string): void {
    const { trace, steps } = this.#world;
    const before = this.#stand();
    const shown = this.#shown(id);
    const { name } = this.#world.host(i);
    trace.add('client read', [i, id]);
    if (before !== undefined) this.versions.read(id);
    void this.#world
      .peer(i)
      .tasks.reader.findOrRemains(id, false)
      .then((found) => {
        const final = found === undefined ? undefined : taskOf(found.record).final;
        trace.add('client has read', [i, id, found !== undefined, final?.state]);
        if (final !== undefined) steps.told({ host: name }, id);
        if (before === undefined || this.#stand() !== before) return;
        const what = `${name} was asked for ${short(id)}`;
        if (found === undefined) steps.violate('read_lost', `${what} and found nothing`, 'strict');
        else if (shown !== undefined && final === undefined)
          steps.violate('read_stale', `${what}, told as ${shown.state}: not final`, 'strict');
        else if (shown !== undefined && final?.state !== shown.state)
          steps.violate('read_stale', `${what}, told as ${shown.state}: ${final?.state}`, 'strict');
      });
  }

  /** `covey tasks`: all that were acknowledged before. */
  list(i: number): void {
    const { trace, steps, submits } = this.#world;
    const before = this.#stand();
    const expected = submits.flatMap(({ id, outcome }) =>
      outcome === 'acknowledged' && id !== undefined ? [id] : [],
    );
    const { name } = this.#world.host(i);
    trace.add('client list', [i]);
    void this.#world
      .peer(i)
      .tasks.lister.list({ limit: LIST_MAX })
      .then(({ tasks, unreachable }) => {
        trace.add('client has the list', [i, tasks.length, unreachable.length]);
        if (before === undefined || this.#stand() !== before) return;
        const listed = new Set(tasks.map(({ id }) => id));
        const missing = expected.filter((id) => !listed.has(id)).map(short);
        if (missing.length > 0)
          steps.violate('list_incomplete', `${name} does not list ${missing.join(', ')}`, 'strict');
      });
  }
}
