/** Where the time of a .cpuprofile went: by function, in itself and with all that it called. */

interface Node {
  readonly id: number;
  readonly callFrame: {
    readonly functionName: string;
    readonly url: string;
    readonly lineNumber: number;
  };
  readonly children?: readonly number[];
}

export interface CpuProfile {
  readonly nodes: readonly Node[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

export interface FunctionTime {
  /** `name file:line`, the file as seen from the root of the project or of its package. */
  readonly at: string;
  readonly selfMs: number;
  /** A function that calls itself is counted once. */
  readonly inclusiveMs: number;
}

/** The most expensive first, in themselves. */
export function functionTimes(profile: CpuProfile): FunctionTime[] {
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
  const parents = new Map<number, number>();
  for (const { id, children = [] } of profile.nodes) {
    for (const child of children) parents.set(child, id);
  }
  const perNode = new Map<number, number>();
  profile.samples.forEach((id, i) => {
    perNode.set(id, (perNode.get(id) ?? 0) + (profile.timeDeltas[i] ?? 0) / 1_000);
  });
  const self = new Map<string, number>();
  const inclusive = new Map<string, number>();
  for (const [id, ms] of perNode) {
    const seen = new Set<string>();
    for (let at: number | undefined = id; at !== undefined; at = parents.get(at)) {
      const name = nameOf(nodes.get(at));
      if (at === id) self.set(name, (self.get(name) ?? 0) + ms);
      if (!seen.has(name)) inclusive.set(name, (inclusive.get(name) ?? 0) + ms);
      seen.add(name);
    }
  }
  return [...inclusive]
    .map(([at, inclusiveMs]) => ({ at, selfMs: self.get(at) ?? 0, inclusiveMs }))
    .sort((a, b) => b.selfMs - a.selfMs);
}

function nameOf(node: Node | undefined): string {
  if (node === undefined) return '(unknown)';
  const { functionName, url, lineNumber } = node.callFrame;
  const name = functionName === '' ? '(anonymous)' : functionName;
  if (url === '') return name;
  const file = url.replace(/^file:\/\//, '').replace(/^.*\/(?=node_modules\/|src\/)/, '');
  return `${name} ${file.replace(/^.*node_modules\//, '')}:${lineNumber + 1}`;
}
