/** How many descriptors this process may open, and how many it has: for `covey doctor`. */
import { readdir, readFile } from 'node:fs/promises';

/** Undefined where there is no /proc. */
export async function descriptorUse(): Promise<{ limit: number; open: number } | undefined> {
  try {
    const limits = await readFile('/proc/self/limits', 'latin1');
    const soft = /^Max open files\s+(\d+|unlimited)/m.exec(limits)?.[1];
    if (soft === undefined) return undefined;
    const open = (await readdir('/proc/self/fd')).length;
    return { limit: soft === 'unlimited' ? Number.MAX_SAFE_INTEGER : Number(soft), open };
  } catch {
    // Neither is worth failing for; that there are none left the log says.
    return undefined;
  }
}
