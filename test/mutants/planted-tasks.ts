/** Planted bugs of the room `tasks` in what owners and runners do with attempts. */
import type { Mutant } from './mutant.ts';

export const TASK_MUTANTS: readonly Mutant[] = [
  {
    name: 'start_not_shared',
    breaks: 'an attempt is started before another store knows of it',
    modes: ['crashes', 'wild', 'storm'],
    edits: [
      {
        file: 'tasks/attempts.ts',
        find: "    return (await this.secure(id, written.value.start)) ? written.value : 'taken_back';",
        replace: '    return written.value;',
      },
    ],
  },
  {
    name: 'first_start_not_shared',
    breaks: 'the attempt in the write of the creation is started before another store knows of it',
    modes: ['crashes', 'wild', 'storm'],
    edits: [
      {
        file: 'tasks/owner.ts',
        find: 'const secured = await this.#deps.attempts.secure(entry.id, fused.start);',
        replace: 'const secured = true;',
      },
    ],
  },
  {
    name: 'owns_before_sync',
    breaks: 'a store owns what it holds without reading what others know (no takeover sync)',
    modes: ['crashes', 'wild', 'cuts'],
    edits: [
      {
        file: 'tasks/owner.ts',
        find: "      phase: isFresh ? 'owned' : 'syncing',\n      complete: isFresh,",
        replace: "      phase: 'owned',\n      complete: true,",
      },
    ],
  },
  {
    name: 'read_again_removed',
    breaks: 'an owner that was cut off or stood still goes on with what it knew',
    modes: ['cuts', 'wild', 'storm'],
    edits: [{ file: 'tasks/room.ts', find: '    this.owner.readAgain();\n', replace: '' }],
  },
  {
    name: 'stale_end_accepted',
    breaks: 'the end of an attempt that was given up is taken as if it were current',
    modes: ['cuts', 'wild', 'storm'],
    edits: [
      {
        file: 'tasks/attempts.ts',
        find: '      if (!isOpen(attempt) || task.final !== undefined) {\n        const orphan',
        replace: '      if (task.final !== undefined) {\n        const orphan',
      },
    ],
  },
  {
    name: 'double_not_marked',
    breaks: 'a restart that may run twice does not say so',
    modes: ['cuts', 'wild', 'storm'],
    edits: [
      {
        file: 'tasks/attempts.ts',
        find: "dbl: ends.some((end) => end?.out === 'lost' && end.proven !== true),",
        replace: "dbl: ends.some((end) => end?.out === 'lost' && end.proven === undefined),",
      },
    ],
  },
  {
    name: 'third_start_while_open',
    breaks: 'a retried task is started again while its last attempt still runs',
    modes: ['calm', 'crashes'],
    edits: [
      {
        file: 'tasks/decide.ts',
        find: "if (currentAttempt(task) !== undefined) return { step: 'running' };",
        replace:
          "if (currentAttempt(task) !== undefined && attempts.length < 2) return { step: 'running' };",
      },
    ],
  },
  {
    name: 'one_attempt_too_many',
    breaks: 'a task fails once more than it may',
    modes: ['calm', 'crashes'],
    edits: [
      {
        file: 'tasks/decide.ts',
        find: 'failureCount(task) >= header.attempts',
        replace: 'failureCount(task) > header.attempts',
      },
    ],
  },
  {
    name: 'intents_not_shared',
    breaks: 'a cancel is acknowledged when one store has it, and may be lost with that',
    modes: ['crashes', 'wild', 'cuts'],
    edits: [
      {
        file: 'tasks/attempts.ts',
        find: '    if (!written.value) return err(',
        replace: '    if (written.value) return ok(undefined);\n    return err(',
      },
    ],
  },
  {
    name: 'wait_not_renewed',
    breaks: 'a wait is registered once and forgotten with the store that had it',
    modes: ['crashes', 'cuts', 'wild'],
    edits: [
      {
        file: 'tasks/reader.ts',
        find: '    this.#askFor([...this.#waiting.keys()]);\n',
        replace: '',
      },
    ],
  },
  {
    name: 'final_told_before_w',
    breaks: 'a final is shown when one store has it',
    modes: ['crashes', 'cuts', 'calm'],
    edits: [
      {
        file: 'tasks/attempts.ts',
        find: '    const shared = written.ok && (await this.#isShared(id));\n    if (shared) visibility.reveal(id);\n    else void this.confirm(id);',
        replace:
          '    visibility.reveal(id);\n    const shared = written.ok && (await this.#isShared(id));\n    if (!shared) void this.confirm(id);',
      },
    ],
  },
  {
    name: 'concluded_final_told_before_w',
    breaks: 'a cancel or a loss that ends a task is shown when one store has it',
    modes: ['crashes', 'cuts', 'calm'],
    edits: [
      {
        file: 'tasks/attempts.ts',
        find: '    return this.#confirming.confirm(id);\n',
        replace:
          '    this.#deps.visibility.reveal(id);\n    return this.#confirming.confirm(id);\n',
      },
    ],
  },
  {
    name: 'key_holder_ignored',
    breaks: 'a dedupe key is given to everybody who asks',
    modes: ['calm', 'crashes'],
    edits: [
      {
        file: 'tasks/dedupe.ts',
        find: 'claim.id === id || !over.has(claim.id));',
        replace: 'claim.id === id && !over.has(claim.id));',
      },
    ],
  },
  {
    name: 'order_of_an_earlier_boot',
    breaks: 'a runner obeys an order that was given to its daemon before the restart',
    modes: ['storm'],
    world: {
      chosen: ['crash', 'crash_in_write', 'ambush'],
      faults: 14,
      storyMs: 30_000,
      tasks: 60,
      delayMsMax: 80,
      diskMsMax: 100,
      taskMsMax: 500,
    },
    edits: [
      {
        file: 'tasks/start-order.ts',
        find: '  start.runner_boot === self.bootCount;',
        replace: '  start.runner_boot <= self.bootCount;',
      },
    ],
  },
  {
    name: 'doubted_final_kept',
    breaks: 'an owner that comes back with a result it alone had changes what clients were told',
    modes: ['crashes'],
    world: {
      chosen: ['crash_in_write'],
      faults: 14,
      tasks: 80,
      storyMs: 60_000,
      taskMsMax: 50,
      peers: 3,
      delayMsMax: 20,
      diskMsMax: 20,
    },
    edits: [
      {
        file: 'tasks/task.ts',
        find: "end.out === 'lost' && digestOfEnd(end) !== final.digest);",
        replace: "end.out === 'lost' && end.n < 0 && digestOfEnd(end) !== final.digest);",
      },
    ],
  },
  {
    name: 'checked_before_the_await',
    breaks: 'whether a task may start is decided on a version read before its turn',
    modes: ['crashes'],
    world: { hasty: 80, diskMsMax: 20, tasks: 60 },
    edits: [
      {
        file: 'tasks/attempts.ts',
        find: "    const written = await replica.change<Placed | 'no'>(id, ({ current, fact }) => {\n      if (current?.kind !== 'task') return { value: 'no' };\n      const task = taskOf(current);",
        replace:
          "    const early = replica.get(id);\n    if (early !== undefined) await this.#isShared(id);\n    const written = await replica.change<Placed | 'no'>(id, ({ current, fact }) => {\n      if (current?.kind !== 'task' || early === undefined) return { value: 'no' };\n      const task = taskOf(early);",
      },
    ],
  },
  {
    name: 'takeover_asks_one',
    breaks: 'a takeover is content with the first answer',
    modes: ['crashes'],
    world: { tasks: 80, storyMs: 60_000, faults: 8, taskMsMax: 3_000, slots: 2, peers: 5 },
    edits: [
      {
        file: 'tasks/takeover.ts',
        find: 'if (missing.length === 0 || this.#closed) return answered;',
        replace: 'if (missing.length === 0 || answered.size > 0 || this.#closed) return answered;',
      },
    ],
  },
  {
    name: 'loss_on_the_small_side',
    breaks: 'the small side of a partition gives up what runs on the large one',
    modes: ['wild'],
    edits: [
      {
        file: 'tasks/attempts.ts',
        find: "task.header.on_partition === 'available' || isSettled;",
        replace: "task.header.on_partition === 'available' || isSettled || loss.weight > 0;",
      },
    ],
  },
  {
    name: 'no_guardian_grace',
    breaks: 'a command is started again before the guardian of its dead daemon has ended it',
    modes: ['crashes'],
    world: { delayMsMax: 1, diskMsMax: 1, taskMsMax: 3_000, slots: 4, tasks: 60 },
    edits: [
      {
        file: 'tasks/attempts.ts',
        find: 'export const GUARDIAN_GRACE_MS = 250;',
        replace: 'export const GUARDIAN_GRACE_MS = 0;',
      },
    ],
  },
  {
    name: 'running_cancel_forgotten',
    breaks: 'the cancel of what runs is not passed on by an owner that took over',
    modes: ['calm'],
    world: { endless: 6, storyMs: 30_000, faults: 8, taskMsMax: 500 },
    edits: [
      {
        file: 'tasks/watcher.ts',
        find: "    if (task.cancel !== undefined) return 'cancel';\n",
        replace:
          "    const isOurs = task.attempts.at(-1)?.author === this.#deps.replica.storeId;\n    if (task.cancel !== undefined && isOurs) return 'cancel';\n",
      },
    ],
  },
  {
    name: 'key_reads_nobody',
    breaks: 'a store takes a dedupe key for free that it has not heard of, without asking others',
    modes: ['crashes'],
    world: { tasks: 80, storyMs: 60_000, faults: 10, taskMsMax: 8_000, slots: 4, peers: 5 },
    edits: [
      { file: 'tasks/dedupe.ts', find: '    await this.#reader.read(recordId);\n', replace: '' },
    ],
  },
  {
    name: 'old_order_obeyed',
    breaks: 'a runner starts what it was ordered before a silence without having it said again',
    modes: ['cuts'],
    world: {
      tasks: 80,
      storyMs: 60_000,
      faults: 8,
      taskMsMax: 500,
      slots: 2,
      peers: 5,
      delayMsMax: 300,
      diskMsMax: 20,
    },
    edits: [
      {
        file: 'tasks/start-order.ts',
        find: '  if (since !== undefined) {\n',
        replace: '  if (since !== undefined && since < 0) {\n',
      },
    ],
  },
  {
    name: 'end_said_once',
    breaks: 'a runner says the end of a run once, to the owner that it knows, and forgets it',
    modes: ['crashes'],
    world: { tasks: 60, storyMs: 30_000, faults: 14, peers: 3 },
    edits: [
      {
        file: 'tasks/runner.ts',
        find: 'return this.#bring(run, end, [run.teller, ...holders]);',
        replace: 'return this.#bring(run, end, holders.slice(0, 1));',
      },
      {
        file: 'tasks/runner.ts',
        find: '      if (this.#stopped) return;\n      await sleep(this.#deps.clock, retryMs);',
        replace:
          '      if (this.#stopped) return;\n      if (retryMs > 0) break;\n      await sleep(this.#deps.clock, retryMs);',
      },
    ],
  },
  {
    name: 'end_without_reserve',
    breaks: 'the end of an attempt is refused like a new task when a disk has little room',
    modes: ['storm'],
    edits: [
      {
        file: 'tasks/attempts.ts',
        find: "return this.#decide(true, current, this.#finishIfDue(ended, fact, end.out === 'completed'));",
        replace:
          "return { ...this.#decide(true, current, this.#finishIfDue(ended, fact, end.out === 'completed')), purpose: 'create' };",
      },
    ],
  },
];
