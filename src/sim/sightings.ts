/**
 * What a world was seen to reach: error codes that were answered, on the control socket and between peers, states in
 * which tasks were shown, with their reasons, and the edges between them. Coverage is counted by it.
 */
import { DELAYED_REASONS, FAILED_REASONS, TASK_STATES, WAITING_REASONS } from '../api/task.ts';
import { ERROR_CODES, type ErrorCode, isErrorCode } from '../base/errors.ts';
import { bytesEqual } from '../base/hash.ts';
import { decodeAdmit } from '../membership/hello.ts';
import type { Peer } from '../peer/peer.ts';
import type { Clock } from '../ports/clock.ts';
import type { Network, NetworkHandlers } from '../ports/network.ts';
import type { Fact, RecordState } from '../records/record.ts';
import { edgeName, isStateEdge, STATE_EDGES, type TaskEdge } from '../tasks/states.ts';
import { type Task, taskOf } from '../tasks/task.ts';
import { standingOf } from '../tasks/view.ts';
import { decodeEnvelope } from '../wire/envelope.ts';
import { MEMBER_STATES, MEMBER_WAYS, watchMembers } from './member-sightings.ts';
import { passDown, passUp } from './pass-on.ts';

/** The first bytes of a refusal: a CBOR array of four, and its kind. */
const REFUSAL = [0x84, 0x03] as const;

const REASONS = {
  delayed: DELAYED_REASONS,
  waiting: WAITING_REASONS,
  failed: FAILED_REASONS,
} as const;

/** Everything that there is to reach, from the tables of the product. */
export const REACHABLE = {
  codes: Object.keys(ERROR_CODES) as ErrorCode[],
  states: TASK_STATES.flatMap((state): string[] =>
    state === 'delayed' || state === 'waiting' || state === 'failed'
      ? REASONS[state].map((reason) => `${state}(${reason})`)
      : [state],
  ),
  edges: Object.entries(STATE_EDGES).flatMap(([from, ways]) =>
    ways.map((to) => edgeName(from as TaskEdge[0], to)),
  ),
  members: MEMBER_STATES,
  member_edges: MEMBER_WAYS,
} as const;

export type Reached = Readonly<Record<keyof typeof REACHABLE, Readonly<Record<string, number>>>>;

type Dot = Pick<Fact, 'store' | 'seq'>;
const dotText = ({ store, seq }: Dot): string => `${store}/${seq}`;

