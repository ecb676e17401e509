/**
 * What is wrong with a mesh, from what its members say of themselves: pure. Each check answers with one finding, the
 * worst of its kind, and what to do about it.
 */
import type { Check } from '../api/methods.ts';
import { formatDuration } from '../base/units.ts';
import type { Report } from './checkup.ts';
import { addressCheck, linkCheck } from './diagnosis-links.ts';
import { type Answer, type Case, type Checker, fine, nameIn, names, phrases } from './findings.ts';

/** What NTP holds is far below; `run_at` and retention go by wall clocks. */
const SKEW_WARN_MS = 1_000;
const SKEW_FAIL_MS = 60_000;
/** A jump that is older has been seen to. */
const JUMP_AGE_MS_MAX = 24 * 3_600_000;
const PAUSE_AGE_MS_MAX = 10 * 60_000;
const REFUSAL_AGE_MS_MAX = 3_600_000;
/** Stores, sockets, links and control connections at their limits; and the pipes of each command. */
const DESCRIPTORS_BASE = 512;
const DESCRIPTORS_PER_SLOT = 8;
const DESCRIPTORS_FULL = 0.9;

/** Those of whom `tell` has something to say, as phrases with their names. */
const findings = (of: Case, tell: (answer: Answer) => string | undefined): string[] =>
  of.heard.flatMap((answer) => {
    const told = tell(answer);
    return told === undefined ? [] : [`${nameIn(of, answer.peerId)}: ${told}`];
  });

const answersCheck: Checker = ({ heard, silent }) => {
  if (silent.length === 0) return fine('answers', `${heard.length} members answered`);
  const told = silent.map(({ name, why }) => `${name}: ${why.replace(/\.$/, '')}`);
  return {
    check: 'answers',
    status: 'warn',
    summary: `${silent.length} did not answer: ${phrases(told)}`,
    todo: 'Look at their hosts, logs and network; what they know is not in the other checks.',
  };
};

const membersCheck: Checker = ({ members }) => {
  const ill = members.filter(({ status }) => status === 'dead' || status === 'suspect');
  if (ill.length === 0) {
    const alive = members.filter(({ status }) => status === 'alive').length;
    return fine('members', `${alive} members are alive`);
  }
  const told = ill.map(({ name, status, evidence }) =>
    evidence === undefined ? `${name} is ${status}` : `${name} is ${status} (${evidence})`,
  );
  return {
    check: 'members',
    status: 'warn',
    summary: phrases(told),
    todo: "Start them again, or say 'covey forget NAME' of one whose store does not come back.",
  };
};

const clockCheck: Checker = (of) => {
  const off = of.heard.filter(({ skewMs, doubtMs }) => Math.abs(skewMs) - doubtMs > SKEW_WARN_MS);
  const told = [
    ...off.map(({ peerId, skewMs }) => {
      const size = formatDuration(Math.round(Math.abs(skewMs)));
      return `${nameIn(of, peerId)} is ${size} ${skewMs > 0 ? 'ahead' : 'behind'}`;
    }),
    ...findings(of, ({ report: { clock_jumps: jumps } }) =>
      jumps === undefined || jumps.ago_ms > JUMP_AGE_MS_MAX
        ? undefined
        : `its clock was set by ${formatDuration(Math.abs(jumps.last_ms))}, ${formatDuration(jumps.ago_ms)} ago`,
    ),
  ];
  if (told.length === 0) return fine('clocks', 'wall clocks agree to a second, none was set');
  const isFar = off.some(({ skewMs, doubtMs }) => Math.abs(skewMs) - doubtMs > SKEW_FAIL_MS);
  return {
    check: 'clocks',
    status: isFar ? 'fail' : 'warn',
    summary: phrases(told),
    todo: 'Run NTP or chrony on every host; run_at, retention and the times shown go by wall clocks.',
  };
};

const storeCheck: Checker = (of) => {
  const told = findings(of, ({ report: { store } }) => {
    const parts = [
      ...(store.renewed_because === undefined
        ? []
        : [`its store became another one: ${store.renewed_because}`]),
      ...(store.set_aside > 0 ? [`${store.set_aside} tasks set aside after a long absence`] : []),
      ...(store.damaged > 0 ? [`${store.damaged} damaged values`] : []),
    ];
    return parts.length === 0 ? undefined : parts.join(', ');
  });
  if (told.length === 0) return fine('stores', 'no store is damaged, renewed or was away too long');
  const isDamaged = of.heard.some(({ report }) => report.store.damaged > 0);
  return {
    check: 'stores',
    status: 'warn',
    summary: phrases(told),
    todo: isDamaged
      ? 'Look at that disk (dmesg, smartctl); damaged records are fetched again from other stores.'
      : "See 'covey status' there and docs/operations.md, Files; a task set aside is submitted again by hand.",
  };
};

const refusalCheck: Checker = (of) => {
  const told = findings(of, ({ report: { refusals } }) => {
    const late = refusals.filter(({ ago_ms }) => ago_ms <= REFUSAL_AGE_MS_MAX);
    const last = late.at(-1);
    if (last === undefined) return undefined;
    const other = nameIn(of, last.peer_id);
    const how = last.by === 'us' ? `refused ${other}` : `was refused by ${other}`;
    const more = late.length > 1 ? ` (and ${late.length - 1} more)` : '';
    return `${how}: ${last.why.replace(/\.$/, '')}${more}`;
  });
  if (told.length === 0) return fine('refusals', 'nobody was refused in the last hour');
  return {
    check: 'refusals',
    status: 'warn',
    summary: phrases(told),
    todo: 'The reason says what is wrong: a store that is a copy, another mesh, a version, or a stranger.',
  };
};

