/**
 * Byte streams from local programs: the control socket (a Unix socket, 0600 in a directory of mode 0700).
 *
 * Guarantees: bytes of one stream arrive in order and unchanged, cut anywhere. `write` never blocks and says
 * false when more than WRITE_BUFFER_BYTES_MAX wait: the bytes were taken all the same, and the caller must stop
 * writing until `drained`, or destroy the stream. `ended` is called once, whatever the reason, and soon after the
 * program has gone, also when it had said before that no more comes.
 */
export const WRITE_BUFFER_BYTES_MAX = 8 * 1_024 * 1_024;

export interface ByteStream {
  write(bytes: Uint8Array): boolean;
  /** Bytes taken and not yet handed to the system. */
  bufferedBytes(): number;
  /** Stops `data` until `resume`: a client that sends faster than it is answered waits in its own kernel buffer. */
  pause(): void;
  resume(): void;
  /** Writes what waits, then closes. */
  end(): void;
  /** Closes now. */
  destroy(): void;
}

export interface ByteStreamHandlers {
  data(bytes: Uint8Array): void;
  drained(): void;
  /**
   * The program has said all it had to and may still read (`echo … | nc -N -U`): whoever serves it ends the stream
   * after the last answer. Called at most once, before `ended`; never when both directions ended together.
   */
  finished(): void;
  ended(): void;
}

export type OpenResult =
  | { readonly ok: true; readonly path: string }
  | { readonly ok: false; readonly code: 'in_use' | 'failed'; readonly detail: string };

export interface Listener {
  /** Calls `accept` for every stream; its return value are the handlers of that stream. */
  open(accept: (stream: ByteStream) => ByteStreamHandlers): Promise<OpenResult>;
  /** Takes no more streams and removes the socket; open streams stay open until ended. */
  close(): Promise<void>;
}
