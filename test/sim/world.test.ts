/**
 * The small world: a story of it as an example, what its trace covers, and that real time cannot slip in.
 */
import { describe, expect, it } from 'vitest';
import { check } from '../../src/sim/checkers.ts';
import { argvOf } from '../../src/sim/commands.ts';
import { TraceHash } from '../../src/sim/trace.ts';
import { trapGlobals } from '../../src/sim/traps.ts';
import { World } from '../../src/sim/world.ts';

const about = { kind: 'exec', attempts: 1, failures: 0 } as const;
const job = (durationMs: number) => ({
  exec: { argv: argvOf({ durationMs, failures: 0, isDeaf: false }), cwd: '/' },
});
const strict = { strict: true, cutsOnly: false, strayMsMax: 15_000 };

/** Three peers, one task; `meddle` may spoil something before it is submitted. */
async function story(seed: string, meddle: (world: World) => void = () => undefined) {
  const world = new World({ seed, peers: 3 });
  const lines: string[] = [];
  await world.run(async () => {
    await world.joinAll();
    meddle(world);
    world.submit(1, job(300), about);
    await world.runUntil(() => world.pending().length === 0, 30_000);
    await world.runFor(5_000);
    lines.push(...world.pending());
  });
  return { world, pending: lines, hash: world.trace.digest() };
}

describe('the simulated world', () => {
  it('runs a task whose runner is killed in the middle on another peer, once more and no more', async () => {
    const world = new World({ seed: 'example', peers: 3 });
    await world.run(async () => {
      await world.joinAll();
      world.submit(0, job(2_000), about);
      await world.runUntil(() => world.runs.length === 1, 5_000);
      const runner = world.hosts.findIndex(({ name }) => name === world.runs[0]?.host);
      world.crash(runner);
      await world.runFor(1_000);
      expect(world.runs[0]?.endedMs).toBeDefined();
      await world.until(world.restart(runner), 5_000);
      expect(await world.runUntil(() => world.pending().length === 0, 60_000)).toBe(true);
    });
    expect(world.submits[0]?.outcome).toBe('acknowledged');
    expect(world.runs.map(({ attempt, exitCode }) => [attempt, exitCode])).toEqual([
      [1, undefined],
      [2, 0],
    ]);
    expect(check(world.evidence(), strict)).toEqual([]);
  });

  it('shows what is still pending when a partition keeps it from its end', async () => {
    const world = new World({ seed: 'parted', peers: 3 });
    await world.run(async () => {
      await world.joinAll();
      world.partition([[0], [1, 2]]);
      await world.runFor(20_000);
      expect(world.pending()).toContain('not every peer sees every other alive and linked');
      world.heal();
      expect(await world.runUntil(() => world.pending().length === 0, 60_000)).toBe(true);
    });
  });

  it('does not start finished tasks again when their requests are repeated at a peer that was away', async () => {
    const world = new World({ seed: 'repeated', peers: 3, slots: 8 });
    await world.run(async () => {
      await world.joinAll();
      const requests = world
        .peer(0)
        .tasks.submitter.reserve(8)
        .ids.map((id) => ({ ...job(50), id }));
      world.crash(2);
      await world.runFor(2_000);
      const submits = requests.map((request) => world.submit(0, request, about));
      await world.runUntil(() => world.told.filter(({ final }) => final).length >= 16, 20_000);
      await world.until(world.restart(2), 5_000);
      await world.clock.runUntil(() => world.isWhole(), 20_000);
      // Before the first anti-entropy: it knows nothing of them, and would own some.
      expect(world.peer(2).replica.heldCount).toBe(0);
      requests.forEach((request, i) => {
        const submitted = submits[i];
        if (submitted !== undefined) world.submitAgain(2, request, submitted);
      });
      expect(await world.runUntil(() => world.pending().length === 0, 60_000)).toBe(true);
    });
    expect(world.runs).toHaveLength(8);
    expect(check(world.evidence(), strict)).toEqual([]);
  });

  it('gives the same trace for the same seed, another one for another seed', async () => {
    const [first, again, other] = [await story('a'), await story('a'), await story('b')];
    expect(again.hash).toBe(first.hash);
    expect(other.hash).not.toBe(first.hash);
    expect(first.pending).toEqual([]);
  });

  it('changes the trace when one byte of one delivered message is flipped', async () => {
    const clean = await story('flip');
    let flipped = 0;
    const spoilt = await story('flip', (world) =>
      world.hub.corruptNext((_from, _to, frameClass, bytes) => {
        if (frameClass !== 'control' || bytes.length < 8) return false;
        flipped += 1;
        return true;
      }, 7),
    );
    expect(flipped).toBe(1);
    expect(spoilt.hash).not.toBe(clean.hash);
  });
});

