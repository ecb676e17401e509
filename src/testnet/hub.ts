/**
 * The supervisor of a test network that outlives the command that started it: it owns the daemons and their
 * relays, and carries out what the other commands ask for on its control socket, one line of JSON a request.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { z } from 'zod';
import { messageOf } from '../base/errors.ts';
import type { TestNetwork } from './testnet.ts';

const indexed = z.strictObject({ index: z.int().min(1) });

export const hubRequestSchema = z.discriminatedUnion('method', [
  z.object({ method: z.literal('status'), params: z.strictObject({}) }),
  z.object({ method: z.literal('kill'), params: indexed }),
  z.object({ method: z.literal('stop'), params: indexed }),
  z.object({ method: z.literal('cont'), params: indexed }),
  z.object({ method: z.literal('restart'), params: indexed }),
  z.object({
    method: z.literal('partition'),
    params: z.strictObject({ groups: z.array(z.array(z.int().min(1))) }),
  }),
  z.object({ method: z.literal('heal'), params: z.strictObject({}) }),
]);
export type HubRequest = z.output<typeof hubRequestSchema>;

async function carryOut(network: TestNetwork, request: HubRequest): Promise<unknown> {
  switch (request.method) {
    case 'status':
      return { peers: await network.status() };
    case 'kill':
      return await network.kill(request.params.index);
    case 'stop':
      return await network.stop(request.params.index);
    case 'cont':
      return await network.cont(request.params.index);
    case 'restart':
      return await network.restart(request.params.index);
    case 'partition':
      return network.partition(request.params.groups);
    case 'heal':
      return network.heal();
  }
}

export class Hub {
  readonly #network: TestNetwork;
  readonly #server: Server;
  /** One command after the other: a restart must not meet a kill of the same daemon. */
  #queue: Promise<void> = Promise.resolve();

  private constructor(network: TestNetwork) {
    this.#network = network;
    this.#server = createServer((socket) => this.#serve(socket));
  }

  static async listen(network: TestNetwork, socketPath: string): Promise<Hub> {
    const hub = new Hub(network);
    await new Promise<void>((resolve, reject) => {
      hub.#server.once('error', reject);
      hub.#server.listen(socketPath, resolve);
    });
    return hub;
  }

  #serve(socket: Socket): void {
    socket.on('error', () => socket.destroy());
    createInterface({ input: socket }).on('line', (line) => {
      this.#queue = this.#queue.then(async () => {
        const answer = await this.#answer(line);
        if (!socket.destroyed) socket.write(`${JSON.stringify(answer)}\n`);
      });
    });
  }

  async #answer(line: string): Promise<object> {
    let id: unknown = null;
    try {
      const request: unknown = JSON.parse(line);
      id = z.looseObject({ id: z.unknown() }).parse(request).id;
      const result = await carryOut(this.#network, hubRequestSchema.parse(request));
      return { jsonrpc: '2.0', id, result: result ?? {} };
    } catch (thrown) {
      const message = thrown instanceof z.ZodError ? z.prettifyError(thrown) : messageOf(thrown);
      return { jsonrpc: '2.0', id, error: { code: -32000, message } };
    }
  }
}
