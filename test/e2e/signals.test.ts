/** What a service manager and an impatient person do to one daemon: readiness told to systemd, and SIGTERM twice. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { openConnection } from '../../src/client/index.ts';
import { descendantsOf, refOf, waitUntilGone } from '../../src/testnet/processes.ts';
import { GONE_MS, Ledger, TEST_MS } from './mesh.ts';
import { atEnd, daemons } from './setting.ts';

async function scratch(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'covey-signals-'));
  atEnd(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

/** Asks again until there is an answer; the test's own time limit ends it. */
async function until<T>(ask: () => Promise<T | undefined>): Promise<T> {
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    await delay(10);
  }
}

/** Node has no datagrams on Unix sockets. Prints one line when it listens, then one for each datagram. */
const MANAGER = `
import json, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print(json.dumps('bound'), flush=True)
while True:
    # The descriptor of a barrier is closed by not being taken.
    print(json.dumps(s.recv(4096).decode()), flush=True)
`;

/** For hosts without systemd; behind its own systemd-notify on the PATH. */
const SYSTEMD_NOTIFY = `#!/usr/bin/env python3
import os, socket, sys
pids = [a.removeprefix('--pid=') for a in sys.argv if a.startswith('--pid=')]
assert '--ready' in sys.argv and len(pids) == 1, sys.argv
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.sendto(f'READY=1\\nMAINPID={pids[0]}'.encode(), os.environ['NOTIFY_SOCKET'])
`;

test(
  'NOTIFY_SOCKET: systemd is told READY=1 of this process, when the socket answers',
  async () => {
    const dir = await scratch();
    const address = join(dir, 'notify.sock');
    await writeFile(join(dir, 'systemd-notify'), SYSTEMD_NOTIFY, { mode: 0o755 });
    const manager = spawn('python3', ['-c', MANAGER, address], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    atEnd(async () => {
      if (manager.exitCode !== null || manager.signalCode !== null) return;
      const exited = once(manager, 'exit');
      manager.kill('SIGKILL');
      await exited;
    });
    const told: string[] = [];
    const lines = createInterface({ input: manager.stdout });
    lines.on('line', (line) => told.push(JSON.parse(line) as string));
    await Promise.race([
      once(lines, 'line'),
      once(manager, 'error').then(([error]) => {
        throw new Error(`this test needs python3 on the PATH, 3.8 or later: ${String(error)}`);
      }),
    ]);
    const made = await daemons();
    const PATH = `${process.env.PATH ?? ''}:${dir}`;
    const daemon = await made.start('notifying', [], { NOTIFY_SOCKET: address, PATH });
    const opened = await openConnection(String(daemon.ready.socket));
    expect(opened.ok).toBe(true);
    if (opened.ok) opened.value.close();
    await until(async () => (told.some((text) => text.includes('READY=1')) ? true : undefined));
    const fields = told.join('\n').split('\n');
    expect(fields).toContain('READY=1');
    expect(fields).toContain(`MAINPID=${daemon.pid}`);
    const { code, stderr } = await daemon.kill('SIGTERM');
    expect({ code, complains: stderr.includes('systemd') }).toEqual({ code: 0, complains: false });
  },
  TEST_MS,
);

test(
  'the first SIGTERM waits for what runs, the second ends the daemon with 1 and everything it started',
  async () => {
    const made = await daemons();
    const daemon = await made.start('impatient', ['--shutdown-timeout', '10m']);
    const opened = await openConnection(String(daemon.ready.socket));
    if (!opened.ok) throw new Error(opened.error.message);
    atEnd(async () => opened.value.close());
    const ledger = new Ledger(join(made.dir, 'starts'));
    // A child of the shell, and both deaf: only the end of the whole group ends them.
    const { exec } = ledger.command("trap '' TERM; sleep 600 & wait");
    const submitted = await opened.value.call('task.submit', { exec: { ...exec, cwd: '/' } });
    if (!submitted.ok) throw new Error(submitted.error.message);
    const running = await until(async () => {
      const [start] = await ledger.starts();
      const shell = start && (await refOf(start.pid));
      const children = start === undefined ? [] : await descendantsOf([start.pid]);
      return shell && children.length > 0 ? [shell, ...children] : undefined;
    });
    const stopped = daemon.kill('SIGTERM');
    await until(async () => {
      const status = await opened.value.call('system.status', {});
      return status.ok && status.value.stopping ? true : undefined;
    });
    await daemon.kill('SIGTERM');
    expect(await stopped).toMatchObject({ code: 1, signal: null });
    expect(await waitUntilGone(running, GONE_MS)).toEqual([]);
  },
  TEST_MS,
);
