/**
 * Planted bugs that no checker has found yet: each is a hole, or a second line of defence that another one hides. They
 * are hunted with `--open` and belong into the other files as soon as they are caught.
 */
import type { Mutant } from './mutant.ts';

export const OPEN_MUTANTS: readonly Mutant[] = [
  {
    name: 'seq_told_before_durable',
    breaks: 'others are told of dots that a crash may take back',
    modes: ['crashes', 'storm', 'wild'],
    edits: [
      {
        file: 'records/store-identity.ts',
        find: '    return this.#durableSeq;\n',
        replace: '    return this.#seq;\n',
      },
    ],
  },
  {
    name: 'ask_answers_too_early',
    breaks: 'the answer to a takeover misses a change that is being written',
    modes: ['crashes', 'wild', 'cuts', 'storm'],
    edits: [
      { file: 'records/sharing.ts', find: '      await replica.settled(id);\n', replace: '' },
    ],
  },
  {
    name: 'order_of_an_earlier_boot',
    breaks: 'a runner obeys an order that was given to its daemon before the restart',
    modes: ['crashes', 'wild', 'storm'],
    edits: [
      {
        file: 'tasks/start-order.ts',
        find: '  start.runner_boot === self.bootCount;',
        replace: '  start.runner_boot <= self.bootCount;',
      },
    ],
  },
  {
    name: 'home_store_decides',
    breaks: 'a mere home store that takes a failure decides that the task has failed',
    modes: ['crashes', 'wild', 'storm'],
    edits: [
      {
        file: 'tasks/attempts.ts',
        find: "this.#finishIfDue(ended, fact, end.out === 'completed')",
        replace: "this.#finishIfDue(ended, fact, end.out !== 'lost')",
      },
    ],
  },
  {
    name: 'void_run_forgotten',
    breaks: 'a runner that was asked about an unknown run starts it when its order comes late',
    modes: ['wild', 'cuts', 'storm', 'crashes'],
    edits: [
      {
        file: 'tasks/runner.ts',
        find: "    this.#remember(runId, 'void');\n    return 'unknown';",
        replace: "    return 'unknown';",
      },
    ],
  },
  {
    name: 'doubted_final_kept',
    breaks: 'an owner that comes back with a result it alone had changes what clients were told',
    modes: ['crashes'],
    edits: [
      {
        file: 'tasks/task.ts',
        find: "end.out === 'lost' && digestOfEnd(end) !== final.digest);",
        replace: "end.out === 'lost' && end.n < 0 && digestOfEnd(end) !== final.digest);",
      },
    ],
  },
  {
    name: 'one_observer_convicts',
    breaks: 'one observer convicts although others could be asked',
    modes: ['storm', 'wild'],
    edits: [
      {
        file: 'membership/conviction.ts',
        find: 'if (others.accusing === 0) return',
        replace: 'if (others.accusing < 0) return',
      },
    ],
  },
  {
    name: 'objection_ignored',
    breaks: 'a member is convicted although another observer hears it',
    modes: ['storm', 'wild'],
    edits: [
      {
        file: 'membership/conviction.ts',
        find: 'if (others.objecting > 0) return',
        replace: 'if (others.objecting > others.reachable) return',
      },
    ],
  },
  {
    name: 'checked_before_the_await',
    breaks: 'whether a task may start is decided on a version read before its turn',
    modes: ['crashes', 'calm', 'wild'],
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
    name: 'dots_reused_after_rollback',
    breaks: 'a boot counts its dots from where it finds the disk: a restored one uses them twice',
    modes: ['storm'],
    edits: [
      {
        file: 'records/store-identity.ts',
        find: 'found : found + 1 + random.uint32();',
        replace: 'found : found + random.uint32() * 0;',
      },
    ],
  },
  {
    name: 'takeover_asks_one',
    breaks: 'a takeover is content with the first answer',
    modes: ['crashes', 'cuts', 'wild'],
    edits: [
      {
        file: 'tasks/takeover.ts',
        find: 'if (missing.length === 0) return answered;',
        replace: 'if (missing.length === 0 || answered.size > 0) return answered;',
      },
    ],
  },
  {
    name: 'loss_on_the_small_side',
    breaks: 'the small side of a partition gives up what runs on the large one',
    modes: ['wild', 'storm'],
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
    edits: [
      {
        file: 'tasks/attempts.ts',
        find: 'export const GUARDIAN_GRACE_MS = 1_000;',
        replace: 'export const GUARDIAN_GRACE_MS = 0;',
      },
    ],
  },
  {
    name: 'repeated_creation_is_first',
    breaks: 'the owner starts a repeated creation at once, as if nobody could know more of it',
    modes: ['wild', 'crashes', 'storm'],
    edits: [
      {
        file: 'records/sharing.ts',
        find: 'const mayAdd = fresh && isFirst === true && current === undefined;',
        replace: 'const mayAdd = fresh && current === undefined;',
      },
    ],
  },
  {
    name: 'end_said_once',
    breaks: 'a runner that finds no home store for an end forgets it',
    modes: ['cuts', 'wild', 'storm'],
    edits: [
      {
        file: 'tasks/runner.ts',
        find: '      if (this.#stopped) return;\n      await sleep(this.#deps.clock, retryMs);',
        replace:
          '      if (this.#stopped) return;\n      if (retryMs >= DELIVER_RETRY_MS_MAX) break;\n      await sleep(this.#deps.clock, retryMs);',
      },
    ],
  },
  {
    name: 'ended_taken_for_never_started',
    breaks: 'an owner that asks about an attempt whose end lies elsewhere starts it anew',
    modes: ['cuts', 'wild', 'storm'],
    edits: [
      {
        file: 'tasks/watcher.ts',
        find: "} else if (answer.value.state === 'ended') {",
        replace: "} else if (answer.value.state === 'never') {",
      },
    ],
  },
  {
    name: 'running_cancel_forgotten',
    breaks: 'the cancel of what runs is not passed on by an owner that took over',
    modes: ['crashes', 'calm', 'wild'],
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
    modes: ['crashes', 'calm'],
    edits: [
      { file: 'tasks/dedupe.ts', find: '    await this.#reader.read(recordId);\n', replace: '' },
    ],
  },
  {
    name: 'paused_observer_accuses',
    breaks: 'a peer that stood still takes its own silence for that of all others',
    modes: ['storm'],
    edits: [
      {
        file: 'membership/conviction.ts',
        find: "  if (standing.pausedLately) return { opinion: 'fine' };\n",
        replace: '',
      },
      {
        file: 'membership/detector.ts',
        find: '      watch.expectSinceMs = this.#nowMs;\n      watch.window.reset();\n      watch.opinions.clear();',
        replace: '      watch.opinions.clear();',
      },
    ],
  },
  {
    name: 'boot_not_counted',
    breaks: 'a restarted daemon says that it is still the boot before',
    modes: ['crashes', 'wild'],
    edits: [
      {
        file: 'records/store-identity.ts',
        find: 'bootCount: (known?.bootCount ?? 0) + 1,',
        replace: 'bootCount: Math.max(known?.bootCount ?? 0, 1),',
      },
    ],
  },
  {
    name: 'old_order_obeyed',
    breaks: 'a runner starts what it was ordered before a silence without having it said again',
    modes: ['cuts', 'wild', 'storm'],
    edits: [
      {
        file: 'tasks/start-order.ts',
        find: '  if (since !== undefined) {\n',
        replace: '  if (since !== undefined && since < 0) {\n',
      },
    ],
  },
];
