/** What became of an attempt to connect or to listen, told from Node's and libp2p's errors. */
import { connect } from 'node:net';
import type { DialResult, ListenResult } from '../ports/network.ts';
import type { HostPort } from './libp2p-address.ts';

const codeOf = (error: unknown): string => {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : '';
};

/** A name with several addresses fails with an AggregateError: refused only if every one of them refused. */
function isRefused(error: unknown): boolean {
  if (error instanceof AggregateError) {
    return error.errors.length > 0 && error.errors.every(isRefused);
  }
  return codeOf(error) === 'ECONNREFUSED';
}

/** libp2p wraps what the handshake throws and keeps the message alone. Texts of @libp2p/tls and @libp2p/noise. */
const WRONG_PEER = /unexpected peer|does not match expected|Can not dial self/i;

export function dialFailure(error: unknown): DialResult {
  const detail = error instanceof Error ? error.message : String(error);
  if (isRefused(error)) return { ok: false, code: 'refused', detail };
  if (WRONG_PEER.test(detail)) return { ok: false, code: 'wrong_peer', detail };
  if (codeOf(error) === 'ETIMEDOUT') return { ok: false, code: 'timeout', detail };
  return { ok: false, code: 'unreachable', detail };
}

export function listenFailure(error: unknown): ListenResult {
  const detail = error instanceof Error ? error.message : String(error);
  const code = codeOf(error);
  if (code === 'EADDRINUSE') return { ok: false, code: 'in_use', detail };
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') {
    return { ok: false, code: 'no_such_address', detail };
  }
  return { ok: false, code: 'failed', detail };
}

/** A plain TCP connect, closed at once. */
export function probeTcp(
  { host, port }: HostPort,
  localAddress: string | undefined,
  timeoutMs: number,
): Promise<'accepted' | 'refused' | 'timeout' | 'unreachable'> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, localAddress });
    const timer = setTimeout(() => finish('timeout'), timeoutMs);
    const finish = (result: 'accepted' | 'refused' | 'timeout' | 'unreachable') => {
      clearTimeout(timer);
      socket.destroy();
      resolve(result);
    };
    socket.once('connect', () => finish('accepted'));
    // Not `once`: a socket may fail again after it was destroyed, and an unheard error ends the process.
    socket.on('error', (error) => {
      if (isRefused(error)) finish('refused');
      else finish(codeOf(error) === 'ETIMEDOUT' ? 'timeout' : 'unreachable');
    });
  });
}
