/** `members -w`, `monitor`, `gossip`, `ring` and `doctor`: what is printed for people, for programs, and when it ends. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Check } from '../../src/api/methods.ts';
import { coveyError } from '../../src/base/errors.ts';
import type { LogTap } from '../../src/base/log-tap.ts';
import { err, ok } from '../../src/base/result.ts';
import type { ControlBackend } from '../../src/control/backend.ts';
import { EventHub } from '../../src/control/events.ts';
import { ControlHost } from '../support/control-host.ts';
import { CliProcess, covey } from './cli-harness.ts';

let host: ControlHost;
beforeEach(async () => {
  host = await ControlHost.start();
});
afterEach(async () => {
  await host.stop();
});

const run = (...argv: string[]) => covey(argv, { socket: host.socket });
const start = (...argv: string[]) => new CliProcess(argv, { socket: host.socket });
const answer = (methods: Partial<ControlBackend>) => Object.assign(host.backend.methods, methods);
const linesOf = (text: string) =>
  text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Record<string, unknown>);

const died = () =>
  host.backend.events.publish({
    topic: 'member',
    type: 'dead',
    id: 'peer-d',
    data: {
      ...{ name: 'd', incarnation: 3, was: 'suspect' },
      evidence: 'connection ended without goodbye, redial refused: seen by b and c',
      cause: { kind: 'crash', seen_by: [{ peer_id: 'peer-b', name: 'b' }], via: 'own' },
    },
  });

describe('covey members -w', () => {
  it('prints the members, then a line for each change with what was seen', async () => {
    const process = start('members', '-w');
    await process.printed('stdout', 'fake*');
    died();
    await process.printed('stdout', 'seen by b and c\n');
    process.interrupt();
    const { exit, stdout } = await process.result;
    expect(exit).toBe(0);
    expect(stdout.split('\n').at(-2)).toMatch(
      /^\S+Z {2}d {2}suspect -> dead {2}connection ended without goodbye, redial refused: seen by b and c$/,
    );
  });

  it('prints one object a line with --json: the members first, then each change with its member', async () => {
    host.backend.others = [{ peer_id: 'peer-d', name: 'd' }];
    const process = start('members', '-w', '--json');
    await process.printed('stdout', 'peer-d');
    died();
    await process.printed('stdout', '"dead"');
    await process.printed('stdout', 'seen_by');
    process.interrupt();
    const lines = linesOf((await process.result).stdout);
    expect(lines.map(({ type }) => type)).toEqual(['present', 'present', 'dead']);
    expect(lines[2]).toMatchObject({
      ...{ peer_id: 'peer-d', name: 'd', was: 'suspect', cause: { kind: 'crash' } },
      member: { peer_id: 'peer-d', status: 'dead' },
    });
  });

  it('redraws on a terminal, with the last changes under the list', async () => {
    const process = new CliProcess(['members', '-w'], { socket: host.socket, terminal: true });
    await process.printed('stdout', 'fake*');
    died();
    await process.printed('stdout', 'seen by b and c');
    process.interrupt();
    const { stdout } = await process.result;
    const [, ...screens] = stdout.split('\u001b[H\u001b[J');
    expect(screens.length).toBeGreaterThanOrEqual(2);
    expect(screens.at(-1)).toMatch(/fake\*[\s\S]*suspect -> dead/);
  });

  it('prints ids alone with -q', async () => {
    const process = start('members', '-w', '-q');
    await process.printed('stdout', '\n');
    died();
    await process.printed('stdout', 'peer-d\n');
    process.interrupt();
    expect((await process.result).exit).toBe(0);
  });

  it('waits for a daemon that is away, and goes on where it was', async () => {
    const process = start('members', '-w');
    await process.printed('stdout', 'fake*');
    await host.crash();
    died();
    await host.restart();
    await process.printed('stdout', 'suspect -> dead');
    process.interrupt();
    expect((await process.result).exit).toBe(0);
  });

  it('says that changes were missed when another boot answers, and lists the members anew', async () => {
    const process = start('members', '-w', '--json');
    await process.printed('stdout', 'fake');
    const anew = new EventHub('boot-2', host.backend.clock);
    await host.crash();
    answer({ 'events.subscribe': async (params, session) => anew.subscribe(session, params) });
    await host.restart();
    await process.printed('stdout', '"gap"');
    await process.printed('stdout', '"present"');
    process.interrupt();
    const types = linesOf((await process.result).stdout).map(({ type }) => type);
    expect(types).toEqual(['present', 'gap', 'present']);
  });

  it('fails at once where no daemon is', async () => {
    expect((await covey(['members', '-w'])).exit).toBe(69);
  });
});

describe('covey monitor', () => {
  const log: LogTap['log'] = (...args) => host.backend.observe.tap.log(...args);

  it('begins with the last records and goes on with log and events', async () => {
    log('info', 'ready', { peer: 'a' });
    const process = start('monitor');
    await process.printed('stdout', 'ready');
    log('warn', 'it is late', { why: 'no reason at all' });
    await process.printed('stdout', 'reason at all');
    died();
    await process.printed('stdout', 'EVENT');
    process.interrupt();
    const { exit, stdout } = await process.result;
    expect(exit).toBe(0);
    expect(stdout.split('\n').slice(0, -1)).toEqual([
      expect.stringMatching(/^\S+Z INFO {2}ready peer=a$/),
      expect.stringMatching(/^\S+Z WARN {2}it is late why="no reason at all"$/),
      expect.stringMatching(/^\S+Z EVENT member dead \(connection .* b and c\) id=peer-d name=d /),
    ]);
  });

  it('shows what is at least of the level, and no events then', async () => {
    const process = start('monitor', '--log-level', 'warn', '--json', '-n', '0');
    // When it has begun to listen nobody tells: said again until it is heard.
    while (!process.stdout.text.includes('heard')) {
      log('info', 'too small');
      log('error', 'heard', { count: 1 });
      died();
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    process.interrupt();
    const lines = linesOf((await process.result).stdout);
    expect(new Set(lines.map(({ kind, level, message }) => `${kind} ${level} ${message}`))).toEqual(
      new Set(['log error heard']),
    );
    expect(lines[0]).toMatchObject({ fields: { count: 1 }, seq: expect.any(Number) });
  });

  it('spells out what could drive a terminal', async () => {
    log('warn', 'a \u001b[31mname', { peer: '\u0007' });
    const process = start('monitor', '--no-events');
    await process.printed('stdout', 'name');
    process.interrupt();
    expect((await process.result).stdout).toContain('a \\x1b[31mname peer=\\x07');
  });

  it('refuses a level that there is not', async () => {
    expect((await run('monitor', '--log-level', 'loud')).exit).toBe(2);
  });
});

describe('covey gossip', () => {
  it('shows health, rounds, traffic, and a row for each member that it has to do with', async () => {
    const { stdout, exit } = await run('gossip');
    expect(exit).toBe(0);
    expect(stdout).toMatch(
      /health: +good; ticks 1 ms late, 40 ms at worst; stood still 1 times, 3\.0s/,
    );
    expect(stdout).toMatch(/anti-entropy: +10 rounds begun \(1 different\), 9 of others/);
    expect(stdout).toMatch(/^control +2\.0 +101 +3\.0 +200$/m);
    expect(stdout).toMatch(/^other +outbound +127\.0\.0\.2:26839 +fine +0\.2 +120ms +yes +2\.0 /m);
    expect(JSON.parse((await run('gossip', '--json')).stdout)).toMatchObject({
      health: { step: 0 },
      links: [{ name: 'other', up: true }],
    });
  });
});

describe('covey ring', () => {
  it('shows shares, or the preference list of a key with its reasons', async () => {
    expect((await run('ring')).stdout).toMatch(
      /^fake +alive +100\.00% +1 +2048 +127\.0\.0\.1 +- /m,
    );
    expect((await run('ring', 'KEY')).stdout).toMatch(/^1 +fake +the first +\S+$/m);
    expect((await run('ring', '-q')).stdout).toBe((await run('ring', 'x', '-q')).stdout);
    expect(JSON.parse((await run('ring', '--json')).stdout)).toMatchObject({ copies: 3 });
  });

  it('marks what a task id names, and those that are not in the list any more', async () => {
    const named = { peer_id: 'p', store_id: 's', name: 'n', in_id: true, reason: 'the first' };
    const gone = { ...named, name: 'gone', reason: 'named by the id; it is dead' };
    answer({ 'ring.owner': async () => ok({ preference: [named], also_named: [gone] }) });
    const { stdout } = await run('ring', 'KEY');
    expect(stdout).toMatch(
      /^PLACE +NAME +IN THE ID +BECAUSE +STORE ID\n1 +n +yes +the first +s\n- +gone +yes /,
    );
  });
});

describe('covey doctor', () => {
  const checks: Check[] = [
    { check: 'disk', status: 'ok', summary: 'every store has room' },
    { check: 'clocks', status: 'warn', summary: 'b is 2s ahead', todo: 'Run NTP.' },
  ];
  const say = (...more: Check[]) =>
    answer({
      'system.doctor': async () => ok({ checks: [...checks, ...more], asked: [], silent: [] }),
    });

  it('ends with 0 for warnings and with 1 for failures, and says what to do', async () => {
    say();
    const warned = await run('doctor');
    expect(warned).toEqual({
      ...{ exit: 0, stderr: '', stdoutBytes: expect.anything() },
      stdout:
        'OK    disk    every store has room\nWARN  clocks  b is 2s ahead\n              Run NTP.\n',
    });
    say({ check: 'links', status: 'fail', summary: 'no link', todo: 'Look.' });
    const failed = await run('doctor', '-q');
    expect(failed.exit).toBe(1);
    expect(failed.stdout).not.toContain('disk');
    expect(failed.stdout).toContain('FAIL  links   no link\n');
    const json = await run('doctor', '--json');
    expect(json.exit).toBe(1);
    expect(JSON.parse(json.stdout)).toMatchObject({ checks: [{}, {}, { status: 'fail' }] });
  });

  it('passes the time on, and the refusal of a daemon', async () => {
    let asked = 0;
    answer({
      'system.doctor': async ({ timeout_ms: timeoutMs }) => {
        asked = timeoutMs;
        return err(coveyError('STOPPING'));
      },
    });
    expect((await run('doctor', '--timeout', '2s')).exit).toBe(75);
    expect(asked).toBe(2_000);
    expect((await run('doctor', '--timeout', '2h')).exit).toBe(2);
  });
});
