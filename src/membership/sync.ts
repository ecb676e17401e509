/**
 * Dissemination: news is published once and may get lost; anti-entropy makes it true. Two peers
 * compare a hash of their views when a link comes up and from time to time, and exchange digests
 * and facts only when it differs.
 */
import { Allowances } from '../base/allowance.ts';
import { pickDistinct } from '../base/random.ts';
import type { PeerId } from '../ports/identity.ts';
import { NEWS_BYTES_MAX } from '../ports/network.ts';
import { decodeEnvelope, encodeEnvelope } from '../wire/envelope.ts';
import type { Core } from './core.ts';
import { type Fact, toWire } from './fact.ts';
import {
  COUNTED_MAX,
  DELTA_ALLOWANCE,
  DELTA_BYTES_MAX,
  DELTA_FACTS_MAX,
  DIGEST_ALLOWANCE,
} from './limits.ts';
import type { Links } from './links.ts';
import type { ControlMessage } from './messages.ts';
import { readList } from './read.ts';

export class Sync {
  readonly #core: Core;
  readonly #links: Links;
  readonly #observersOf: (peerId: PeerId) => readonly PeerId[];
  readonly #views = new Allowances(DIGEST_ALLOWANCE, COUNTED_MAX);
  readonly #digests = new Allowances(DIGEST_ALLOWANCE, COUNTED_MAX);
  readonly #wants = new Allowances(DIGEST_ALLOWANCE, COUNTED_MAX);
  readonly #allowances = new Allowances(DELTA_ALLOWANCE, COUNTED_MAX);

  constructor(core: Core, links: Links, observersOf: (peerId: PeerId) => readonly PeerId[]) {
    this.#core = core;
    this.#links = links;
    this.#observersOf = observersOf;
  }

  /**
   * Tells everybody: published, and sent to a few directly, for a topic that has just been joined
   * delivers nothing yet. The few are as many as a peer has observers, so the cost does not grow
   * with the mesh.
   */
  announce(news: readonly Fact[]): void {
    const { random, config } = this.#core.deps;
    this.#publish(news);
    for (const peerId of pickDistinct(random, this.#links.upPeers(), config.observers)) {
      this.#delta(peerId, news, []);
    }
  }

  tell(peerId: PeerId, fact: Fact): void {
    this.#delta(peerId, [fact], []);
  }

  /**
   * To every peer that is linked, on the very link. Of one that leaves: published alone, it would often be lost, for the
   * links on which gossip passes it on are closed in the same moment. Of a newcomer: who was linked a moment ago hears
   * no news yet.
   */
  tellLinked(facts: readonly Fact[]): void {
    const message = { type: 'delta', facts: facts.map(toWire), want: [] } as const;
    for (const peerId of this.#links.upPeers()) this.#links.send(peerId, message);
  }

  #publish(news: readonly Fact[]): void {
    const facts = news.map(toWire);
    const bytes = encodeEnvelope({ kind: 'message', type: 'news', body: { facts } });
    if (bytes.length > NEWS_BYTES_MAX) return;
    this.#core.telemetry.news.published += 1;
    this.#core.deps.network.publish(bytes);
  }

  /** A newcomer has greeted this peer, its inviter. */
  welcome(facts: readonly Fact[]): void {
    this.#publish(facts);
    this.tellLinked(facts);
  }

  /**
   * Its observers pass on what one that leaves has told them: it may not have had links to all, nor time for news. Asked
   * for before it is taken in, while it still is on the rings.
   */
  #farewellOf(from: PeerId, facts: readonly Fact[]): Fact | undefined {
    const farewell = facts.find(({ statement }) => isFarewell(statement, from));
    const isNews = farewell && !this.#core.view.get(from)?.record.statement.left;
    return isNews && this.#observersOf(from).includes(this.#core.peerId) ? farewell : undefined;
  }

