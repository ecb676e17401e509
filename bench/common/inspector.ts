/** Another Node seen through its inspector: its profile for as long as it is asked for, its memory after a collection. */

interface Answer {
  readonly id?: number;
  readonly result?: { readonly profile?: unknown; readonly result?: unknown };
  readonly error?: { readonly message: string };
}

/** What lives: on the heap, and in buffers beside it. */
export interface LiveBytes {
  readonly heap: number;
  readonly external: number;
}

const MEMORY =
  'JSON.stringify((({ heapUsed, external }) => ({ heap: heapUsed, external }))(process.memoryUsage()))';

/** Often enough for functions of a tenth of a millisecond, and still cheap. */
const SAMPLE_US = 200;
/** A few thousand samples a second of a busy daemon. */
const SAMPLE_BYTES = 16_384;

export class Inspector {
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #last = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.addEventListener('message', ({ data }) => {
      const answer = JSON.parse(String(data)) as Answer;
      if (answer.id !== undefined) this.#waiting.get(answer.id)?.(answer);
    });
  }

  static async open(url: string): Promise<Inspector> {
    const socket = new WebSocket(url);
    await new Promise<void>((resolve, reject) => {
      socket.addEventListener('open', () => resolve());
      socket.addEventListener('error', () => reject(new Error(`no inspector at ${url}`)));
    });
    return new Inspector(socket);
  }

  async start(): Promise<void> {
    await this.#ask('Profiler.enable');
    await this.#ask('Profiler.setSamplingInterval', { interval: SAMPLE_US });
    await this.#ask('Profiler.start');
  }

  /** A .cpuprofile, as developer tools read it. */
  async stop(): Promise<unknown> {
    return (await this.#ask('Profiler.stop')).result?.profile;
  }

  /** Of every function from now on. */
  async startCalls(): Promise<void> {
    await this.#ask('Profiler.enable');
    await this.#ask('Profiler.startPreciseCoverage', { callCount: true, detailed: false });
  }

  async stopCalls(): Promise<unknown> {
    const calls = (await this.#ask('Profiler.takePreciseCoverage')).result?.result;
    await this.#ask('Profiler.stopPreciseCoverage');
    return calls;
  }

  /** Of everything allocated from now on, also of what is collected soon after. */
  async startAllocations(): Promise<void> {
    await this.#ask('HeapProfiler.startSampling', {
      samplingInterval: SAMPLE_BYTES,
      includeObjectsCollectedByMajorGC: true,
      includeObjectsCollectedByMinorGC: true,
    });
  }

  /** A .heapprofile, as developer tools read it. */
  async stopAllocations(): Promise<unknown> {
    return (await this.#ask('HeapProfiler.stopSampling')).result?.profile;
  }

  /** Twice: what the first collection finds unreachable may hold buffers that only the second frees. */
  async liveBytes(): Promise<LiveBytes> {
    await this.#ask('HeapProfiler.collectGarbage');
    await this.#ask('HeapProfiler.collectGarbage');
    const { result } = await this.#ask('Runtime.evaluate', { expression: MEMORY });
    const told = result?.result as { readonly value: string } | undefined;
    return JSON.parse(told?.value ?? '{}') as LiveBytes;
  }

  close(): void {
    this.#socket.close();
  }

  async #ask(method: string, params: object = {}): Promise<Answer> {
    this.#last += 1;
    const id = this.#last;
    const { promise, resolve } = Promise.withResolvers<Answer>();
    this.#waiting.set(id, resolve);
    this.#socket.send(JSON.stringify({ id, method, params }));
    const answer = await promise;
    this.#waiting.delete(id);
    if (answer.error !== undefined) throw new Error(`${method}: ${answer.error.message}`);
    return answer;
  }
}
