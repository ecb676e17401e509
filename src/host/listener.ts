/**
 * The Listener port on a Unix socket: 0600 in a directory of 0700, both made so by the umask and
 * never by a chmod afterwards, which would leave a moment in which anybody can connect.
 */
import { lstat, unlink } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import process from 'node:process';
import {
  type ByteStream,
  type ByteStreamHandlers,
  type Listener,
  type OpenResult,
  WRITE_BUFFER_BYTES_MAX,
} from '../ports/listener.ts';
import { textOf } from './directory-lock.ts';
import { makePrivateDirectory } from './private-directory.ts';

/** `sun_path` has 108 bytes on Linux, one of them for the final NUL. */
export const SOCKET_PATH_BYTES_MAX = 107;
/** A listener that does not answer for so long is alive, if not well. */
const CONNECT_DEADLINE_MS = 2_000;
/** A program that only reads on is looked for this often. */
const PROBE_MS = 1_000;
const NOTHING = new Uint8Array(0);
/** Connections that wait to be accepted. */
const BACKLOG = 511;

type Probe = 'live' | 'dead' | 'none' | { readonly error: string };

export class HostListener implements Listener {
  readonly #path: string;
  #server: Server | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  async open(accept: (stream: ByteStream) => ByteStreamHandlers): Promise<OpenResult> {
    const path = this.#path;
    const bytes = Buffer.byteLength(path);
    if (bytes > SOCKET_PATH_BYTES_MAX) {
      return failed(
        `the socket path ${path} has ${bytes} bytes, and the system allows ` +
          `${SOCKET_PATH_BYTES_MAX}: choose a shorter one with --socket`,
      );
    }
    try {
      const made = await makePrivateDirectory(dirname(path));
      if (!made.ok) return failed(`cannot use the socket ${path}: ${made.error}`);
      const probe = await probeSocket(path);
      if (typeof probe === 'object') return failed(`cannot use the socket ${path}: ${probe.error}`);
      if (probe === 'live') {
        return { ok: false, code: 'in_use', detail: `a running process listens on ${path}` };
      }
      if (probe === 'dead') await unlink(path);
      this.#server = await listen(path, accept);
      return { ok: true, path };
    } catch (error) {
      if (codeOf(error) === 'EADDRINUSE') {
        return { ok: false, code: 'in_use', detail: `a running process listens on ${path}` };
      }
      return failed(`cannot use the socket ${path}: ${textOf(error)}`);
    }
  }

  close(): Promise<void> {
    // Removes the socket at once; the callback would wait for every open stream.
    this.#server?.close();
    this.#server = undefined;
    return Promise.resolve();
  }
}

const failed = (detail: string): OpenResult => ({ ok: false, code: 'failed', detail });

const codeOf = (error: unknown): unknown =>
  error instanceof Error && 'code' in error ? error.code : undefined;

/**
 * Whether somebody listens there. Only what is a socket and refuses a connection is taken for a
 * leftover.
 */
async function probeSocket(path: string): Promise<Probe> {
  try {
    const stats = await lstat(path);
    if (!stats.isSocket()) return { error: 'there is a file of that name that is no socket' };
  } catch (error) {
    return codeOf(error) === 'ENOENT' ? 'none' : { error: textOf(error) };
  }
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.setTimeout(CONNECT_DEADLINE_MS, () => {
      socket.destroy();
      resolve('live');
    });
    socket.on('connect', () => {
      socket.destroy();
      resolve('live');
    });
    socket.on('error', (error) => {
      const code = codeOf(error);
      if (code === 'ECONNREFUSED') resolve('dead');
      else if (code === 'ENOENT') resolve('none');
      else if (code === 'EAGAIN') resolve('live');
      else resolve({ error: error.message });
    });
  });
}

function listen(path: string, accept: (stream: ByteStream) => ByteStreamHandlers): Promise<Server> {
  const server = createServer({ allowHalfOpen: true }, (socket) => serve(socket, accept));
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.once('listening', () => {
      server.off('error', reject);
      // EMFILE while accepting: libuv sheds the connection; the next may do better.
      server.on('error', () => undefined);
      resolve(server);
    });
    // `listen` binds before it returns, so the umask is changed for no other call.
    const umask = process.umask(0o177);
    try {
      server.listen({ path, backlog: BACKLOG });
    } finally {
      process.umask(umask);
    }
  });
}

function serve(socket: Socket, accept: (stream: ByteStream) => ByteStreamHandlers): void {
  let over = false;
  let corked = false;
  /** What is written in one turn goes out in one piece: a hundred answers are one call of the system, not a hundred. */
  const cork = (): void => {
    if (corked) return;
    corked = true;
    socket.cork();
    process.nextTick(() => {
      corked = false;
      socket.uncork();
    });
  };
  const stream: ByteStream = {
    write: (bytes) => {
      if (!socket.writable) return false;
      cork();
      socket.write(bytes);
      over = socket.writableLength > WRITE_BUFFER_BYTES_MAX;
      return !over;
    },
    bufferedBytes: () => socket.writableLength,
    pause: () => {
      socket.pause();
    },
    resume: () => {
      socket.resume();
    },
    end: () => {
      socket.end();
      // It may go on sending, but nobody listens; unread, it would keep the stream from closing.
      socket.resume();
    },
    destroy: () => {
      socket.destroy();
    },
  };
  const handlers = accept(stream);
  socket.on('data', (chunk) => handlers.data(new Uint8Array(chunk)));
  socket.on('drain', () => {
    if (over) {
      over = false;
      handlers.drained();
    }
  });
  // A reset shows as an error and then as the close that is told.
  socket.on('error', () => undefined);
  const probes = watchHalfOpen(socket, () => handlers.finished());
  socket.on('close', () => {
    clearInterval(probes.timer);
    handlers.ended();
  });
}

/**
 * The end of a program's bytes looks the same whether it only writes no more or is gone, and Node watches a socket no
 * longer after it. A write of no bytes tells: the kernel refuses it (EPIPE) when nobody can read. Without it a client
 * that was killed while it waited would keep its place until its answer is due.
 */
function watchHalfOpen(
  socket: Socket,
  finished: () => void,
): { timer: NodeJS.Timeout | undefined } {
  const probes: { timer: NodeJS.Timeout | undefined } = { timer: undefined };
  socket.on('end', () => {
    if (!socket.writable) return;
    socket.write(NOTHING, (error) => {
      if (error || socket.closed) return;
      probes.timer = setInterval(() => {
        // Bytes that wait find out by themselves.
        if (socket.writable && socket.writableLength === 0) socket.write(NOTHING);
      }, PROBE_MS);
      finished();
    });
  });
  return probes;
}
