/** What a person gets to hear who writes something wrong: what it is, and what to write or look at instead. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { ERROR_CODES, type ErrorCode, helpOf } from '../../src/base/errors.ts';
import { ok } from '../../src/base/result.ts';
import { ControlHost } from '../support/control-host.ts';
import { covey } from './cli-harness.ts';

let host: ControlHost;
beforeAll(async () => {
  host = await ControlHost.start();
});
afterAll(async () => {
  await host.stop();
});

const LONG_PATH = `/tmp/${'a'.repeat(150)}`;
const NOBODY = '00T3ZNKMFJ1FES808AF1N04VWXJ9J93MFXJGKK6';

/** Every line of a refusal is a sentence, and the last one says what to do. */
const MISTAKES: readonly (readonly [line: string, says: string, exit: number])[] = [
  ['--bogus', "unknown option '--bogus'; options of a verb stand after it", 2],
  ['--peer', '--peer needs a value', 2],
  ['rum', "there is no verb 'rum'; did you mean 'run'?", 2],
  ['wait --timeout 5 abcdef', "argument '5' is invalid: '5' is not a duration", 2],
  ['access bogus', "'bogus' is invalid for argument 'action'. Allowed choices are list", 2],
  ['access list --name x', '--name goes with allow', 2],
  ['testnet status -n 3', '--peers and --slots go with up', 2],
  ['tasks --all -n 5', '--all and --number exclude each other', 2],
  ['tasks --queue=', 'must not be empty', 2],
  ['doctor --timeout 1ms', 'must be from 100ms to 30s', 2],
  ['invite --ttl 60d', 'must be from 1s to 30d', 2],
  ['leave --timeout 900d', 'must be from 0s to 366d', 2],
  ['submit x --run-at tomorrow', "Parameter 'run_at' must be a time of RFC 3339", 2],
  ['submit x --id foo', "--id: 'foo' is not a task id", 2],
  ['submit x --payload @/nowhere', '--payload: /nowhere cannot be read: ENOENT', 2],
  ['submit x --run-timeout 0s', 'must be from 1ms to 366d', 2],
  ['submit --cwd here -- ls', '--cwd must be an absolute path', 2],
  ['run --cwd here ls', '--cwd must be an absolute path', 125],
  [`wait ${NOBODY}`, `${NOBODY} is not known to any peer`, 1],
  ['members --socket=', '--socket needs a path', 2],
  [`members --socket ${LONG_PATH}`, 'the path has 155 bytes, and the system allows 107', 69],
  ['members --socket /nowhere', 'answers at /nowhere: there is no such socket', 69],
];

describe('a mistake', () => {
  it.each(MISTAKES)('%s', async (line, says, exit) => {
    const result = await covey(line.split(' '), {
      env: { COVEY_SOCKET: host.socket },
      noticeMs: 20,
      stdin: '',
    });
    expect(result.stderr).toContain(says);
    expect(result.stderr.split('\n')).toHaveLength(3);
    expect(result.exit).toBe(exit);
  });
});

it('an error code says what to do, but for those of a program that does not keep to the protocol', () => {
  const silent = (Object.keys(ERROR_CODES) as ErrorCode[]).filter((code) => !helpOf(code));
  expect(silent).toEqual([
    ...['PARSE_ERROR', 'INVALID_REQUEST', 'INVALID_PARAMS', 'INTERNAL'],
    ...['LINE_TOO_LONG', 'BATCH_TOO_LARGE'],
  ]);
});

it('an unknown id is waited for while not every peer answers', async () => {
  const find = vi.spyOn(host.backend.methods, 'task.find');
  find.mockResolvedValue(ok({ ids: [], complete: false }));
  const result = await covey(['wait', '--timeout', '200ms', NOBODY], {
    env: { COVEY_SOCKET: host.socket },
    noticeMs: 20,
  });
  find.mockRestore();
  expect(result.stderr).toContain('not every peer answered; waiting for it');
  expect(result.exit).toBe(75);
});