const diskCheck: Checker = (of) => {
  const told = findings(of, ({ report: { room } }) =>
    room === 'ample' ? undefined : `room is ${room}`,
  );
  if (told.length === 0) return fine('disk', 'every store has room');
  const isFull = of.heard.some(({ report: { room } }) => room === 'scarce' || room === 'full');
  return {
    check: 'disk',
    status: isFull ? 'fail' : 'warn',
    summary: phrases(told),
    todo: 'Free space where the data directory lies; low: no new tasks, scarce: no new attempts.',
  };
};

const copiesCheck: Checker = (of) => {
  const { copies, copiesRequired, members, heard } = of;
  const present = members.filter(({ status }) => status === 'alive' || status === 'suspect').length;
  const sum = (pick: (report: Report) => number): number =>
    heard.reduce((total, { report }) => total + pick(report), 0);
  const belowRequired = sum(({ tasks }) => tasks.below_required);
  const belowCopies = sum(({ tasks }) => tasks.below_copies);
  const degraded = present < copiesRequired;
  const told = [
    ...(belowRequired > 0
      ? [`${belowRequired} tasks have fewer than ${copiesRequired} live copies`]
      : []),
    ...(belowCopies > 0 ? [`${belowCopies} tasks have fewer than ${copies}`] : []),
    ...(present < copies ? [`${present} of the ${copies} members that ${copies} copies need`] : []),
  ];
  if (told.length === 0)
    return fine(
      'copies',
      `${sum(({ tasks }) => tasks.looked_at)} unfinished tasks, each with ${copies} live copies`,
    );
  return {
    check: 'copies',
    status: belowRequired > 0 && !degraded ? 'fail' : 'warn',
    summary: told.join('; '),
    todo:
      present < copies
        ? 'Start more members, or set copies and copies_required to what the mesh has.'
        : "Homes grow by themselves within moments; if not, say 'covey forget' of what does not come back.",
  };
};

const versionCheck: Checker = ({ members }) => {
  const present = members.filter(({ status }) => status === 'alive' || status === 'suspect');
  const versions = new Map<string, string[]>();
  for (const { version, name } of present)
    versions.set(version, [...(versions.get(version) ?? []), name]);
  if (versions.size <= 1) return fine('versions', `all run ${[...versions.keys()][0] ?? 'one'}`);
  const told = [...versions].sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    check: 'versions',
    status: 'warn',
    summary: phrases(told.map(([version, who]) => `${version}: ${names(who)}`)),
    todo: 'Finish the upgrade: one version back is served, and no more.',
  };
};

const flappingCheck: Checker = (of) => {
  const flapping = of.heard.flatMap(({ report }) => report.flapping.map(({ peer_id: id }) => id));
  if (flapping.length === 0) return fine('flapping', 'no member comes and goes');
  return {
    check: 'flapping',
    status: 'warn',
    summary: `came back again and again within ten minutes: ${names(flapping.map((id) => nameIn(of, id)))}`,
    todo: "Look at its load, memory and network ('covey monitor' there); each return costs takeovers.",
  };
};

const pauseCheck: Checker = (of) => {
  const told = findings(of, ({ report: { pauses } }) =>
    pauses === undefined || pauses.ago_ms > PAUSE_AGE_MS_MAX
      ? undefined
      : `stood still ${formatDuration(pauses.ago_ms)} ago, for ${formatDuration(pauses.longest_ms)} at most, ${pauses.count} times since its start`,
  );
  if (told.length === 0) return fine('pauses', 'no daemon stood still in the last ten minutes');
  return {
    check: 'pauses',
    status: 'warn',
    summary: phrases(told),
    todo: 'That host had no CPU or memory for its daemon, or was suspended: look for swapping and steal.',
  };
};

const descriptorCheck: Checker = (of) => {
  let status: Check['status'] = 'ok';
  const told = findings(of, ({ report: { descriptors, slots } }) => {
    if (descriptors === undefined) return undefined;
    const { limit, open } = descriptors;
    const needed = DESCRIPTORS_BASE + DESCRIPTORS_PER_SLOT * slots;
    if (open >= limit * DESCRIPTORS_FULL) status = 'fail';
    else if (limit >= needed) return undefined;
    else if (status === 'ok') status = 'warn';
    return `${open} of ${limit} descriptors open, ${needed} may be needed`;
  });
  if (told.length === 0) return fine('descriptors', 'limits of open files are large enough');
  return {
    check: 'descriptors',
    status,
    summary: phrases(told),
    todo: 'Raise LimitNOFILE of the unit, or ulimit -n before coveyd is started.',
  };
};

const CHECKERS: readonly Checker[] = [
  membersCheck,
  answersCheck,
  linkCheck,
  addressCheck,
  copiesCheck,
  storeCheck,
  refusalCheck,
  diskCheck,
  clockCheck,
  pauseCheck,
  flappingCheck,
  versionCheck,
  descriptorCheck,
];

export const diagnose = (of: Case): Check[] => CHECKERS.map((check) => check(of));
