/** Task ids reserved ahead in blocks, so that a bulk submit needs one round trip and may be sent again safely. */
import { BULK_MAX } from '../../api/limits.ts';
import { err, ok, type Result } from '../../base/result.ts';
import type { RpcFailure } from '../../client/types.ts';
import type { Mesh } from '../mesh.ts';
import { ID_POOL_AGE_MS } from './limits.ts';

const POOL_MIN = 16;

export class IdPool {
  readonly #mesh: Mesh;
  #ids: string[] = [];
  #reservedAt = 0;

  constructor(mesh: Mesh) {
    this.#mesh = mesh;
  }

  async take(n: number): Promise<Result<string[], RpcFailure>> {
    if (performance.now() - this.#reservedAt > ID_POOL_AGE_MS) this.#ids = [];
    while (this.#ids.length < n) {
      // As many as were just used once more: the next submit then finds them here.
      const want = Math.min(BULK_MAX, Math.max(POOL_MIN, 2 * n));
      const answer = await this.#mesh.call('ids.reserve', { n: want });
      if (!answer.ok) return answer;
      if (answer.value.ids.length === 0) {
        return err({ code: 'INTERNAL', message: 'The daemon reserved no ids.', retryable: false });
      }
      if (this.#ids.length === 0) this.#reservedAt = performance.now();
      this.#ids.push(...answer.value.ids);
    }
    return ok(this.#ids.splice(0, n));
  }
}
