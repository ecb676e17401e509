/** Of `covey doctor`: links that are missing or carry in one direction only, and addresses that nobody reaches. */
import { type Case, type Checker, fine, nameIn, names, phrases } from './findings.ts';

interface Pair {
  /** It does not hear the other. */
  readonly deaf: string;
  readonly other: string;
  /** The other has its link to it up all the same. */
  readonly isOneWay: boolean;
}

/** Only between those that answered: both live, and both said what they hear. */
function brokenPairs({ heard }: Case): Pair[] {
  const reports = new Map(heard.map(({ peerId, report }) => [peerId, report]));
  const pairs = new Map<string, Pair>();
  for (const [deaf, { observes }] of reports) {
    for (const { peer_id: other, hears } of observes) {
      const report = reports.get(other);
      if (hears || report === undefined) continue;
      const back = report.observes.find(({ peer_id: id }) => id === deaf);
      const isOneWay = back?.hears ?? report.linked.includes(deaf);
      const key = [deaf, other].sort().join(' ');
      if (!pairs.has(key)) pairs.set(key, { deaf, other, isOneWay });
    }
  }
  return [...pairs.values()];
}

export const linkCheck: Checker = (of) => {
  const pairs = brokenPairs(of);
  if (pairs.length === 0) return fine('links', 'those who observe one another hear one another');
  const told = pairs.map(({ deaf, other, isOneWay }) =>
    isOneWay
      ? `${nameIn(of, other)} hears ${nameIn(of, deaf)}, ${nameIn(of, deaf)} does not hear ${nameIn(of, other)}`
      : `no link between ${nameIn(of, deaf)} and ${nameIn(of, other)}`,
  );
  return {
    check: 'links',
    status: 'fail',
    summary: phrases(told),
    todo: 'Look at the firewall and routes between these hosts, in both directions.',
  };
};

export const addressCheck: Checker = (of) => {
  const byAddress = new Map<string, { owner: string; who: string[]; otherReached: boolean }>();
  for (const { peerId, report } of of.heard) {
    for (const { peer_id: owner, address, result, other_reached } of report.unreached) {
      const key = `${owner} ${address}`;
      const known = byAddress.get(key) ?? { owner, who: [], otherReached: true };
      known.who.push(`${nameIn(of, peerId)} (${result})`);
      byAddress.set(key, { ...known, otherReached: known.otherReached && other_reached });
    }
  }
  if (byAddress.size === 0) return fine('addresses', 'every advertised address was reached');
  const told = [...byAddress].map(
    ([key, { owner, who }]) =>
      `${key.slice(owner.length + 1)} of ${nameIn(of, owner)} was not reached by ${names(who)}`,
  );
  const isLost = [...byAddress.values()].some(({ otherReached }) => !otherReached);
  return {
    check: 'addresses',
    status: isLost ? 'fail' : 'warn',
    summary: phrases(told),
    todo: 'Name addresses that others can reach with --advertise, or open the port.',
  };
};
