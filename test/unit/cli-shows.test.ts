/** What `tasks`, `get`, `explain` and `members` show of what the daemon tells. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { MemberView } from '../../src/api/methods.ts';
import { ok } from '../../src/base/result.ts';
import type { ControlBackend } from '../../src/control/backend.ts';
import { ControlHost } from '../support/control-host.ts';
import { covey } from './cli-harness.ts';

let host: ControlHost;
let original: ControlBackend;

beforeEach(async () => {
  host = await ControlHost.start();
  original = { ...host.backend.methods };
});
afterEach(async () => {
  await host.stop();
});

const answer = (methods: Partial<ControlBackend>) => Object.assign(host.backend.methods, methods);
const run = (...argv: string[]) => covey(argv, { socket: host.socket });

const linesOf = (text: string) =>
  text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Record<string, unknown>);

describe('covey tasks', () => {
  it('reads on from a page without tasks', async () => {
    await run('run', 'true');
    const [id = ''] = host.backend.tasks.keys();
    answer({
      'task.list': (params, session) =>
        params.cursor === undefined
          ? Promise.resolve(ok({ tasks: [], cursor: id, complete: true, unreachable: [] }))
          : original['task.list']({ ...params, cursor: undefined }, session),
    });
    expect((await run('tasks', '--state', 'completed')).stdout).toMatch(/^ID .*\n\S+ +completed/);
    expect((await run('tasks', '-q')).stdout).toBe(`${id}\n`);
  });

  it('ends its JSON with a line of its own when somebody did not answer', async () => {
    await run('run', 'true');
    const complete = linesOf((await run('tasks', '--json')).stdout);
    expect(complete).toMatchObject([{ state: 'completed' }]);
    answer({
      'task.list': async (params, session) => {
        const list = await original['task.list'](params, session);
        return list.ok ? ok({ ...list.value, complete: false, unreachable: ['b', 'c'] }) : list;
      },
    });
    const partial = await run('tasks', '--json');
    expect(linesOf(partial.stdout).slice(1)).toEqual([
      { complete: false, unreachable: ['b', 'c'] },
    ]);
    expect(partial).toMatchObject({ exit: 0, stderr: expect.stringContaining('b, c') });
    expect((await run('tasks', '--help')).stdout).toContain('"complete":false');
  });
});

describe('covey get', () => {
  it('shows results that came too late', async () => {
    await run('run', 'true');
    const [task] = host.backend.tasks.values();
    expect((await run('get', task?.id ?? '')).stdout).not.toContain('ORPHAN');
    const digest = 'ab'.repeat(16);
    task?.orphans.push({ attempt: 2, run_id: 'r-2', outcome: 'failed', digest });
    const { stdout } = await run('get', task?.id ?? '');
    expect(stdout).toMatch(/ORPHAN RESULT.*\n2 +failed +r-2 +abab/);
  });
});

describe('covey members', () => {
  it('shows a member that left without the load it had, and not as stopping', async () => {
    answer({
      'members.list': async (params, session) => {
        const list = await original['members.list'](params, session);
        if (!list.ok) return list;
        const members = list.value.members.flatMap((member): MemberView[] => [
          { ...member, stopping: true, shortage: 'full' },
          { ...member, name: 'gone', self: false, stopping: true, status: 'left' },
        ]);
        return ok({ ...list.value, members });
      },
    });
    const { stdout } = await run('members');
    expect(stdout).toMatch(/^fake\* +alive \(stopping, disk full\) .* 0\/4 +0 /m);
    expect(stdout).toMatch(/^gone +left +0\.0 .* - +- +- +\S+$/m);
  });
});

describe('covey xargs', () => {
  it('says in its help what Ctrl-C ends', async () => {
    expect((await run('xargs', '--help')).stdout).toContain('Ctrl-C cancels what waits and runs');
  });
});
