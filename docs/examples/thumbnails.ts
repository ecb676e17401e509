// In your own program: import { connect } from 'covey';
import { connect } from '../../src/client/index.ts';

const covey = await connect();

await covey.work('thumbnail', async (image: { path: string }, { signal, progress }) => {
  progress('reading');
  signal.throwIfAborted(); // the task was canceled, or taken from this worker
  return { made: `${image.path}.small` };
});

const { id } = await covey.submit({ type: 'thumbnail', payload: { path: 'cat.png' }, attempts: 3 });
const task = await covey.waitFor(id);
process.stdout.write(`${task.state}: ${JSON.stringify(task.result)}\n`);
await covey.close();
