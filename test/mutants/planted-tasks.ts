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
        find: 'return written.ok && written.value && (await this.#isShared(id));',
        replace: 'return written.ok && written.value;',
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
        find: '    while (!(await this.#isShared(id))) {\n',
        replace:
          '    this.#deps.visibility.reveal(id);\n    while (!(await this.#isShared(id))) {\n',
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
