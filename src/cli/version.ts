/** `covey version`: needs no daemon, and reads one small file. */
import { readFile } from 'node:fs/promises';
import { jsonFlag } from './flags.ts';
import type { Verb } from './verb.ts';

export const verb: Verb = {
  configure(command) {
    jsonFlag(command);
  },
  async run(cli) {
    // Two levels up both in a checkout (src/cli) and in a package (dist/cli).
    const file = new URL('../../package.json', import.meta.url);
    const { version } = JSON.parse(await readFile(file, 'utf8')) as { version: string };
    if (cli.options.json === true) await cli.json({ version, node: process.versions.node });
    else await cli.print(`covey ${version}\n`);
    return 0;
  },
};
