/** The small decisions of the CLI: exit codes, tables, texts for a terminal, where a followed stream stands. */
import { describe, expect, it } from 'vitest';
import { splitAtVerb } from '../../src/cli/app.ts';
import { printable, shellWords } from '../../src/cli/bytes.ts';
import { exitOfFailure, exitOfTask, exitOfXargs, type Outcome } from '../../src/cli/exit-codes.ts';
import { environmentOf } from '../../src/cli/flags.ts';
import { StreamCursor } from '../../src/cli/follow.ts';
import { fields, table } from '../../src/cli/output.ts';

describe('exit codes', () => {
  it("of 'run' are the command's own, where the command itself ended", () => {
    const cases: readonly (readonly [Outcome, number])[] = [
      [{ state: 'completed', exit_code: 0 }, 0],
      [{ state: 'failed', reason: 'exit', exit_code: 42 }, 42],
      [{ state: 'failed', reason: 'exit', exit_code: 127 }, 127],
      [{ state: 'failed', reason: 'exit', signal: 'SIGTERM' }, 143],
      [{ state: 'failed', reason: 'exit', signal: 'SIGODD' }, 125],
      [{ state: 'failed', reason: 'timeout', signal: 'SIGKILL' }, 124],
      [{ state: 'expired' }, 124],
      [{ state: 'failed', reason: 'error', exit_code: 0 }, 125],
      [{ state: 'failed', reason: 'rejected' }, 125],
      [{ state: 'canceled', signal: 'SIGTERM' }, 125],
    ];
    for (const [task, exit] of cases) expect(exitOfTask(task), JSON.stringify(task)).toBe(exit);
  });

  it('of xargs count failures up to a hundred', () => {
    expect([0, 1, 100, 101, 9_999].map(exitOfXargs)).toEqual([0, 1, 100, 101, 101]);
  });

  it('of failures say whether to try again', () => {
    const of = (code: string, retryable: boolean) =>
      exitOfFailure({ code, retryable, message: '' });
    expect(of('BUSY', true)).toBe(75);
    expect(of('DISCONNECTED', true)).toBe(69);
    expect(of('NOT_FOUND', true)).toBe(1);
    expect(of('INVALID_PARAMS', false)).toBe(2);
    expect(of('NOT_ALLOWED', false)).toBe(77);
    expect(of('TOKEN_USED', false)).toBe(1);
  });
});

describe('texts', () => {
  it('stand in columns, with a dash for nothing and no control character', () => {
    const text = table(
      ['A', 'LONG'],
      [
        ['x\u001b[2J', undefined],
        ['yy', 7],
      ],
      false,
    );
    expect(text).toBe('A         LONG\nx\\x1b[2J  -\nyy        7\n');
    expect(
      fields(
        [
          ['id', 'x'],
          ['empty', ''],
          ['longer', 1],
        ],
        false,
      ),
    ).toBe('id:     x\nlonger: 1\n');
    expect(printable('a\tb\nc\u0085')).toBe('a\\tb\\nc\\x85');
    expect(shellWords(['a b', "it's", 'x=1', ''])).toBe(`'a b' 'it'\\''s' x=1 ''`);
  });

  it('of --env take the value given, or the own one', () => {
    expect(environmentOf(['A=', 'B=x=y', 'C'], { C: 'own' })).toEqual({
      A: '',
      B: 'x=y',
      C: 'own',
    });
    expect(environmentOf(['D'], {})).toContain('not set');
    expect(environmentOf(['1=2'], {})).toContain('not a variable name');
  });

  it('before the verb are flags only', () => {
    expect(splitAtVerb(['--socket', 'run', '--peer=x', 'get', '--json'])).toEqual({
      leading: ['--socket', 'run', '--peer=x'],
      verb: 'get',
      rest: ['--json'],
    });
    expect(splitAtVerb([])).toMatchObject({ verb: undefined });
  });
});

describe('StreamCursor', () => {
  const take = (cursor: StreamCursor, offset: number, text: string) => {
    const { fresh, restarted } = cursor.take(offset, Buffer.from(text));
    return `${restarted ? '!' : ''}${fresh.toString()}`;
  };

  it('shows every byte once over repeated subscriptions, and starts anew with a new attempt', () => {
    const cursor = new StreamCursor();
    expect(take(cursor, 0, 'abc')).toBe('abc');
    expect(take(cursor, 3, 'de')).toBe('de');
    cursor.resubscribed();
    expect(take(cursor, 0, 'abcdef')).toBe('f');
    expect(take(cursor, 6, 'g')).toBe('g');
    expect(take(cursor, 0, 'new')).toBe('!new');
    expect(cursor.shown).toBe(3);
    // Bytes that were never told (a reader too slow) are a gap, not a repetition.
    expect(take(cursor, 10, 'far')).toBe('far');
  });
});
