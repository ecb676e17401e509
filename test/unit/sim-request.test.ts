/** What is asked of the simulator, and what it says: faults by name, drawn options, a story, smaller worlds. */
import { describe, expect, it } from 'vitest';
import { Coverage } from '../../src/sim/coverage.ts';
import { FAULT_NAMES } from '../../src/sim/faults.ts';
import { drawOptions } from '../../src/sim/options.ts';
import {
  optionsOf,
  parseFaults,
  parseOverrides,
  type SimRequest,
  smaller,
} from '../../src/sim/request.ts';
import { runSim, SIM_EXIT, type SimOutput } from '../../src/sim/runs.ts';
import { runScenario } from '../../src/sim/scenarios.ts';
import { storyOf } from '../../src/sim/story.ts';
import { World } from '../../src/sim/world.ts';

const REQUEST: SimRequest = {
  seeds: ['1'],
  peers: undefined,
  minutes: undefined,
  faults: FAULT_NAMES,
  mode: undefined,
  overrides: {},
};
const SMALL = { peers: 2, tasks: 3, storyMs: 500, faults: 0 };

function saying(): { lines: string[]; output: SimOutput } {
  const lines: string[] = [];
  const output: SimOutput = {
    say: (line) => lines.push(line),
    trace: undefined,
    json: false,
    log: false,
    twice: false,
    shrink: false,
  };
  return { lines, output };
}

describe('a request', () => {
  it('draws a minute and 100 client operations, the same for the same seed', () => {
    for (let i = 0; i < 200; i++) {
      const options = optionsOf(REQUEST, String(i));
      expect(options).toEqual(optionsOf(REQUEST, String(i)));
      const { tasks, storyMs, peers, chosen } = options;
      expect(tasks + tasks / 3 + tasks / 6).toBeGreaterThanOrEqual(100);
      expect(storyMs).toBeGreaterThanOrEqual(45_000);
      expect(peers).toBeGreaterThanOrEqual(1);
      expect(peers).toBeLessThanOrEqual(9);
      expect(chosen.length).toBeGreaterThan(0);
    }
  });

  it('names faults: all, none, or some; an unknown one is told', () => {
    expect(parseFaults('all')).toEqual(FAULT_NAMES);
    expect(parseFaults('none')).toEqual([]);
    expect(parseFaults('freeze,crash')).toEqual(['crash', 'freeze']);
    expect(parseFaults('crash,frieze')).toEqual({ unknown: 'frieze' });
    expect(optionsOf({ ...REQUEST, faults: [] }, '1')).toMatchObject({ faults: 0, chosen: [] });
  });

  it('takes peers, minutes and overrides as they are given', () => {
    const options = optionsOf(
      { ...REQUEST, peers: 7, minutes: 3, overrides: { tasks: 5, workers: 0 } },
      '1',
    );
    expect(options).toMatchObject({ peers: 7, storyMs: 180_000, tasks: 5, workers: 0 });
  });
});

describe('options in place of what is drawn', () => {
  it('are taken as a failed run prints them', () => {
    const { seed, ...options } = optionsOf(REQUEST, '7');
    expect(parseOverrides(JSON.parse(JSON.stringify(options)))).toEqual(options);
    expect(seed).toBe('7');
  });

  it.each<[unknown, string]>([
    [[], 'must be a JSON object'],
    [{ peer: 3 }, "there is no option 'peer'"],
    [{ peers: '3' }, 'peers is a number'],
    [{ peers: 12 }, 'peers is from 1 to 9'],
    [{ tasks: 1.5 }, 'tasks is a whole number'],
    [{ mode: 'wilder' }, 'mode is calm'],
    [{ chosen: ['frieze'] }, "there is no fault 'frieze'"],
    [{ seed: '3' }, 'given by --seed'],
  ])('%j are refused', (value, why) => {
    expect(parseOverrides(value)).toEqual({ wrong: expect.stringContaining(why) });
  });
});

describe('a smaller world', () => {
  it('has less of one thing, and never less than a world needs', () => {
    const options = optionsOf({ ...REQUEST, overrides: { peers: 1, tasks: 1, faults: 1 } }, '3');
    const cuts = smaller(options);
    expect(cuts).toContainEqual({ faults: 0 });
    expect(cuts.every((cut) => cut.peers === undefined && cut.tasks === undefined)).toBe(true);
    for (const cut of smaller(optionsOf(REQUEST, '4'))) expect(Object.keys(cut)).toHaveLength(1);
  });
});

describe('a run', () => {
  it('says the seed and every drawn option first, then the verdict and the coverage', async () => {
    const { lines, output } = saying();
    const exit = await runSim({ ...REQUEST, overrides: SMALL }, { ...output, twice: true });
    expect(exit).toBe(SIM_EXIT.held);
    expect(lines[0]).toContain('seed 1: {"seed":"1"');
    expect(lines[1]).toMatch(/^ {2}held {2}[0-9a-f]{16} /);
    expect(lines[2]).toMatch(/^coverage: 1 seeds.*not reached: fault crash/);
  });

  it('that crashes says so, and how to run it again', async () => {
    const { lines, output } = saying();
    const overrides = { ...SMALL, shutdownMs: Number.NaN };
    expect(await runSim({ ...REQUEST, overrides }, output)).toBe(SIM_EXIT.crash);
    expect(lines.join('\n')).toMatch(/crash: [\s\S]*again: covey sim --seed 1 --options/);
  });

  it('counts what was reached, and what was not', async () => {
    const coverage = new Coverage();
    coverage.add(await runScenario(drawOptions('1', { ...SMALL, mode: 'calm' })));
    expect(coverage.toJson()).toMatchObject({ seeds: 1, faults: { crash: 0 } });
    expect(coverage.missing()).toContain('fault freeze');
    expect(coverage.missing()).not.toContain('final completed');
  });
});

describe('a story', () => {
  it('tells of the one task that is named, in the order of time', async () => {
    const world = new World({ seed: 'story', peers: 2 });
    const about = { kind: 'exec', attempts: 1, failures: 0 } as const;
    await world.run(async () => {
      await world.joinAll();
      for (let i = 0; i < 2; i++)
        world.submit(i, { exec: { argv: ['job', '50', '0'], cwd: '/' } }, about);
      world.note('fault nothing');
      await world.runFor(3_000);
    });
    const [first, second] = world.submits.map(({ id }) => id ?? '');
    const lines = storyOf(world, [{ rule: 'lost', detail: `task ${second} is gone` }], []);
    const text = lines.join('\n');
    expect(text).toMatch(
      /fault nothing[\s\S]*acknowledges[\s\S]*runs attempt 1[\s\S]*shows completed/,
    );
    const times = lines.map((line) => Number(line.slice(0, 9)));
    expect(times).toEqual([...times].sort((a, b) => a - b));
    expect(first).not.toBe(second);
    expect(lines.filter((line) => line.includes('acknowledges'))).toHaveLength(1);
  });
});
