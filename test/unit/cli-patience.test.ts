/** Submits that take their time: what is said meanwhile, what ends them early, and what Ctrl-C does about them. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { coveyError } from '../../src/base/errors.ts';
import { err, ok } from '../../src/base/result.ts';
import type { ControlBackend } from '../../src/control/backend.ts';
import { ControlHost } from '../support/control-host.ts';
import { CliProcess, covey, until } from './cli-harness.ts';

let host: ControlHost;
let original: ControlBackend;
/** Ids of every task.submit that arrived. */
let submits: string[];
const never = new Promise<never>(() => undefined);

beforeEach(async () => {
  host = await ControlHost.start({ script: () => undefined });
  original = { ...host.backend.methods };
  submits = [];
});
afterEach(async () => {
  await host.stop();
});

const answer = (methods: Partial<ControlBackend>) => Object.assign(host.backend.methods, methods);
/** task.submit answers this, or as the fake does. */
const answerSubmits = (how: ControlBackend['task.submit']) =>
  answer({
    'task.submit': (params, session) => {
      submits.push(params.id ?? '');
      return how(params, session);
    },
  });
const start = (...argv: string[]) => new CliProcess(argv, { socket: host.socket });

describe('Ctrl-C during the submit of covey run', () => {
  it('stops waiting for a daemon that is stopping, and cancels what may have been submitted', async () => {
    const canceled: string[] = [];
    answerSubmits(async () => err(coveyError('STOPPING')));
    answer({
      'task.cancel': (params, session) => {
        canceled.push(params.id);
        return original['task.cancel'](params, session);
      },
    });
    const process = start('run', 'true');
    await until(() => submits.length > 0);
    process.interrupt();
    expect(await process.result).toMatchObject({ exit: 130, stdout: '' });
    expect(new Set(canceled)).toEqual(new Set(submits));
    expect(host.backend.tasks.size).toBe(0);
  });

  it('cancels a task that was taken although its receipt has not come', async () => {
    answerSubmits(async (params, session) => {
      await original['task.submit'](params, session);
      return never;
    });
    const process = start('run', 'sleep', '9');
    await until(() => host.backend.tasks.size === 1);
    process.interrupt();
    expect(await process.result).toMatchObject({ exit: 130 });
    expect([...host.backend.tasks.values()]).toMatchObject([
      { state: 'canceled', cancelRequested: 'SIGINT' },
    ]);
  });

  it('ends at the second, and prints the id that was reserved', async () => {
    answerSubmits(() => never);
    answer({ 'task.cancel': () => never });
    const process = start('run', 'sleep', '9');
    await until(() => submits.length > 0);
    process.interrupt();
    await process.printed('stderr', 'again');
    process.interrupt();
    const { exit, stderr } = await process.result;
    expect(exit).toBe(130);
    expect(stderr.trimEnd().endsWith(submits[0] ?? 'nothing was submitted')).toBe(true);
  });

  it('ends at the first while no id is reserved yet', async () => {
    const reserving = vi.fn(() => never);
    answer({ 'ids.reserve': reserving });
    const process = start('run', 'true');
    await until(() => reserving.mock.calls.length > 0);
    process.interrupt();
    expect(await process.result).toMatchObject({ exit: 130, stdout: '' });
  });
});

describe('a submit that finds too few stores', () => {
  const tooFew = coveyError('NOT_ENOUGH_COPIES', { stored_on: 1, required: 3 });

  it('is not repeated where there are fewer members than copies; the id is told', async () => {
    answerSubmits(async (params, session) => {
      await original['task.submit'](params, session);
      return err(tooFew);
    });
    const result = await covey(['submit', '--durability', 'all', '--', 'true'], {
      socket: host.socket,
    });
    expect(result.exit).toBe(75);
    expect(submits).toHaveLength(1);
    expect(result.stderr).toContain(submits[0]);
    expect(result.stderr).toContain('1 of 3 stores');
    expect(result.stderr).toContain('1 member is up');
  });

  it('says after a while that it waits, and why', async () => {
    answer({
      'members.list': async (params, session) => {
        const list = await original['members.list'](params, session);
        if (!list.ok) return list;
        const [member] = list.value.members;
        const members = member === undefined ? [] : [member, member, member];
        return ok({ ...list.value, members });
      },
    });
    answerSubmits(async () => err(tooFew));
    const process = start('submit', '--durability', 'all', '--', 'true');
    await process.printed('stderr', 'waiting for the receipt');
    expect(process.stderr.text).toContain('1 of 3 stores');
    answerSubmits(original['task.submit']);
    expect(await process.result).toMatchObject({ exit: 0 });
  });

  it('does not warn of copies when the task of the key exists already', async () => {
    const degraded = { home: [], stored_on: [], stand_ins: [], required: 1, degraded: true };
    answerSubmits(async ({ id = '' }) => ok({ ...degraded, id, existing: true }));
    const result = await covey(['submit', 'mail', '--dedupe-key', 'k'], { socket: host.socket });
    expect(result).toMatchObject({ exit: 0, stderr: '' });
  });
});
