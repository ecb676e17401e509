/** A command that wrote more than a result may hold: its end, as far as it is kept, and what to do about it. */
import { LOG_TAIL_BYTES, OUTPUT_BYTES_MAX } from '../api/limits.ts';
import type { TaskView } from '../api/task.ts';
import { decodeBytes } from './bytes.ts';
import type { Cli } from './context.ts';
import type { StreamName } from './follow.ts';

export interface KeptOutput {
  readonly streams: Readonly<Record<StreamName, Buffer>>;
  readonly sentence: string;
}

export const wroteTooMuch = (task: TaskView): boolean => task.error?.code === 'OUTPUT_TOO_LARGE';

/** The result has none of it; the log may still have its end, and is asked once. */
export async function keptOutput(cli: Cli, id: string): Promise<KeptOutput> {
  const answer = await cli.mesh.call('task.logs', { id }, { patienceMs: 0 });
  const none = Buffer.alloc(0);
  const streams = answer.ok
    ? { stdout: decodeBytes(answer.value.stdout), stderr: decodeBytes(answer.value.stderr) }
    : { stdout: none, stderr: none };
  const isEmpty = streams.stdout.length + streams.stderr.length === 0;
  const kept = isEmpty ? 'nothing of it is kept' : 'this is the end of it';
  const sentence =
    `it wrote more than ${OUTPUT_BYTES_MAX} bytes and was ended; ${kept} ` +
    `('covey logs ${id}'). With --output tail it runs on, and the last ${LOG_TAIL_BYTES} bytes of each stream are kept`;
  return { streams, sentence };
}
