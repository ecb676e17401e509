/** Agents of Serf with its `lan` profile; their log says each change of a member as it happens. */
import { join } from 'node:path';
import { firstLine } from '../common/launch.ts';
import type { Backend } from './backend.ts';
import type { Status } from './views.ts';

const STATUS_OF_EVENT: Readonly<Record<string, Status>> = {
  Join: 'alive',
  Failed: 'dead',
  Leave: 'left',
};
const EVENT = /EventMember(\w+): (\S+)/;

export const serf = (program: string): Backend => ({
  name: 'serf',
  leftStatus: 'left',
  dialsFromItsAddress: false,
  tokens: async ({ place }, count) =>
    Array.from({ length: count }, () => `${place.host}:${place.port}`),
  start: async ({ owned, views }, place, token) => {
    const { name, host, port, controlPort, dir } = place;
    const args = [`-node=${name}`, `-bind=${host}:${port}`, `-rpc-addr=${host}:${controlPort}`];
    // A join that is refused ends the agent: this way it tries again, as a daemon of Covey does.
    if (token !== undefined) args.push(`-retry-join=${token}`, '-retry-interval=1s');
    const launched = await owned.launch([program, 'agent', '-profile=lan', ...args], {
      logFile: join(dir, 'log'),
    });
    launched.onLine((line) => {
      const [, event = '', subject] = EVENT.exec(line) ?? [];
      const status = STATUS_OF_EVENT[event];
      if (status !== undefined && subject !== undefined) views.note(name, subject, status);
    });
    const ready = await firstLine(launched, name, (line) =>
      line.includes('Serf agent running') ? true : undefined,
    );
    return { place, launched, readyMs: ready.atMs };
  },
});