describe('the trace', () => {
  const hashOf = (...events: [string, ...unknown[]][]): string => {
    const trace = new TraceHash();
    for (const [event, ...args] of events) trace.add(event, args);
    return trace.digest();
  };

  it('tells every byte, every argument, their order and where one ends', () => {
    const frame = new Uint8Array([1, 2, 3]);
    const flipped = new Uint8Array([1, 2, 2]);
    const base = hashOf(['send', 'a', frame], ['get', 'k']);
    expect(hashOf(['send', 'a', new Uint8Array(frame)], ['get', 'k'])).toBe(base);
    const others = [
      hashOf(['send', 'a', flipped], ['get', 'k']),
      hashOf(['get', 'k'], ['send', 'a', frame]),
      hashOf(['send', 'a', frame], ['get', 'k', undefined]),
      hashOf(['send', 'a', frame, 'get'], ['k']),
      hashOf(['send', 'a', [1, 2, 3]], ['get', 'k']),
      hashOf(['send', 'a', frame], ['get', { k: 1 }]),
    ];
    expect(new Set([base, ...others]).size).toBe(others.length + 1);
  });

  it('takes more than its buffer at once', () => {
    const large = new Uint8Array(200_000);
    const other = large.slice();
    other[150_000] = 1;
    expect(hashOf(['put', large])).toBe(hashOf(['put', large.slice()]));
    expect(hashOf(['put', other])).not.toBe(hashOf(['put', large]));
  });

  it('refuses what has no content', () => {
    expect(() => hashOf(['call', () => undefined])).toThrow('function');
  });
});

describe('the traps', () => {
  const uses: [string, () => unknown][] = [
    ['Date', () => Date()],
    ['new Date', () => new Date(0)],
    ['Date.now', () => Date.now()],
    ['Math.random', () => Math.random()],
    ['setTimeout', () => setTimeout(() => undefined, 0)],
    ['setInterval', () => setInterval(() => undefined, 1_000)],
    ['setImmediate', () => setImmediate(() => undefined)],
    ['queueMicrotask', () => queueMicrotask(() => undefined)],
    ['performance', () => performance.now()],
    ['crypto', () => crypto.randomUUID()],
    ['AbortSignal.timeout', () => AbortSignal.timeout(1)],
  ];

  it.each(uses)('throws at %s, by its name, and lets it work again afterwards', (name, use) => {
    const release = trapGlobals();
    let thrown: unknown;
    try {
      use();
    } catch (error) {
      thrown = error;
    } finally {
      release();
    }
    expect(String(thrown)).toBe(`Error: ${name} was used in a simulated world`);
    expect(Date.now()).toBeGreaterThan(0);
    expect(performance.now()).toBeGreaterThan(0);
    expect(Math.random()).toBeLessThan(1);
  });

  it('are set while a world runs and gone when its story throws', async () => {
    const world = new World({ seed: 'traps', peers: 1 });
    const failing = world.run(async () => {
      await world.runFor(1);
      Date.now();
    });
    await expect(failing).rejects.toThrow('Date.now was used in a simulated world');
    expect(Date.now()).toBeGreaterThan(0);
  });
});
