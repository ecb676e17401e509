/** As much of the packages from npm as the bench uses: they are fetched when it runs, so the compiler cannot see them. */

interface Ready {
  waitUntilReady(): Promise<unknown>;
}

interface QueueOptions {
  readonly connection: { readonly path: string };
  readonly streams?: { readonly events: { readonly maxLen: number } };
}

interface Queue extends Ready {
  add(name: string, data: string, options: { readonly jobId: string }): Promise<unknown>;
  addBulk(
    jobs: readonly {
      readonly name: string;
      readonly data: string;
      readonly opts: { readonly jobId: string };
    }[],
  ): Promise<unknown>;
}

interface QueueEvents extends Ready {
  on(
    event: 'completed',
    handler: (end: { readonly jobId: string; readonly returnvalue: string }) => void,
  ): void;
}

interface WorkerOptions extends QueueOptions {
  readonly concurrency: number;
}

/** bullmq */
export interface BullMq {
  readonly Queue: new (name: string, options: QueueOptions) => Queue;
  readonly QueueEvents: new (name: string, options: QueueOptions) => QueueEvents;
  readonly Worker: new (
    name: string,
    handler: () => Promise<string>,
    options: WorkerOptions,
  ) => Ready;
}

interface Message {
  readonly data: Uint8Array;
  ack(): void;
}

interface Consumer {
  consume(options: {
    readonly max_messages: number;
    readonly callback: (message: Message) => void;
  }): Promise<unknown>;
}

interface JetStream {
  publish(subject: string, data: Uint8Array): Promise<unknown>;
  readonly consumers: { get(stream: string, consumer?: string): Promise<Consumer> };
}

interface StreamManager {
  readonly streams: { add(options: Readonly<Record<string, unknown>>): Promise<unknown> };
  readonly consumers: {
    add(stream: string, options: Readonly<Record<string, unknown>>): Promise<unknown>;
  };
}

interface NatsConnection {
  jetstream(options?: { readonly timeout: number }): JetStream;
  jetstreamManager(): Promise<StreamManager>;
  close(): Promise<void>;
}

/** nats */
export interface Nats {
  connect(options: { readonly servers: string }): Promise<NatsConnection>;
}
