import type { RebuildState } from '../pipeline/storage-port.ts';
import { grouped } from './wording.ts';

/** A sentence for an operator; only what `weir doctor` puts behind its name when the rebuild is done. */
export function describeRebuild(state: RebuildState): string {
  if (state.kind === 'done') return 'sorted so that copies of an event collapse';
  if (state.kind === 'blocked')
    return `events_raw_v1 is sorted as in earlier versions and cannot be rebuilt: ${state.why}.`;
  const { doing, rows, total, waitsFor } = state;
  const part = total === 0 ? '' : `, ${Math.floor((100 * rows) / total)} % of ${grouped(total)} rows`;
  const waits = waitsFor === null ? '' : `; waits for ${waitsFor}`;
  return `events_raw_v1 is being rebuilt: ${doing}${part}${waits}. weir serve does so in the background, weir migrate --rebuild without pauses.`;
}
