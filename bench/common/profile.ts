/** Where the time of a .cpuprofile, the memory of a .heapprofile and the calls of a run went: by function. */

interface CallFrame {
  readonly functionName: string;
  readonly url: string;
  readonly lineNumber: number;
}

interface Node {
  readonly id: number;
  readonly callFrame: CallFrame;
  readonly children?: readonly number[];
}

interface HeapNode {
  readonly callFrame: CallFrame;
  readonly selfSize: number;
  readonly children: readonly HeapNode[];
}

export interface HeapProfile {
  readonly head: HeapNode;
}

export interface FunctionBytes {
  readonly at: string;
  readonly selfBytes: number;
  readonly inclusiveBytes: number;
}

/** What functions have allocated, the greediest first. */
export function functionBytes({ head }: HeapProfile): FunctionBytes[] {
  const self = new Map<string, number>();
  const inclusive = new Map<string, number>();
  const walk = (node: HeapNode, above: ReadonlySet<string>): number => {
    const name = nameOf(node.callFrame);
    const inside = new Set(above).add(name);
    const below = node.children.reduce((sum, child) => sum + walk(child, inside), 0);
    const total = node.selfSize + below;
    self.set(name, (self.get(name) ?? 0) + node.selfSize);
    if (!above.has(name)) inclusive.set(name, (inclusive.get(name) ?? 0) + total);
    return total;
  };
  walk(head, new Set());
  return [...inclusive]
    .map(([at, bytes]) => ({ at, selfBytes: self.get(at) ?? 0, inclusiveBytes: bytes }))
    .sort((a, b) => b.selfBytes - a.selfBytes);
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
      const name = nameOf(nodes.get(at)?.callFrame);
      if (at === id) self.set(name, (self.get(name) ?? 0) + ms);
      if (!seen.has(name)) inclusive.set(name, (inclusive.get(name) ?? 0) + ms);
      seen.add(name);
    }
  }
  return [...inclusive]
    .map(([at, inclusiveMs]) => ({ at, selfMs: self.get(at) ?? 0, inclusiveMs }))
    .sort((a, b) => b.selfMs - a.selfMs);
}

/** What the inspector says of the calls of one file. */
export interface FileCalls {
  readonly url: string;
  readonly functions: readonly {
    readonly functionName: string;
    readonly ranges: readonly { readonly startOffset: number; readonly count: number }[];
  }[];
}

export interface FunctionCalls {
  /** `name file`: of functions of one name in one file, all of them together. */
  readonly at: string;
  readonly calls: number;
}

/** How often functions of the project itself were called, the most often first. */
export function functionCalls(files: readonly FileCalls[]): FunctionCalls[] {
  const calls = new Map<string, number>();
  for (const { url, functions } of files) {
    const file = pathOf(url);
    if (!file.startsWith('src/')) continue;
    for (const { functionName, ranges } of functions) {
      const at = `${functionName === '' ? '(anonymous)' : functionName} ${file}`;
      calls.set(at, (calls.get(at) ?? 0) + (ranges[0]?.count ?? 0));
    }
  }
  return [...calls].map(([at, count]) => ({ at, calls: count })).sort((a, b) => b.calls - a.calls);
}

/** As seen from the root of the project, or of the package, which may have a src/ of its own. */
function pathOf(url: string): string {
  const path = url.replace(/^file:\/\//, '');
  const at = path.lastIndexOf('/node_modules/');
  return at >= 0 ? path.slice(at + '/node_modules/'.length) : path.replace(/^.*?\/(?=src\/)/, '');
}

function nameOf(frame: CallFrame | undefined): string {
  if (frame === undefined) return '(unknown)';
  const { functionName, url, lineNumber } = frame;
  const name = functionName === '' ? '(anonymous)' : functionName;
  if (url === '') return name;
  return `${name} ${pathOf(url)}:${lineNumber + 1}`;
}
