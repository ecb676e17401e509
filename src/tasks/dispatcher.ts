/**
 * Waiting tasks of this owner, and the slots they get: at once on this peer if it has room, else on a peer that
 * grants a credit. Nothing is bound to a peer before a slot is there for it.
 */
import { Heap } from '../base/heap.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import type { WireValue } from '../wire/codec.ts';
import type { Messaging } from '../wire/messaging.ts';
import type { Demand } from './demand.ts';
import type { MeshView, PeerSight } from './mesh-view.ts';
import { type Placement, place } from './place.ts';
import { NO_WORKER, type Slots, WANT_TTL_MS } from './slots.ts';

/** How long a peer that refused a demand is not asked again. */
export const REFUSAL_TTL_MS = 5_000;
/** Wants are repeated before they expire at the other side. */
const WANT_REPEAT_MS = WANT_TTL_MS / 3;
/**
 * What comes while others wait already is not asked for one by one: all in sight have just been asked, and with a thousand
 * members looking at each of them for each task would take longer than all else.
 */
const LOOK_PAUSE_MS = 100;
/** Asked of one peer at once: more would only be returned. */
const WANT_MAX = 256;
/** Peers without a link that are asked at once; they keep the link for a while, and others follow a second later. */
const FAR_ASKED_MAX = 8;

export interface ReadyTask {
  readonly id: string;
  readonly priority: number;
  /** Wall milliseconds of its acceptance. */
  readonly submittedAt: number;
}

interface DemandState {
  readonly ready: Heap<ReadyTask>;
  /**
   * The ids in `ready`. A task that is read again while it waits (a member came back, this process stood still) comes
   * twice; it would lie there twice, and a backlog that nobody takes would grow with every flap of a link.
   */
  readonly ids: Set<string>;
  readonly refused: Map<string, { code: string; detail: string; untilMs: number }>;
  /** Whom this store wants slots of, and how many it still hopes for there. */
  readonly asked: Map<string, number>;
  localUsableUntilMs: number;
  checking: boolean;
  askedAtMs: number;
  /** When it was last looked whom to ask. */
  lookedMs: number;
  /** The last that was asked of those without a link. */
  farthest: string;
}

export interface Credit {
  readonly peerId: string;
  readonly credit: string;
}

export interface DispatcherDeps {
  readonly clock: Clock;
  readonly messaging: Messaging;
  readonly view: MeshView;
  readonly slots: Slots;
  readonly closed: () => boolean;
  /** Whether the task still waits to be started. */
  readonly stillReady: (id: string) => boolean;
  readonly start: (id: string, credit: Credit) => void;
}

/** By priority (0 first), then by age. Not by id: clients reserve ids in blocks, long before they use them. */
const before = (a: ReadyTask, b: ReadyTask): boolean => {
  if (a.priority !== b.priority) return a.priority < b.priority;
  return a.submittedAt !== b.submittedAt ? a.submittedAt < b.submittedAt : a.id < b.id;
};

function mayServe(peer: PeerSight, demand: Demand): boolean {
  if (peer.self || !peer.reachable || peer.status !== 'alive' || peer.stopping) return false;
  if (peer.shortage === 'full') return false;
  if (!demand.startsWith('worker:')) return peer.execEnabled;
  return peer.isLoadUnknown === true || (peer.load.workers[demand.slice(7)]?.total ?? 0) > 0;
}

export class Dispatcher {
  readonly #deps: DispatcherDeps;
  readonly #demands = new Map<Demand, DemandState>();
  #timer: Timer | undefined;

  constructor(deps: DispatcherDeps) {
    this.#deps = deps;
    deps.messaging.onMessage('slot.grant', (from, body) => {
      const credits = Array.isArray(body.credits) ? (body.credits as WireValue[]).map(String) : [];
      if (typeof body.demand === 'string') this.#granted(from, body.demand, credits);
    });
    deps.messaging.onMessage('slot.refuse', (from, body) => {
      const state = this.#demands.get(String(body.demand));
      const code = String(body.code);
      // Asked although it has no worker: its load was old. The next heartbeat tells, and also of a worker that is back.
      const isSoonTold = code === NO_WORKER && deps.view.peer(from)?.isLoadUnknown !== true;
      const untilMs = deps.clock.nowMs() + (isSoonTold ? WANT_REPEAT_MS : REFUSAL_TTL_MS);
      state?.refused.set(from, { code, detail: String(body.detail), untilMs });
    });
  }

