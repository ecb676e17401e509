/**
 * While a simulated world runs, nothing may read the real time, the real randomness or set a real timer: one
 * such call and a seed no longer gives the same run. Each of these globals throws its name until `release`.
 *
 * The host's own modules are no business of this: nothing of `host/` is loaded in a world. Do not trap
 * `setImmediate` of `node:timers`, which the simulated clock keeps for itself.
 */
type Release = () => void;

const TRAPPED_FUNCTIONS = [
  'setTimeout',
  'setInterval',
  'setImmediate',
  'queueMicrotask',
  'fetch',
] as const;

/** Pure ones that libraries need: `instanceof Date` and the reading of its prototype. */
const DATE_MEMBERS = new Set<PropertyKey>(['prototype', 'name', 'length', Symbol.hasInstance]);

function forbidden(name: string): never {
  throw new Error(`${name} was used in a simulated world`);
}

const RealDate = globalThis.Date;

function trappedDate(): DateConstructor {
  return new Proxy(RealDate, {
    apply: () => forbidden('Date'),
    construct: () => forbidden('new Date'),
    get: (target, key) =>
      DATE_MEMBERS.has(key) ? Reflect.get(target, key) : forbidden(`Date.${String(key)}`),
  });
}

/** Replaces a property and answers what puts it back as it was. */
function replace(owner: object, key: PropertyKey, property: PropertyDescriptor): Release {
  const before = Object.getOwnPropertyDescriptor(owner, key);
  Object.defineProperty(owner, key, { ...property, configurable: true });
  return () => {
    if (before === undefined) Reflect.deleteProperty(owner, key);
    else Object.defineProperty(owner, key, before);
  };
}

let active = false;

/** Sets the traps; the answer takes them away again and may be called twice. One world at a time. */
export function trapGlobals(): Release {
  if (active) throw new Error('a simulated world is running already');
  active = true;
  const releases = [
    replace(globalThis, 'Date', { value: trappedDate(), writable: true }),
    replace(Math, 'random', { value: () => forbidden('Math.random'), writable: true }),
    replace(AbortSignal, 'timeout', { value: () => forbidden('AbortSignal.timeout') }),
    ...TRAPPED_FUNCTIONS.map((name) =>
      replace(globalThis, name, { value: () => forbidden(name), writable: true }),
    ),
    ...(['performance', 'crypto'] as const).map((name) =>
      replace(globalThis, name, { get: () => forbidden(name) }),
    ),
  ];
  let released = false;
  return () => {
    if (released) return;
    released = true;
    active = false;
    for (const release of releases) release();
  };
}
