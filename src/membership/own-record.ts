/** This peer's own record: what it says of itself, signed again whenever that changes. */
import type { Identity } from '../ports/identity.ts';
import { type Fact, type SelfRecord, signFact, type Turn } from './fact.ts';
import { compareTurns } from './member.ts';

export type OwnChange = Partial<
  Pick<SelfRecord, 'addresses' | 'labels' | 'stopping' | 'left' | 'shortage'>
>;

export class OwnRecord {
  readonly #identity: Identity;
  #meshId: string;
  #fact: Fact<SelfRecord>;

  constructor(identity: Identity, meshId: string, record: SelfRecord) {
    this.#identity = identity;
    this.#meshId = meshId;
    this.#fact = signFact(identity, meshId, record);
  }

  get fact(): Fact<SelfRecord> {
    return this.#fact;
  }

  get turn(): Turn {
    return this.#fact.statement;
  }

  change(change: OwnChange): Fact<SelfRecord> {
    return this.#sign({ ...this.#next(this.turn), ...change });
  }

  /** A turn above `said`, so that whatever was said of it is about the past. */
  refute(said: Turn): Fact<SelfRecord> {
    const above = compareTurns(said, this.turn) > 0 ? said : this.turn;
    return this.#sign(this.#next(above));
  }

  moveTo(meshId: string): Fact<SelfRecord> {
    this.#meshId = meshId;
    return this.#sign(this.#next(this.turn));
  }

  /**
   * Somebody holds a record of ours from an epoch that we forgot: an old copy of `identity/` was
   * put back.
   */
  moveToEpoch(epoch: number): Fact<SelfRecord> {
    return this.#sign({ ...this.#fact.statement, epoch, incarnation: 0 });
  }

  #next(turn: Turn): SelfRecord {
    const incarnation = turn.incarnation + 1;
    return { ...this.#fact.statement, epoch: turn.epoch, incarnation };
  }

  #sign(record: SelfRecord): Fact<SelfRecord> {
    this.#fact = signFact(this.#identity, this.#meshId, record);
    return this.#fact;
  }
}
