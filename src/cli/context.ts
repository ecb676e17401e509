/** What every verb works with: the streams, the daemon that flags and environment name, and one way to fail. */
import type { MethodInput, MethodName, MethodResult } from '../api/methods.ts';
import { err, ok, type Result } from '../base/result.ts';
import { canonicalSuffix, canonicalTaskId } from '../base/task-id.ts';
import type { Connection, RpcFailure } from '../client/types.ts';
import { printable } from './bytes.ts';
import { EXIT, exitOfFailure } from './exit-codes.ts';
import type { CliIo } from './io.ts';
import { Mesh } from './mesh.ts';

export interface CommonOptions {
  readonly socket?: string;
  readonly peer?: string;
  readonly color?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

export const failureOf = (code: string, message: string, help?: string): RpcFailure => ({
  code,
  message,
  retryable: false,
  ...(help === undefined ? {} : { help }),
});

/** What the kernel takes as the path of a socket, without the NUL at its end. */
const SOCKET_PATH_BYTES_MAX = 107;

/** Why nobody answers at a socket: what is at that path, as far as the system told. */
function whyNobody(path: string, { data, message }: RpcFailure): string {
  const bytes = Buffer.byteLength(path, 'utf8');
  if (bytes > SOCKET_PATH_BYTES_MAX)
    return `the path has ${bytes} bytes, and the system allows ${SOCKET_PATH_BYTES_MAX}`;
  if (/ENOENT/.test(`${message} ${data?.errno}`)) return 'there is no such socket';
  if (/ECONNREFUSED|ENOTSOCK/.test(`${message} ${data?.errno}`)) return 'nobody listens there';
  return data?.errno === undefined ? 'what listens there ended the connection' : `${data.errno}`;
}

const ID_HELP =
  "An id is 39 characters; a unique end of six or more will do. 'covey tasks' lists them.";

export class Cli {
  readonly io: CliIo;
  readonly verb: string;
  readonly options: CommonOptions;
  /** What followed the first `--`, for verbs with `splitsAtDashes`. */
  readonly afterDashes: readonly string[] | undefined;
  readonly #failureExit: number | undefined;
  #mesh: Mesh | undefined;
  #connectedTo: string | undefined;
  #socketPath: Promise<Result<string, RpcFailure>> | undefined;

  constructor(
    io: CliIo,
    verb: string,
    options: CommonOptions,
    extra: { readonly afterDashes?: readonly string[]; readonly failureExit?: number } = {},
  ) {
    this.io = io;
    this.verb = verb;
    this.options = options;
    this.afterDashes = extra.afterDashes;
    this.#failureExit = extra.failureExit;
  }

  get color(): boolean {
    const { NO_COLOR } = this.io.env;
    const wanted = this.options.color !== false && (NO_COLOR === undefined || NO_COLOR === '');
    return wanted && this.io.stdout.isTerminal;
  }

  /** The daemon, with patience: calls are repeated while it restarts. */
  get mesh(): Mesh {
    this.#mesh ??= new Mesh(() => this.#open(), this.io.noticeMs);
    return this.#mesh;
  }

  /** For verbs that outlive a restart of the daemon: that they wait for it is said, once. */
  saysLostConnection(say = (line: string): Promise<void> => this.io.stderr.line(line)): void {
    this.mesh.onLost(() => {
      const path = this.#connectedTo ?? 'the daemon';
      void say(`covey: connection to ${printable(path)} lost, waiting for it`);
    });
  }

  /** One call, one answer. */
  async call<M extends MethodName>(
    method: M,
    params: MethodInput<M>,
    options?: { readonly timeoutMs?: number },
  ): Promise<Result<MethodResult<M>, RpcFailure>> {
    const opened = await this.mesh.connection();
    return opened.ok ? opened.value.call(method, params, options) : opened;
  }

  close(): void {
    this.#mesh?.close();
  }