  news(bytes: Uint8Array): void {
    const envelope = decodeEnvelope(bytes);
    const isNews =
      envelope.ok && envelope.value.kind === 'message' && envelope.value.type === 'news';
    const values = isNews ? readList(envelope.value.body.facts, DELTA_FACTS_MAX) : undefined;
    if (!values) {
      this.#core.refused.count('news: not readable');
      return;
    }
    this.#core.telemetry.news.received += 1;
    this.#core.accept(this.#core.read(values), 'news');
  }

  /** With one peer: is there anything to exchange? */
  compareWith(peerId: PeerId): void {
    this.#core.telemetry.rounds.started += 1;
    this.#links.send(peerId, { type: 'view', hash: this.#core.view.hash() });
  }

  compareWithOne(): void {
    const [peerId] = pickDistinct(this.#core.deps.random, this.#links.upPeers(), 1);
    if (peerId !== undefined) this.compareWith(peerId);
  }

  handle(
    from: PeerId,
    message: Extract<ControlMessage, { type: 'view' | 'digest' | 'delta' }>,
  ): void {
    const { view, telemetry } = this.#core;
    if (message.type === 'view') {
      telemetry.rounds.asked += 1;
      if (message.hash === view.hash()) return;
      // Its few bytes are answered with a line for every fact.
      if (!this.#isAllowed(from, this.#views, 'control: too many views')) return;
      telemetry.rounds.askedDifferent += 1;
      this.#links.send(from, { type: 'digest', lines: view.digest() });
      return;
    }
    if (message.type === 'digest') {
      if (!this.#isAllowed(from, this.#digests, 'control: too many digests')) return;
      telemetry.rounds.startedDifferent += 1;
      const { send, want } = view.compare(message.lines);
      if (send.length > 0 || want.length > 0) this.#delta(from, send, want);
      return;
    }
    telemetry.facts.received += message.facts.length;
    if (!this.#allowances.take(from, message.facts.length, this.#core.deps.clock.nowMs())) {
      // What is true comes again, with a comparison of the views.
      this.#core.refused.count('facts: too many at once');
      return;
    }
    const facts = this.#core.read(message.facts);
    const farewell = this.#farewellOf(from, facts);
    this.#core.accept(facts, 'anti_entropy');
    // The same bytes as its own news, so that gossip takes both for one.
    if (farewell) this.#publish([farewell]);
    const isAsking = message.want.length > 0;
    if (!isAsking || !this.#isAllowed(from, this.#wants, 'control: too many wants')) return;
    const wanted = [...new Set(message.want)].map((key) => this.#core.view.fact(key));
    const asked = wanted.filter((fact) => fact !== undefined);
    if (asked.length > 0) this.#delta(from, asked, []);
  }

  #isAllowed(from: PeerId, allowances: Allowances, reason: string): boolean {
    const isAllowed = allowances.take(from, 1, this.#core.deps.clock.nowMs());
    if (!isAllowed) this.#core.refused.count(reason);
    return isAllowed;
  }

  /** Merges and entries go first: without them the records of new members are not accepted. */
  #delta(to: PeerId, facts: readonly Fact[], want: readonly string[]): void {
    this.#core.telemetry.facts.sent += facts.length;
    const ordered = [...facts].sort((a, b) => rank(a) - rank(b));
    for (let at = 0, first = true; first || at < ordered.length; first = false) {
      const page: Fact[] = [];
      for (let bytes = 0; page.length < DELTA_FACTS_MAX && bytes < DELTA_BYTES_MAX; at += 1) {
        const fact = ordered[at];
        if (!fact) break;
        page.push(fact);
        bytes += fact.signed.payload.length;
      }
      this.#links.send(to, { type: 'delta', facts: page.map(toWire), want: first ? want : [] });
    }
  }
}

const isFarewell = (statement: Fact['statement'], from: PeerId): boolean =>
  statement.kind === 'record' && statement.peerId === from && statement.left;

const RANKS = ['merge', 'entry', 'revocation', 'record', 'verdict', 'removal'];
const rank = (fact: Fact): number => RANKS.indexOf(fact.statement.kind);
