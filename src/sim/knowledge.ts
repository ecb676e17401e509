/** Which attempts the daemons of each host knew of, and when: they are judged by what they could know. */

/** From then until another disk took it away. */
interface Span {
  readonly fromMs: number;
  toMs: number;
}

export class Knowledge {
  /** By host and run id. */
  readonly #spans = new Map<string, Map<string, Span[]>>();

  learned(host: string, runId: string, nowMs: number): void {
    const known = this.#spans.get(host) ?? new Map<string, Span[]>();
    this.#spans.set(host, known);
    const spans = known.get(runId) ?? [];
    if (spans.at(-1)?.toMs === Number.POSITIVE_INFINITY) return;
    known.set(runId, [...spans, { fromMs: nowMs, toMs: Number.POSITIVE_INFINITY }]);
  }

  /** Its copy is gone, to those in whose home it lies. */
  forgot(host: string, runIds: ReadonlySet<string>, nowMs: number): void {
    for (const runId of runIds) {
      const last = this.#spans.get(host)?.get(runId)?.at(-1);
      if (last !== undefined) last.toMs = Math.min(last.toMs, nowMs);
    }
  }

  /** Its disk has other contents: of the attempts that its daemons knew it has only these now. */
  replaced(host: string, kept: ReadonlySet<string>, nowMs: number): void {
    for (const [runId, spans] of this.#spans.get(host) ?? []) {
      const last = spans.at(-1);
      if (last !== undefined && !kept.has(runId)) last.toMs = Math.min(last.toMs, nowMs);
    }
  }

  /** The host that knew of it before all others. */
  firstOf(runId: string): { readonly host: string; readonly atMs: number } | undefined {
    let first: { host: string; atMs: number } | undefined;
    for (const [host, known] of this.#spans) {
      const atMs = known.get(runId)?.[0]?.fromMs;
      if (atMs !== undefined && (first === undefined || atMs < first.atMs)) first = { host, atMs };
    }
    return first;
  }

  knew(host: string, runId: string, atMs: number): boolean {
    const spans = this.#spans.get(host)?.get(runId) ?? [];
    return spans.some(({ fromMs, toMs }) => fromMs <= atMs && atMs < toMs);
  }

  /** Each time that a host came to know of an attempt. */
  *all(): Generator<{ host: string; runId: string; atMs: number }> {
    for (const [host, known] of this.#spans)
      for (const [runId, spans] of known)
        for (const { fromMs } of spans) yield { host, runId, atMs: fromMs };
  }
}
