/**
 * Free TCP ports below the kernel's ephemeral range (32768 up): daemons dial from the same addresses on
 * which they and their relays listen, so a port of that range could be taken by an outgoing connection
 * while its listener is closed.
 */
import { createServer } from 'node:net';

const PORT_MIN = 20_000;
const PORT_MAX = 32_000;
const TRIES_MAX = 200;

const givenOut = new Set<string>();

function isFree(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.on('error', () => resolve(false));
    server.listen({ host, port }, () => server.close(() => resolve(true)));
  });
}

/** A port on which nothing listens at this address; this process never gives it out again. */
export async function freePort(host: string): Promise<number> {
  for (let i = 0; i < TRIES_MAX; i++) {
    const port = PORT_MIN + Math.floor(Math.random() * (PORT_MAX - PORT_MIN));
    const key = `${host}:${port}`;
    if (givenOut.has(key) || !(await isFree(host, port))) continue;
    givenOut.add(key);
    return port;
  }
  throw new Error(`no free port at ${host} between ${PORT_MIN} and ${PORT_MAX}`);
}
