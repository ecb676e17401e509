/** What `npm start` shows: on a terminal a progress line with the members' states, elsewhere a line a phase. */
import { MultiBar, type SingleBar } from 'cli-progress';
import type { MemberView } from '../api/methods.ts';
import { formatDuration, SECOND_MS } from '../base/units.ts';
import type { Report } from './demo-run.ts';

const DRAWS_PER_SECOND = 5;
const DIFFERENCES_SHOWN_MAX = 20;
const MARKS = { alive: '●', suspect: '◐', dead: '✗', left: '○', removed: '○' } as const;

export const membersText = (members: readonly MemberView[]): string =>
  members.map((member) => `${member.name} ${MARKS[member.status]}`).join('  ');

export class Display {
  readonly #bars: MultiBar | undefined;
  #bar: SingleBar | undefined;

  constructor(isTerminal: boolean) {
    if (!isTerminal) return;
    this.#bars = new MultiBar({
      format: '{phase} {bar} {value}/{total} files  {eta_formatted} left  {members}',
      stream: process.stderr,
      fps: DRAWS_PER_SECOND,
      barsize: 20,
      hideCursor: null,
      linewrap: false,
      clearOnComplete: true,
    });
  }

  /** A line that stays. */
  say(text: string): void {
    if (this.#bars && this.#bar) this.#bars.log(`${text}\n`);
    else process.stderr.write(`${text}\n`);
  }

  phase(name: string, total: number): void {
    this.#bar = this.#bars?.create(total, 0, { phase: name, members: '' });
  }

  progress(done: number): void {
    this.#bar?.update(done);
  }

  members(members: readonly MemberView[]): void {
    this.#bar?.update({ members: membersText(members) });
  }

  endPhase(): void {
    if (this.#bar) this.#bars?.remove(this.#bar);
    this.#bar = undefined;
  }

  stop(): void {
    this.endPhase();
    this.#bars?.stop();
  }
}

/** For people; `--json` prints the report itself. */
export function summaryOf(report: Report): string {
  const seconds = (value: number) => formatDuration(value * SECOND_MS);
  const millis = (value: number | null) => (value === null ? '-' : formatDuration(value));
  const rows: readonly (readonly [string, string])[] = [
    ['files', `${report.files} in ${report.tasks} tasks, ${report.completed} completed`],
    ['lost', String(report.lost)],
    ['duplicates', String(report.duplicates)],
    ['double runs', String(report.double_runs)],
    ['starts', `${report.attempts}, ${report.retaken} of them retaken from the killed daemon`],
    ['death seen by all', `${millis(report.detect_ms)} after SIGKILL`],
    ['work retaken', `${millis(report.takeover_ms_max)} after SIGKILL, at the latest`],
    ['time', `${seconds(report.wall_s)}, plain xargs ${seconds(report.plain_s)}`],
    ['CPU', seconds(report.cpu_s)],
  ];
  return rows.map(([name, value]) => `${`${name}:`.padEnd(20)}${value}\n`).join('');
}

export function differencesText(differences: readonly string[]): string {
  const shown = differences.slice(0, DIFFERENCES_SHOWN_MAX).map((line) => `  ${line}\n`);
  const more = differences.length - shown.length;
  return shown.join('') + (more > 0 ? `  … and ${more} more\n` : '');
}
