/**
 * One JSON-RPC call on a Unix socket, with a connection of its own: the test network asks daemons that are
 * killed, frozen and started again under it, where a kept connection would only be one more thing to mend.
 * The supervisor's own control socket speaks the same lines with methods of its own (hub.ts).
 */
import { connect } from 'node:net';
import { z } from 'zod';
import type { MethodInput, MethodName, MethodResult } from '../api/methods.ts';
import { messageOf } from '../base/errors.ts';
import { err, ok, type Result } from '../base/result.ts';
import { openConnection } from '../client/connection.ts';

/** Longer than any answer a test network gives: a task.list of 1,000 with long command lines. */
const ANSWER_BYTES_MAX = 64 * 1_024 * 1_024;
/** A daemon answers within milliseconds; the rest is for a host that starts five of them on one core. */
const CALL_TIMEOUT_MS = 20_000;

export interface CallFailure {
  readonly code: string;
  readonly message: string;
}

const answerSchema = z.object({
  id: z.unknown(),
  result: z.unknown().optional(),
  error: z
    .object({
      message: z.string(),
      data: z.looseObject({ code: z.string().optional() }).optional(),
    })
    .optional(),
});

function readAnswer(line: string): Result<unknown, CallFailure> | undefined {
  const answer = answerSchema.parse(JSON.parse(line));
  if (answer.id !== 1) return undefined; // a notification
  if (!answer.error) return ok(answer.result);
  const { message, data } = answer.error;
  return err({ code: data?.code ?? 'INTERNAL', message });
}

/** `UNREACHABLE`: nobody listens, or the connection ended; `TIMEOUT`: no answer in time. */
export function callSocket(
  socketPath: string,
  method: string,
  params: unknown,
  timeoutMs: number = CALL_TIMEOUT_MS,
): Promise<Result<unknown, CallFailure>> {
  return new Promise((resolve) => {
    const socket = connect({ path: socketPath });
    const settle = (result: Result<unknown, CallFailure>) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(result);
    };
    const fail = (code: string, message: string) => settle(err({ code, message }));
    const timer = setTimeout(
      () => fail('TIMEOUT', `${method}: no answer from ${socketPath} within ${timeoutMs} ms`),
      timeoutMs,
    );
    let text = '';
    socket.setEncoding('utf8');
    socket.on('connect', () => {
      socket.write(`${JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })}\n`);
    });
    socket.on('data', (chunk: string) => {
      text += chunk;
      if (text.length > ANSWER_BYTES_MAX) fail('INTERNAL', `${method}: the answer is too long`);
      for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
        const line = text.slice(0, end);
        text = text.slice(end + 1);
        try {
          const answer = readAnswer(line);
          if (answer) settle(answer);
        } catch (thrown) {
          fail('INTERNAL', `${method}: not an answer: ${messageOf(thrown)}`);
        }
      }
    });
    socket.on('error', (error) => fail('UNREACHABLE', `${socketPath}: ${error.message}`));
    socket.on('close', () => fail('UNREACHABLE', `${socketPath} closed the connection`));
  });
}

/** A method of a daemon, through the client that everybody else uses. */
export async function callDaemon<M extends MethodName>(
  socketPath: string,
  method: M,
  params: MethodInput<M>,
  timeoutMs: number = CALL_TIMEOUT_MS,
): Promise<Result<MethodResult<M>, CallFailure>> {
  const opened = await openConnection(socketPath, { clientName: 'covey testnet', timeoutMs });
  if (!opened.ok) return opened;
  const answer = await opened.value.call(method, params, { timeoutMs });
  opened.value.close();
  return answer;
}
