/**
 * What a daemon tells as it happens, events and its log, over as many connections as it takes: a daemon that restarts
 * is waited for, and what was missed is told as a gap.
 */
import type { EventTopic, MethodInput, NotificationParams } from '../api/methods.ts';
import type { Connection, RpcFailure } from '../client/types.ts';
import type { Cli } from './context.ts';
import { isPassing } from './mesh.ts';

export type LiveItem =
  /** The subscriptions stand, for the first time or again. */
  | { readonly kind: 'connected' }
  | { readonly kind: 'event'; readonly event: NotificationParams<'event'> }
  | { readonly kind: 'log'; readonly record: NotificationParams<'monitor'> }
  | {
      readonly kind: 'gap';
      readonly of: 'event' | 'log';
      readonly from: number;
      readonly to: number;
    };

export interface LiveWants {
  readonly topics?: readonly EventTopic[];
  readonly log?: MethodInput<'system.monitor'>;
}

/** Items that wait for a slow terminal or pipe; more are counted as a gap. */
const ITEMS_MAX = 10_000;
const RETRY_MS = 500;

export class Live {
  readonly #cli: Cli;
  readonly #wants: LiveWants;
  #items: LiveItem[] = [];
  #wake: () => void = () => undefined;
  #stop: () => void = () => undefined;
  readonly #stopped: Promise<void>;
  #ended = false;
  #after: { readonly boot: string; readonly seq: number } | undefined;
  #wasConnected = false;
  /** Why it ended, unless by Ctrl-C. */
  failure: RpcFailure | undefined;

  constructor(cli: Cli, wants: LiveWants) {
    this.#cli = cli;
    this.#wants = wants;
    this.#stopped = new Promise((resolve) => {
      this.#stop = resolve;
    });
    cli.saysLostConnection();
    cli.io.onInterrupt(() => this.#end(undefined));
    void this.#run();
  }

  get ended(): boolean {
    return this.#ended || this.#cli.io.stdout.broken;
  }

  /** What has come; waits for the first of it. Nothing: time is up, or it has ended. */
  async take(timeoutMs: number): Promise<LiveItem[]> {
    if (this.#items.length === 0 && !this.#ended) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, timeoutMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return this.#items.splice(0);
  }

  #end(failure: RpcFailure | undefined): void {
    this.failure ??= failure;
    this.#ended = true;
    this.#stop();
    this.#wake();
  }

  #push(item: LiveItem): void {
    const last = this.#items.at(-1);
    if (this.#items.length < ITEMS_MAX) this.#items.push(item);
    else if (item.kind !== 'connected') this.#items[ITEMS_MAX - 1] = lost(item, last);
    this.#wake();
  }

  async #run(): Promise<void> {
    const { mesh } = this.#cli;
    while (!this.#ended) {
      const opened = await mesh.connection();
      const failure = opened.ok ? await this.#serve(opened.value) : opened.error;
      // Nobody wants to wait for a daemon that never was.
      const isFinal = failure !== undefined && (!this.#wasConnected || !isPassing(failure));
      if (isFinal) return this.#end(failure);
      if (!this.#ended) await mesh.sleep(RETRY_MS);
    }
  }

  /** Until the connection or the command ends. */
  async #serve(connection: Connection): Promise<RpcFailure | undefined> {
    let logOf: string | undefined;
    const offs = [
      connection.on('event', (event) => {
        if (this.#after) this.#after = { boot: this.#after.boot, seq: event.seq };
        this.#push({ kind: 'event', event });
      }),
      connection.on('monitor', (record) => this.#push({ kind: 'log', record })),
      connection.on('gap', ({ subscription, from, to }) => {
        const of = subscription === logOf ? 'log' : 'event';
        if (of === 'event' && this.#after) this.#after = { boot: this.#after.boot, seq: to };
        this.#push({ kind: 'gap', of, from, to });
      }),
    ];
    try {
      const { topics, log } = this.#wants;
      if (topics !== undefined) {
        const resume = this.#after === undefined ? {} : { after: this.#after };
        const answer = await connection.call('events.subscribe', {
          topics: [...topics],
          ...resume,
        });
        if (!answer.ok) return answer.error;
        this.#after = { boot: answer.value.boot, seq: answer.value.seq };
      }
      if (log !== undefined) {
        const answer = await connection.call('system.monitor', log);
        if (!answer.ok) return answer.error;
        logOf = answer.value.subscription;
      }
      this.#wasConnected = true;
      this.#push({ kind: 'connected' });
      await Promise.race([connection.closed, this.#stopped]);
      return undefined;
    } finally {
      for (const off of offs) off();
    }
  }
}

type Numbered = Exclude<LiveItem, { readonly kind: 'connected' }>;

const rangeOf = (item: Numbered): { from: number; to: number } => {
  if (item.kind === 'gap') return item;
  const { seq } = item.kind === 'event' ? item.event : item.record;
  return { from: seq, to: seq };
};

/** The last place holds what was lost; of two kinds, the later one is told. */
function lost(item: Numbered, last: LiveItem | undefined): LiveItem {
  const of = item.kind === 'gap' ? item.of : item.kind;
  const { from, to } = rangeOf(item);
  const isSame = last?.kind === 'gap' && last.of === of;
  return { kind: 'gap', of, from: isSame ? Math.min(last.from, from) : from, to };
}
