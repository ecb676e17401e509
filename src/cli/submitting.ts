/** Submitting under an id that was reserved first: a lost answer is asked again without a second task. */
import type { Receipt, SubmitInput } from '../api/task.ts';
import { err, ok, type Result } from '../base/result.ts';
import type { RpcFailure } from '../client/types.ts';
import type { Cli } from './context.ts';
import type { Interrupts } from './interrupts.ts';

/** A receipt that takes longer is explained on stderr, once: patience may last for two minutes. */
const NOTICE_MS = 2_000;
/** After Ctrl-C: so long a cancel is tried, and so often. */
const CANCEL_MS_MAX = 3_000;
const CANCEL_RETRY_MS = 200;
/** After these nobody knows whether the mesh has the task. */
const UNKNOWN_OUTCOMES: readonly string[] = [
  'NOT_ENOUGH_COPIES',
  'DISCONNECTED',
  'TIMEOUT',
  'CLIENT_TIMEOUT',
];

interface Watch {
  /** Aborted: the caller waits no longer, and nothing is sent again. */
  readonly signal?: AbortSignal;
  readonly reserved?: (id: string) => void;
}

export async function submitPatiently(
  cli: Cli,
  task: SubmitInput,
  { signal, reserved }: Watch = {},
): Promise<Result<Receipt, RpcFailure>> {
  let why = 'the daemon has not answered yet';
  let isUnknown = false;
  const notice = setTimeout(() => void cli.say(`still waiting for the receipt: ${why}`), NOTICE_MS);
  signal?.addEventListener('abort', () => clearTimeout(notice));
  try {
    const id = await idFor(cli, task, signal);
    if (!id.ok) return id;
    reserved?.(id.value);
    const receipt = await cli.mesh.call(
      'task.submit',
      { ...task, id: id.value },
      {
        ...(signal === undefined ? {} : { signal }),
        goOn: async (failure) => {
          why = failure.message;
          isUnknown ||= UNKNOWN_OUTCOMES.includes(failure.code);
          return (await shortage(cli, failure)) === undefined;
        },
      },
    );
    if (receipt.ok || !isUnknown) return receipt;
    return err(await withId(cli, receipt.error, id.value));
  } finally {
    clearTimeout(notice);
  }
}

async function idFor(
  cli: Cli,
  task: SubmitInput,
  signal: AbortSignal | undefined,
): Promise<Result<string, RpcFailure>> {
  if (task.id !== undefined) return ok(task.id);
  const options = signal === undefined ? {} : { signal };
  const reserved = await cli.mesh.call('ids.reserve', { n: 1 }, options);
  if (!reserved.ok) return reserved;
  const [id] = reserved.value.ids;
  return id === undefined
    ? err({ code: 'INTERNAL', message: 'The daemon reserved no id.', retryable: false })
    : ok(id);
}

/** Why no repetition can find enough stores now, where that is so. */
async function shortage(cli: Cli, failure: RpcFailure): Promise<string | undefined> {
  const required = failure.data?.required;
  if (failure.code !== 'NOT_ENOUGH_COPIES' || typeof required !== 'number') return undefined;
  const list = await cli.call('members.list', {});
  if (!list.ok) return undefined;
  const up = list.value.members.filter(({ status }) => status === 'alive' || status === 'suspect');
  if (up.length >= required) return undefined;
  return `${up.length} ${up.length === 1 ? 'member is' : 'members are'} up`;
}

/** A task that may run needs a name, or nobody could look after it. */
async function withId(cli: Cli, failure: RpcFailure, id: string): Promise<RpcFailure> {
  const few = await shortage(cli, failure);
  const why = few === undefined ? '' : ` Only ${few}.`;
  const help = `'covey get ${id}' shows what became of it.`;
  return {
    ...failure,
    message: `${failure.message}${why} Its id is ${id}.`,
    help: failure.help === undefined ? help : `${failure.help} ${help}`,
  };
}

/**
 * The same for somebody who may lose patience. The first Ctrl-C ends the waiting and cancels what may have been
 * submitted by then, for a few seconds at most; the second leaves it alone and prints its id.
 */
export async function submitUnlessInterrupted(
  cli: Cli,
  task: SubmitInput,
  interrupts: Interrupts,
): Promise<Result<Receipt, RpcFailure> | 'interrupted'> {
  const stop = new AbortController();
  let id = task.id;
  const submit = submitPatiently(cli, task, {
    signal: stop.signal,
    reserved: (reserved) => {
      id = reserved;
    },
  });
  const first = interrupts.reached(1).then(() => 'interrupted' as const);
  const end = await Promise.race([submit, first]);
  if (end !== 'interrupted') return end;
  stop.abort();
  if (id === undefined) return 'interrupted';
  await cli.say('canceling; Ctrl-C again leaves the task alone');
  const cancel = cancelBriefly(cli, id, interrupts.signal ?? 'SIGINT', submit);
  const left = await Promise.race([cancel, interrupts.reached(2).then(() => 'detached' as const)]);
  if (left === 'detached') await cli.io.stderr.line(id);
  else if (left === 'unknown') await cli.say(`no word that it was canceled; task ${id} may run`);
  return 'interrupted';
}

/** `over`: canceled, or it never was. A request may still be on its way: what is not found now may come. */
async function cancelBriefly(
  cli: Cli,
  id: string,
  reason: string,
  submit: Promise<Result<Receipt, RpcFailure>>,
): Promise<'over' | 'unknown'> {
  let wasRefused = false;
  void submit.then((end) => {
    wasRefused = !end.ok && !UNKNOWN_OUTCOMES.includes(end.error.code);
  });
  let timeIsUp = false;
  const patience = cli.mesh.sleep(CANCEL_MS_MAX).then((): 'unknown' => {
    timeIsUp = true;
    return 'unknown';
  });
  const tries = async (): Promise<'over' | 'unknown'> => {
    while (!timeIsUp) {
      const isConclusive = wasRefused;
      const answer = await cli.mesh.call('task.cancel', { id, reason }, { patienceMs: 0 });
      if (answer.ok || (isConclusive && answer.error.code === 'NOT_FOUND')) return 'over';
      await cli.mesh.sleep(CANCEL_RETRY_MS);
    }
    return 'unknown';
  };
  return Promise.race([tries(), patience]);
}

/** What a receipt promises less than usual is said, not left to be found later. */
export async function warnOfReceipt(cli: Cli, receipt: Receipt): Promise<void> {
  // Of a task that exists already this receipt does not tell where it lies.
  if (!receipt.degraded || receipt.existing) return;
  const copies = receipt.stored_on.length === 1 ? '1 store' : `${receipt.stored_on.length} stores`;
  await cli.say(
    `warning: task ${receipt.id} lies on ${copies} only (degraded): too few members are up for more copies`,
  );
}
