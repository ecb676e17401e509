/** The attempts of every host of a store world: what owners and home stores write about a task. */
import { SeededRandom } from '../../src/base/random.ts';
import type { RecordState } from '../../src/records/record.ts';
import { Attempts } from '../../src/tasks/attempts.ts';
import type { StartFact, TaskHeader } from '../../src/tasks/facts.ts';
import { type Task, taskOf } from '../../src/tasks/task.ts';
import { TaskClock } from '../../src/tasks/task-clock.ts';
import { Visibility } from '../../src/tasks/visibility.ts';
import { type StoreHost, StoreWorld } from './store-world.ts';
import { newRecord } from './task-records.ts';

export interface TaskHost extends StoreHost {
  readonly attempts: Attempts;
  readonly visibility: Visibility;
}

function taskHostOf(stores: StoreWorld, host: StoreHost): TaskHost {
  const visibility = new Visibility({ ...host, clock: stores.clock });
  const attempts = new Attempts({
    taskClock: new TaskClock(stores.clock),
    clock: stores.clock,
    random: new SeededRandom(`attempts ${host.name}`),
    replica: host.replica,
    sharing: host.sharing,
    view: host.view,
    visibility,
    copiesRequired: 2,
    retentionAgeMs: 60_000,
  });
  return { ...host, attempts, visibility };
}

export class AttemptsWorld {
  readonly stores: StoreWorld;
  readonly hosts: TaskHost[];

  private constructor(stores: StoreWorld, hosts: TaskHost[]) {
    this.stores = stores;
    this.hosts = hosts;
  }

  static async of(...names: string[]): Promise<AttemptsWorld> {
    const stores = await StoreWorld.of(...names);
    const hosts = stores.hosts.map((host) => taskHostOf(stores, host));
    return new AttemptsWorld(stores, hosts);
  }

  /** The same disk under a new incarnation, after a crash; answers the ids whose final it hides. */
  async restart(name: string): Promise<string[]> {
    const host = taskHostOf(this.stores, await this.stores.restart(name));
    this.hosts.splice(this.hosts.indexOf(this.host(name)), 1, host);
    return host.visibility.load();
  }

  host(name: string): TaskHost {
    const found = this.hosts.find((host) => host.name === name);
    if (found === undefined) throw new Error(`there is no host ${name}`);
    return found;
  }

  /** A task whose home are all hosts, stored at each. */
  async submit(header: Partial<TaskHeader> = {}): Promise<RecordState> {
    const home = this.hosts.map((host) => host.storeId);
    const record = newRecord(home, { header, stamp: this.stores.clock.wallMs() });
    const [first] = this.hosts;
    if (first === undefined) throw new Error('a world without hosts');
    const plan = { home, required: home.length };
    await this.stores.run(first.sharing.spread({ record, blob: undefined, fresh: true }, plan));
    return record;
  }

  async place(at: TaskHost, id: string, runner = at): Promise<StartFact> {
    const sight = at.view.peer(runner.peerId);
    if (sight === undefined) throw new Error('the runner is not in sight');
    const placed = await this.stores.run(at.attempts.place(id, sight));
    if (typeof placed === 'string') throw new Error(`not placed: ${placed}`);
    return placed.start;
  }

  task(at: TaskHost, id: string): Task {
    const record = at.replica.get(id);
    if (record === undefined) throw new Error(`${at.name} does not hold ${id}`);
    return taskOf(record);
  }
}