export class Sightings {
  readonly #counts = {
    codes: new Map<string, number>(),
    states: new Map<string, number>(),
    edges: new Map<string, number>(),
    members: new Map<string, number>(),
    member_edges: new Map<string, number>(),
  };
  readonly #clock: Clock;
  /** A task, or a member, went where no edge leads. */
  readonly #onWrongEdge: (detail: string) => void;

  constructor(clock: Clock, onWrongEdge: (detail: string) => void) {
    this.#clock = clock;
    this.#onWrongEdge = onWrongEdge;
  }

  #count(what: keyof typeof REACHABLE, name: string): void {
    const counts = this.#counts[what];
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }

  /** Somebody was answered with this error. */
  code(code: string): void {
    if (isErrorCode(code)) this.#count('codes', code);
  }

  /** A client was shown a task so. */
  state(state: string, reason: string | undefined): void {
    const full = `${state}(${reason})`;
    this.#count('states', REACHABLE.states.includes(full) ? full : state);
  }

  reached(): Reached {
    const { codes, states, edges, members, member_edges } = this.#counts;
    const sorted = (counts: Map<string, number>) => Object.fromEntries([...counts].sort());
    return {
      codes: sorted(codes),
      states: sorted(states),
      edges: sorted(edges),
      members: sorted(members),
      member_edges: sorted(member_edges),
    };
  }

  /** The edges that tasks take by what this peer writes (what it merely hears of may be several at once), and members. */
  listenTo(peer: Peer): void {
    const { storeId } = peer.identity;
    // What a boot wrote that a rolled-back disk forgot comes back as somebody else's.
    const bootSeq = peer.identity.seq();
    const isOwn = ({ store, seq }: Dot): boolean => store === storeId && seq > bootSeq;
    const last = new Map<string, string>();
    watchMembers(peer.membership, {
      state: (state) => this.#count('members', state),
      edge: (edge) => this.#count('member_edges', edge),
      wrongEdge: (detail) => this.#onWrongEdge(`${detail} as ${storeId.slice(0, 8)} sees it`),
    });
    peer.replica.onGone(({ id }) => last.delete(id));
    peer.replica.onVisible((after, before) => {
      if (after.kind === 'task') this.#look(isOwn, last, after, before);
    });
  }

  #look(
    isOwnDot: (dot: Dot) => boolean,
    last: Map<string, string>,
    after: RecordState,
    before: RecordState | undefined,
  ): void {
    const stateOf = (task: Task) => standingOf(task, this.#clock.wallMs()).state;
    const { final } = taskOf(after);
    const from = before === undefined ? 'new' : stateOf(taskOf(before));
    const to = stateOf(taskOf(after));
    // Dot by dot: the clock of a disk that was rolled back covers what it lost.
    const known = new Set(before?.facts.map(dotText));
    const fresh = from === to ? [] : after.facts.filter((fact) => !known.has(dotText(fact)));
    const isOwn = fresh.every(isOwnDot);
    // What comes back to a store that lost it is no creation.
    const isBack = before === undefined && fresh.some(({ value }) => value.t !== 'start');
    // Two programs took one id for two tasks: the join has chosen the other one, which is no step of this one.
    const isAnother = before !== undefined && !bytesEqual(before.header, after.header);
    // Time alone has made it due since this peer last looked.
    if (last.get(after.id) === 'delayed' && from === 'waiting')
      this.#edge('delayed', 'waiting', '');
    last.set(after.id, to);
    // Why it waits only its owner knows; how it ended everybody reads.
    if (final !== undefined && from !== to) this.state(final.state, final.reason);
    if (!isOwn || isBack || isAnother || from === to) return;
    // Where the copy was damaged, an end brings its start along: two steps in one write.
    const types = fresh.map(({ value }) => value.t);
    const isBoth = types.includes('start') && types.includes('end') && to !== 'active';
    if (isBoth && from !== 'active') this.#edge(from, 'active', after.id);
    this.#edge(isBoth ? 'active' : from, to, after.id);
  }

  #edge(from: TaskEdge[0], to: TaskEdge[1], id: string): void {
    this.#count('edges', edgeName(from, to));
    if (!isStateEdge(from, to)) this.#onWrongEdge(`task ${id} went from ${from} to ${to}`);
  }

  /** The same network; refusals that go out through it are noted. */
  heed(network: Network): Network {
    return {
      ...passDown(network),
      start: (handlers, listen) => {
        const admitRequest: NetworkHandlers['admitRequest'] = (from, bytes) => {
          const answer = handlers.admitRequest(from, bytes);
          answer.then(
            (frame) => this.#admit(frame),
            () => undefined,
          );
          return answer;
        };
        return network.start({ ...passUp(handlers), admitRequest }, listen);
      },
      admitCall: (peerId, bytes, timeoutMs) => {
        this.#admit(bytes);
        return network.admitCall(peerId, bytes, timeoutMs);
      },
      send: (to, frameClass, bytes) => {
        if (bytes[0] === REFUSAL[0] && bytes[1] === REFUSAL[1]) this.#refusal(bytes);
        return network.send(to, frameClass, bytes);
      },
    };
  }

  #refusal(bytes: Uint8Array): void {
    const envelope = decodeEnvelope(bytes);
    if (envelope.ok && envelope.value.kind === 'refusal') this.code(envelope.value.code);
  }

  #admit(bytes: Uint8Array | undefined): void {
    const frame = bytes === undefined ? undefined : decodeAdmit(bytes);
    if (frame?.ok !== true) return;
    const { value } = frame;
    if (value.type === 'refuse' || value.type === 'refused') this.code(value.error.code);
  }
}
