/** The error table and how an error is made from it. */
import { describe, expect, it } from 'vitest';
import {
  coveyError,
  ERROR_CODES,
  helpOf,
  InvariantError,
  invariant,
  isErrorCode,
  isRetryable,
  messageOf,
} from '../../src/base/errors.ts';

describe('errors', () => {
  it('are a code, a sentence and its details', () => {
    expect(coveyError('TASK_NOT_FINAL', { id: 'X', state: 'active' })).toEqual({
      code: 'TASK_NOT_FINAL',
      message: 'Task X is active; only a final task can be retried.',
      details: { id: 'X', state: 'active' },
    });
    expect(coveyError('NOT_FOUND').message).toBe(' is not known to any peer that answered.');
    expect(isRetryable('BUSY')).toBe(true);
    expect(helpOf('BUSY')).toMatch(/retry_after_ms/);
    expect(helpOf('INTERNAL')).toBeUndefined();
  });

  it('have numbers of their own, each in the range that JSON-RPC leaves to us', () => {
    const numbers = Object.values(ERROR_CODES).map((entry) => entry.rpc);
    expect(new Set(numbers).size).toBe(numbers.length);
    for (const rpc of numbers) expect(rpc <= -32_000 && rpc >= -32_768).toBe(true);
  });

  it('are recognised by name, but not by what every object has', () => {
    expect(isErrorCode('BUSY')).toBe(true);
    for (const text of ['busy', '', 'constructor', '__proto__']) {
      expect(isErrorCode(text)).toBe(false);
    }
  });

  it('are thrown only for our own mistakes', () => {
    expect(() => invariant(false, 'this cannot be')).toThrow(new InvariantError('this cannot be'));
    expect(() => invariant(true, 'fine')).not.toThrow();
    expect([messageOf(new Error('why')), messageOf('text'), messageOf(undefined)]).toEqual([
      'why',
      'text',
      'undefined',
    ]);
  });
});
