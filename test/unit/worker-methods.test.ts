/**
 * The `worker.*` methods on a whole simulated peer: what a worker that does not read costs, and what a stopping
 * daemon does with the results that come last.
 */
import { describe, expect, it } from 'vitest';
import type { Session } from '../../src/control/backend.ts';
import { WorkerMethodsImpl } from '../../src/control/methods-worker.ts';
import { World } from '../../src/sim/world.ts';
import { taskOf } from '../../src/tasks/task.ts';

const about = { kind: 'worker', attempts: 1, failures: 0 } as const;

interface Handed {
  readonly id: string;
  readonly attempt: number;
}

/** A worker program of one type, connected to a peer of the world. */
class Program {
  readonly handed: Handed[] = [];
  readonly methods: WorkerMethodsImpl['methods'];
  readonly session: Session;
  readonly #world: World;
  readonly #drained: (() => void)[] = [];
  /** Tasks that fit into what it leaves unread. */
  room = Number.POSITIVE_INFINITY;

  constructor(world: World, i: number, id: string) {
    this.#world = world;
    this.methods = new WorkerMethodsImpl(world.peer(i)).methods;
    this.session = {
      id,
      notify: (name, params) => {
        if (this.room === 0) return 'full';
        if (name === 'worker.task') {
          this.room -= 1;
          this.handed.push({ ...(params as Handed) });
        }
        return 'sent';
      },
      onClosed: () => () => undefined,
      onDrained: (listener) => {
        this.#drained.push(listener);
        return () => undefined;
      },
    };
  }

  async register(concurrency: number): Promise<void> {
    const types = [{ type: 'mail', concurrency }];
    const answer = this.methods['worker.register']({ types }, this.session);
    expect(await this.#world.until(answer, 1_000)).toMatchObject({ ok: true });
    await this.#world.runFor(10);
  }

  /** It reads again. */
  read(): void {
    this.room = Number.POSITIVE_INFINITY;
    for (const listener of this.#drained) listener();
  }

  complete({ id, attempt }: Handed) {
    return this.methods['worker.complete']({ id, attempt, result: attempt }, this.session);
  }
}

const submit = (world: World, count: number) =>
  Array.from({ length: count }, (_, i) => world.submit(0, { type: 'mail', payload: i }, about));

const stateOf = (world: World, id: string | undefined) => {
  const record = world.peer(0).replica.get(id ?? '');
  return record === undefined ? undefined : taskOf(record);
};

describe('a worker that does not read', () => {
  it('makes tasks wait until it does, and fails none of them', async () => {
    const world = new World({ seed: 'blocked', peers: 1 });
    await world.run(async () => {
      await world.joinAll();
      const program = new Program(world, 0, 'one');
      await program.register(16);
      program.room = 4;
      const tasks = submit(world, 10);
      await world.runFor(60_000);
      expect(program.handed).toHaveLength(4);
      const states = tasks.map(({ id }) => stateOf(world, id));
      expect(states.map((task) => task?.final)).toEqual(Array(10).fill(undefined));
      expect(Math.max(...states.map((task) => task?.attempts.length ?? 0))).toBeLessThan(4);

      program.read();
      await world.runFor(2_000);
      expect(program.handed).toHaveLength(10);
    });
  });

  it('keeps nothing from another that reads', async () => {
    const world = new World({ seed: 'other', peers: 1 });
    await world.run(async () => {
      await world.joinAll();
      const [deaf, able] = [new Program(world, 0, 'deaf'), new Program(world, 0, 'able')];
      await deaf.register(16);
      await able.register(4);
      deaf.room = 0;
      submit(world, 4);
      await world.runFor(1_000);
      expect([deaf.handed.length, able.handed.length]).toEqual([0, 4]);
    });
  });
});

describe('the results that come while the daemon stops', () => {
  it('are either taken and kept, or left to the worker for the next boot', async () => {
    const world = new World({ seed: 'last results', peers: 3, delayMs: { min: 50, max: 150 } });
    await world.run(async () => {
      await world.joinAll();
      const program = new Program(world, 0, 'one');
      await program.register(200);
      submit(world, 200);
      await world.runUntil(() => program.handed.length === 200, 30_000);
      const accepted: string[] = [];
      const others: string[] = [];
      let isStopped = false;
      void world.stop(0).then(() => {
        isStopped = true;
      });
      for (const task of program.handed) {
        if (isStopped) break;
        void program.complete(task).then((answer) => {
          if (answer.ok && answer.value.accepted) accepted.push(task.id);
          else others.push(answer.ok ? 'not accepted' : answer.error.code);
        });
        await world.runFor(20);
      }
      expect(isStopped).toBe(true);
      expect(accepted.length).toBeGreaterThan(0);
      expect(new Set(others)).toEqual(new Set(['STOPPING']));
      await world.until(world.restart(0), 10_000);
      await world.runFor(10_000);
      const lost = accepted.filter((id) => stateOf(world, id)?.final?.state !== 'completed');
      expect(lost).toEqual([]);
    });
  });
});

describe('the late word of a worker about a task that its daemon has forgotten', () => {
  it('is left to the worker while the home of the task is out of reach, and kept there afterwards', async () => {
    const world = new World({ seed: 'late word', peers: 5 });
    await world.run(async () => {
      await world.joinAll();
      const programs = world.hosts.map((_, i) => new Program(world, i, `program ${i}`));
      for (const program of programs) await program.register(1);
      const [task] = submit(world, 1);
      await world.runUntil(() => programs.some(({ handed }) => handed.length > 0), 30_000);
      const handed = programs.flatMap((program) => program.handed)[0];
      if (handed === undefined || task === undefined) throw new Error('nobody was handed the task');
      const isHome = (i: number): boolean =>
        world.peer(i).replica.get(handed.id) !== undefined || programs[i]?.handed.length !== 0;
      const far = world.hosts.findIndex((_, i) => !isHome(i));
      world.cut(far);
      const late = programs[far]?.complete(handed);
      if (late === undefined) throw new Error('all five are of the home');
      const refused = await world.until(late, 30_000);
      expect(refused).toMatchObject({ ok: false, error: { code: 'UNREACHABLE' } });

      world.heal();
      await world.runUntil(() => world.isWhole(), 30_000);
      const again = programs[far]?.complete(handed);
      if (again === undefined) throw new Error('it is there');
      expect(await world.until(again, 30_000)).toEqual({ ok: true, value: { accepted: false } });
      const found = await world.until(world.peer(far).tasks.reader.find(handed.id, false), 5_000);
      expect(found && taskOf(found.record).attempts[0]?.ends[0]?.out).toBe('completed');
    });
  });
});
