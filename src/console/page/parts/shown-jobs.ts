/** Which jobs a page shows. */
import type { ListedJob } from '../../operator/answers.ts';

/** More have been read already. */
const ENDED_SHOWN = 3;

/** Of jobs that are ordered newest first: all that run, so that each can be stopped, then the last that ended. */
export function shownJobs(jobs: readonly ListedJob[]): ListedJob[] {
  const running = jobs.filter(({ state }) => state === 'running');
  const ended = jobs.filter(({ state }) => state !== 'running');
  return [...running, ...ended.slice(0, ENDED_SHOWN)];
}