  startTimers(): void {
    const tick = (): void => {
      for (const demand of [...this.#demands.keys()]) this.pump(demand);
      this.#timer = this.#deps.clock.after(WANT_REPEAT_MS, tick);
    };
    this.#timer = this.#deps.clock.after(WANT_REPEAT_MS, tick);
  }

  close(): void {
    this.#timer?.cancel();
  }

  add(demand: Demand, task: ReadyTask): void {
    const state = this.#stateOf(demand);
    if (!state.ids.has(task.id)) {
      state.ids.add(task.id);
      state.ready.push(task);
    }
    this.#pump(demand, LOOK_PAUSE_MS);
  }

  /** Capacity was freed here, or the members changed. */
  pumpAll(): void {
    for (const demand of [...this.#demands.keys()]) this.pump(demand);
  }

  /** Where a task with this demand may run, and why not elsewhere. */
  placement(demand: Demand): Placement {
    return place(demand, this.#deps.view.peers(), this.#refusals(demand));
  }

  /** A local slot for a task that was only just created, if one is free and none of its kind waits before it. */
  reserveNow(demand: Demand): string | undefined {
    const state = this.#stateOf(demand);
    if (this.#deps.closed() || state.ready.size > 0) return undefined;
    if (!this.#locallyUsable(demand, state)) return undefined;
    return this.#deps.slots.reserve(demand);
  }

  pump(demand: Demand): void {
    this.#pump(demand, 0);
  }

  /** Others are asked unless that was done less than `pauseMs` ago. */
  #pump(demand: Demand, pauseMs: number): void {
    const state = this.#demands.get(demand);
    if (state === undefined || this.#deps.closed()) return;
    this.#skipStale(state);
    if (this.#locallyUsable(demand, state)) {
      const self = this.#deps.view.self().peerId;
      while (state.ready.size > 0) {
        const credit = this.#deps.slots.reserve(demand);
        if (credit === undefined) break;
        if (!this.#startNext(state, { peerId: self, credit })) this.#deps.slots.release(credit);
      }
    }
    if (state.ready.size === 0) this.#withdraw(demand, state);
    else if (this.#deps.clock.nowMs() - state.lookedMs >= pauseMs) this.#askOthers(demand, state);
  }

  #stateOf(demand: Demand): DemandState {
    let state = this.#demands.get(demand);
    if (state === undefined) {
      state = {
        ready: new Heap(before),
        ids: new Set(),
        refused: new Map(),
        asked: new Map(),
        localUsableUntilMs: 0,
        checking: false,
        askedAtMs: Number.NEGATIVE_INFINITY,
        lookedMs: Number.NEGATIVE_INFINITY,
        farthest: '',
      };
      this.#demands.set(demand, state);
    }
    return state;
  }

  /** Whether this peer can do it at all (its directory exists); asked of the disk now and then. */
  #locallyUsable(demand: Demand, state: DemandState): boolean {
    const now = this.#deps.clock.nowMs();
    if (now < state.localUsableUntilMs) return true;
    if (state.checking) return false;
    state.checking = true;
    void this.#deps.slots.refusalOf(demand).then((refusal) => {
      state.checking = false;
      const untilMs = this.#deps.clock.nowMs() + REFUSAL_TTL_MS;
      const self = this.#deps.view.self().peerId;
      if (refusal === undefined) {
        state.refused.delete(self);
        state.localUsableUntilMs = untilMs;
        this.pump(demand);
      } else state.refused.set(self, { ...refusal, untilMs });
    });
    return false;
  }

  #skipStale(state: DemandState): void {
    for (let top = state.ready.peek(); top !== undefined; top = state.ready.peek()) {
      if (this.#deps.stillReady(top.id)) return;
      this.#pop(state);
    }
  }

  #pop(state: DemandState): ReadyTask | undefined {
    const task = state.ready.pop();
    if (task !== undefined) state.ids.delete(task.id);
    return task;
  }

  #startNext(state: DemandState, credit: Credit): boolean {
    this.#skipStale(state);
    const task = this.#pop(state);
    if (task === undefined) return false;
    this.#deps.start(task.id, credit);
    return true;
  }

  #refusals(demand: Demand): Map<string, { code: string; detail: string }> {
    const now = this.#deps.clock.nowMs();
    const refused = this.#demands.get(demand)?.refused ?? new Map();
    for (const [peer, refusal] of refused) if (refusal.untilMs <= now) refused.delete(peer);
    const here = this.#deps.slots.pausedBecause(demand);
    return here === undefined ? refused : new Map(refused).set(this.#deps.view.self().peerId, here);
  }

  #askOthers(demand: Demand, state: DemandState): void {
    const now = this.#deps.clock.nowMs();
    const refused = this.#refusals(demand);
    const repeat = now - state.askedAtMs >= WANT_REPEAT_MS;
    if (repeat) state.askedAtMs = now;
    state.lookedMs = now;
    const able = this.#deps.view
      .peers()
      .filter((peer) => mayServe(peer, demand) && !refused.has(peer.peerId));
    for (const peer of [...able.filter(({ linked }) => linked), ...this.#someFar(state, able)]) {
      if (repeat || !state.asked.has(peer.peerId)) this.#ask(peer.peerId, demand, state);
    }
  }

  #ask(peerId: string, demand: Demand, state: DemandState): void {
    const n = Math.min(state.ready.size, WANT_MAX);
    state.asked.set(peerId, n);
    this.#deps.messaging.cast(peerId, 'slot.want', { demand, n });
  }

  /** In turn: each costs a dial or a third member, and a mesh may have a thousand of them. */
  #someFar(state: DemandState, able: readonly PeerSight[]): PeerSight[] {
    const far = able.filter(({ linked }) => !linked);
    const next = far.filter(({ peerId }) => peerId > state.farthest);
    const some = [...next, ...far.filter((peer) => !next.includes(peer))].slice(0, FAR_ASKED_MAX);
    state.farthest = some.at(-1)?.peerId ?? '';
    return some;
  }

  #withdraw(demand: Demand, state: DemandState): void {
    for (const peer of state.asked.keys())
      this.#deps.messaging.cast(peer, 'slot.want', { demand, n: 0 });
    state.asked.clear();
    state.askedAtMs = Number.NEGATIVE_INFINITY;
    state.lookedMs = Number.NEGATIVE_INFINITY;
    const idle = this.#deps.clock.nowMs() > state.localUsableUntilMs && !state.checking;
    if (idle) this.#demands.delete(demand);
  }

  #granted(from: string, demand: Demand, credits: readonly string[]): void {
    const state = this.#demands.get(demand);
    const unused: string[] = [];
    for (const credit of credits) {
      const started =
        state !== undefined &&
        !this.#deps.closed() &&
        this.#startNext(state, { peerId: from, credit });
      if (!started) unused.push(credit);
    }
    if (unused.length > 0) this.#deps.messaging.cast(from, 'slot.return', { credits: unused });
    if (state !== undefined) this.#askOnceMore(from, demand, state, credits.length);
  }

  /** Many became ready in a moment, as after a death: the first of them asked for one slot, and got it. */
  #askOnceMore(from: string, demand: Demand, state: DemandState, granted: number): void {
    const hoped = state.asked.get(from);
    if (hoped === undefined) return;
    state.asked.set(from, hoped - granted);
    if (hoped > granted) return;
    state.asked.delete(from);
    if (state.ready.size === 0 || this.#deps.closed()) return;
    const peer = this.#deps.view.peer(from);
    const isAble = peer !== undefined && mayServe(peer, demand);
    if (isAble && !this.#refusals(demand).has(from)) this.#ask(from, demand, state);
  }
}