  async #open(): Promise<Result<Connection, RpcFailure>> {
    this.#socketPath ??= this.#resolveSocket();
    const path = await this.#socketPath;
    if (!path.ok) return path;
    const opened = await this.io.open(path.value);
    if (opened.ok) {
      this.#connectedTo = path.value;
      return opened;
    }
    const said = `${opened.error.message} ${String(opened.error.data?.errno ?? '')}`;
    if (/EACCES|EPERM/.test(said)) {
      return err(
        failureOf(
          'PERMISSION_DENIED',
          `The socket ${path.value} belongs to another user.`,
          `Only the daemon's own user may use it: sudo -u USER COVEY_SOCKET=${path.value} covey …, where USER runs the daemon (docs/operations.md).`,
        ),
      );
    }
    if (opened.error.code !== 'DISCONNECTED' && !/ENOENT|ECONNREFUSED/.test(said)) return opened;
    return err({
      code: 'NO_DAEMON',
      message: `No Covey daemon answers at ${path.value}: ${whyNobody(path.value, opened.error)}.`,
      retryable: true,
      help: "Start one with 'coveyd', or name the socket of a running one: --socket PATH or COVEY_SOCKET.",
    });
  }

  async #resolveSocket(): Promise<Result<string, RpcFailure>> {
    const { socket, peer } = this.options;
    if (socket !== undefined && peer !== undefined) {
      return err(failureOf('USAGE', '--socket and --peer exclude each other.'));
    }
    if (socket === '') return err(failureOf('USAGE', '--socket needs a path.'));
    if (socket !== undefined) return ok(socket);
    if (peer !== undefined) return this.#testnetSocket(peer);
    const fromEnvironment = this.io.env.COVEY_SOCKET;
    if (fromEnvironment !== undefined && fromEnvironment !== '') return ok(fromEnvironment);
    const { defaultSocketPath } = await import('../client/socket-path.ts');
    return ok(defaultSocketPath(this.io.env, this.io.uid));
  }

  async #testnetSocket(peer: string): Promise<Result<string, RpcFailure>> {
    const match = /^testnet:(?:(.+):)?(\d{1,3})$/.exec(peer);
    if (match === null) {
      return err(
        failureOf('USAGE', `--peer '${printable(peer)}' is not testnet:I or testnet:DIR:I.`),
      );
    }
    const { testnetSocket } = await import('../testnet/locate.ts');
    const found = await testnetSocket(match[1], Number(match[2]));
    return found.ok ? found : err(failureOf('NO_DAEMON', found.error));
  }

  /** A whole id or a unique end of one. */
  async resolveId(text: string): Promise<Result<string, RpcFailure>> {
    const whole = canonicalTaskId(text);
    if (whole !== undefined) return ok(whole);
    const suffix = canonicalSuffix(text);
    if (suffix === undefined) {
      return err(failureOf('USAGE', `'${printable(text)}' is not a task id.`, ID_HELP));
    }
    const found = await this.call('task.find', { suffix });
    if (!found.ok) return found;
    const [first, ...more] = found.value.ids;
    if (first === undefined) {
      return err({
        code: found.value.complete ? 'NOT_FOUND' : 'UNREACHABLE',
        message: found.value.complete
          ? `No task ends with ${suffix}.`
          : `No task that ends with ${suffix} is known here, and not every peer answered.`,
        retryable: !found.value.complete,
        help: "'covey tasks --all' lists those there are.",
      });
    }
    if (more.length === 0) return ok(first);
    const list = found.value.ids.slice(0, 8).join(', ');
    return err(
      failureOf(
        'AMBIGUOUS',
        `${found.value.ids.length} tasks end with ${suffix}: ${list}.`,
        'Write more characters of its end.',
      ),
    );
  }

  /** Says what went wrong on stderr and returns the exit code for it. */
  async fail(failure: RpcFailure): Promise<number> {
    if (failure.code === 'USAGE') return this.usage(failure.message, failure.help);
    await this.say(`${printable(failure.message)}`);
    const isUsage = failure.code === 'INVALID_PARAMS';
    const help = failure.help ?? (isUsage ? `See 'covey ${this.verb} --help'.` : undefined);
    if (help !== undefined) await this.io.stderr.line(`  ${printable(help)}`);
    // `run` and `xargs` have one code for all of this: their other numbers belong to the commands.
    return this.#failureExit ?? exitOfFailure(failure);
  }

  async usage(sentence: string, help = `See 'covey ${this.verb} --help'.`): Promise<number> {
    await this.say(sentence);
    await this.io.stderr.line(`  ${help}`);
    return this.#failureExit ?? EXIT.usage;
  }

  /** A line on stderr in the name of the verb. */
  say(sentence: string): Promise<void> {
    return this.io.stderr.line(`covey ${this.verb}: ${sentence}`);
  }

  json(value: unknown): Promise<void> {
    return this.io.stdout.line(JSON.stringify(value));
  }

  print(text: string): Promise<void> {
    return this.io.stdout.write(text);
  }
}
