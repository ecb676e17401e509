/** Slots and the credits on them: granted, shared in turn, given back. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SeededRandom } from '../../src/base/random.ts';
import { SimClock } from '../../src/sim/clock.ts';
import {
  CREDIT_TTL_MS,
  PAUSE_TTL_MS,
  Slots,
  WANT_TTL_MS,
  WANTS_MAX,
} from '../../src/tasks/slots.ts';
import { MemoryMesh } from '../support/memory-messaging.ts';

const OWNERS = ['owner-1', 'owner-2'];
const EXEC = 'exec:/src';

function world(execSlots: number, workers = { total: 0, free: 0 }) {
  const clock = new SimClock();
  const mesh = new MemoryMesh(clock);
  let closed: { code: string; detail: string } | undefined;
  const slots = new Slots({
    clock,
    random: new SeededRandom('slots'),
    messaging: mesh.join('peer'),
    execSlots,
    workerCapacity: (type) => (type === 'mail' ? workers : { total: 0, free: 0 }),
    directoryExists: async (path) => path !== '/nowhere',
    closed: () => closed,
    onChange: () => undefined,
    offerLocally: () => undefined,
  });
  const granted = new Map<string, string[]>();
  const refused: unknown[] = [];
  const owners = OWNERS.map((name) => {
    const end = mesh.join(name);
    end.onMessage('slot.grant', (_from, body) => {
      const credits = Array.isArray(body.credits) ? body.credits.map(String) : [];
      granted.set(name, [...(granted.get(name) ?? []), ...credits]);
    });
    end.onMessage('slot.refuse', (_from, body) => refused.push(body));
    return end;
  });
  const want = async (owner: number, n: number, demand = EXEC): Promise<void> => {
    owners[owner]?.cast('peer', 'slot.want', { demand, n });
    await clock.runFor(10);
  };
  const giveBack = async (owner: number, credits: readonly string[]): Promise<void> => {
    owners[owner]?.cast('peer', 'slot.return', { credits: [...credits] });
    await clock.runFor(10);
  };
  const creditsOf = (owner: number): string[] => granted.get(OWNERS[owner] ?? '') ?? [];
  const close = (): void => {
    closed = { code: 'stopping', detail: 'the peer is stopping' };
  };
  return { clock, mesh, slots, want, giveBack, creditsOf, refused, granted, workers, close };
}

describe('slots', () => {
  it('are granted as credits, used, and granted again when they are free', async () => {
    const { slots, want, creditsOf } = world(2);
    await want(0, 3);
    expect(creditsOf(0)).toHaveLength(2);
    expect(slots.execFree).toBe(0);
    for (const credit of creditsOf(0)) expect(slots.occupy(credit, EXEC)).toBe(true);
    expect(slots.execBusy).toBe(2);
    await want(1, 1);
    expect(creditsOf(1)).toEqual([]);
    slots.vacate(EXEC);
    await want(1, 0);
    expect(creditsOf(0).length + creditsOf(1).length).toBe(3);
  });

  it('are shared in turn among the owners that want them', async () => {
    const { slots, want, creditsOf } = world(1);
    const used = new Set<string>();
    for (let i = 0; i < 20; i++) {
      await want(0, 100);
      await want(1, 100);
      const fresh = [...creditsOf(0), ...creditsOf(1)].filter((id) => !used.has(id));
      expect(fresh).toHaveLength(1);
      for (const id of fresh) {
        used.add(id);
        expect(slots.occupy(id, EXEC)).toBe(true);
        slots.vacate(EXEC);
      }
    }
    expect(Math.min(creditsOf(0).length, creditsOf(1).length)).toBeGreaterThan(5);
  });

  it('come back when a credit is not used or is given back', async () => {
    const { clock, slots, want, giveBack, creditsOf } = world(1);
    await want(0, 1);
    expect(slots.execFree).toBe(0);
    await clock.runFor(CREDIT_TTL_MS);
    expect(slots.execFree).toBe(1);
    const [expired = ''] = creditsOf(0);
    await want(1, 1);
    expect(slots.occupy(expired, EXEC)).toBe(false);
    await giveBack(1, creditsOf(1));
    expect(slots.execFree).toBe(1);
    // Late, and still free: nobody is turned away for nothing.
    expect(slots.occupy(expired, EXEC)).toBe(true);
  });

  it('are not granted to wants that were not repeated', async () => {
    const { clock, slots, want, creditsOf } = world(1);
    const own = slots.reserve(EXEC) ?? '';
    slots.occupy(own, EXEC);
    await want(0, 1);
    await clock.runFor(WANT_TTL_MS + 1);
    slots.vacate(EXEC);
    await clock.runFor(10);
    expect(creditsOf(0)).toEqual([]);
  });

  it('of workers are never more than the workers have free', async () => {
    const { slots, want, creditsOf, workers } = world(0, { total: 3, free: 3 });
    await want(0, 9, 'worker:mail');
    expect(creditsOf(0)).toHaveLength(3);
    expect(slots.free('worker:mail')).toBe(0);
    expect(slots.occupy(creditsOf(0)[0] ?? '', 'worker:mail')).toBe(true);
    workers.free -= 1;
    expect(slots.free('worker:mail')).toBe(0);
  });

  it('for one thing are no slots for another', async () => {
    const { slots, want, creditsOf } = world(1, { total: 1, free: 1 });
    await want(0, 1, 'worker:mail');
    const [credit = ''] = creditsOf(0);
    slots.occupy(slots.reserve(EXEC) ?? '', EXEC);
    expect(slots.occupy(credit, EXEC)).toBe(false);
    expect(slots.execBusy).toBe(1);
  });

  it('are granted to whoever wanted them when there was no worker, as soon as one is there', async () => {
    const { clock, slots, want, creditsOf, refused, workers } = world(0);
    await want(0, 1, 'worker:mail');
    await want(1, 1, 'worker:mail');
    expect(refused).toMatchObject([{ code: 'no_worker' }, { code: 'no_worker' }]);
    await want(1, 0, 'worker:mail');
    // Who wants it no more is not refused either.
    expect(refused).toHaveLength(2);
    workers.total = 2;
    workers.free = 2;
    slots.pump();
    await clock.runFor(10);
    expect([creditsOf(0).length, creditsOf(1).length]).toEqual([1, 0]);
  });

  it('are not granted to whoever wanted them long before there was a worker', async () => {
    const { clock, slots, want, creditsOf, workers } = world(0);
    await want(0, 1, 'worker:mail');
    await clock.runFor(WANT_TTL_MS);
    workers.total = 1;
    workers.free = 1;
    slots.pump();
    await clock.runFor(10);
    expect(creditsOf(0)).toEqual([]);
  });

  it.each([
    ['worker:other', 'no_worker'],
    ['exec:/nowhere', 'no_such_cwd'],
    ['exec:relative', 'unknown_demand'],
    ['anything', 'unknown_demand'],
  ])('say why they are refused: %s', async (demand, code) => {
    const { want, refused } = world(1);
    await want(0, 1, demand);
    expect(refused).toMatchObject([{ demand, code }]);
  });

  it('are refused where commands are off, and by a peer that is stopping', async () => {
    const off = world(0);
    await off.want(0, 1);
    expect(off.refused).toMatchObject([{ code: 'exec_disabled' }]);
    const stopping = world(1);
    stopping.close();
    await stopping.want(0, 1);
    expect(stopping.refused).toMatchObject([{ code: 'stopping' }]);
    expect(stopping.slots.reserve(EXEC)).toBeUndefined();
  });

  it('are not granted for commands while the system starts none, and then again', async () => {
    const { clock, slots, want, creditsOf, refused } = world(2, { total: 1, free: 1 });
    slots.pauseCommands('spawn EMFILE');
    await want(0, 1);
    expect(refused).toMatchObject([{ code: 'cannot_start', detail: 'spawn EMFILE' }]);
    expect(slots.reserve(EXEC)).toBeUndefined();
    expect(slots.free('worker:mail')).toBe(1);
    await clock.runFor(PAUSE_TTL_MS);
    await want(0, 1);
    expect(creditsOf(0)).toHaveLength(1);
  });

  it('are waited for by a limited number of kinds of task', async () => {
    const { slots, mesh, clock, refused } = world(1);
    slots.occupy(slots.reserve(EXEC) ?? '', EXEC);
    const owner = mesh.join('owner-3');
    owner.onMessage('slot.refuse', (_from, body) => refused.push(body));
    for (let i = 0; i <= WANTS_MAX; i++)
      owner.cast('peer', 'slot.want', { demand: `exec:/${i}`, n: 1 });
    await clock.runFor(20);
    expect(refused).toMatchObject([{ code: 'BUSY' }]);
  });

  it('are never more than there are, whatever owners do', async () => {
    const owner = fc.integer({ min: 0, max: 1 });
    const commands = fc.array(
      fc.oneof(
        fc.record({ do: fc.constant('want' as const), owner, n: fc.integer({ min: 0, max: 5 }) }),
        fc.record({ do: fc.constant('use' as const), owner }),
        fc.record({ do: fc.constant('return' as const), owner }),
        fc.record({ do: fc.constant('end' as const) }),
        fc.record({ do: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 6_000 }) }),
      ),
      { maxLength: 25 },
    );
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 4 }), commands, async (size, list) => {
        const { clock, slots, want, giveBack, granted } = world(size);
        let running = 0;
        const take = (index: number): string | undefined =>
          granted.get(OWNERS[index] ?? '')?.shift();
        for (const command of list) {
          if (command.do === 'want') await want(command.owner, command.n);
          else if (command.do === 'wait') await clock.runFor(command.ms);
          else if (command.do === 'end' && running > 0) {
            running -= 1;
            slots.vacate(EXEC);
          } else if (command.do === 'use' || command.do === 'return') {
            const credit = take(command.owner);
            if (credit === undefined) continue;
            if (command.do === 'return') await giveBack(command.owner, [credit]);
            else if (slots.occupy(credit, EXEC)) running += 1;
          }
          expect(slots.execBusy).toBe(running);
          expect(running).toBeLessThanOrEqual(size);
          expect(slots.execFree).toBeLessThanOrEqual(size - running);
        }
        // When all is quiet nothing is left reserved.
        await clock.runFor(CREDIT_TTL_MS + WANT_TTL_MS + 1);
        expect(slots.execFree).toBe(size - running);
      }),
      { numRuns: 60 },
    );
  });
});
