/**
 * Whether a frame that may have been appended twice was: the log itself tells, whatever became of the first one since.
 */
import { type BatchId, ageOf, mayBePartOf } from '../pipeline/batch.ts';
import { readHead } from './frame.ts';
import type { Tenure } from './topic-port.ts';

/** By so much an id may be younger than the record of it, by the clock of its maker or of a broker. */
const CLOCK_SLACK_MS = 60_000;
const READ_BYTES = 1024 * 1024;

/**
 * Whether a frame of that id stands before the offset at which it is repeated; null where the log cannot tell: it does
 * not reach back to when the frame was made, or has what may be parts of it, or `end` aborted first. Rejects as
 * `Tenure.read` does.
 */
export async function hasTwin(
  tenure: Pick<Tenure, 'read' | 'offsetAt'>,
  { id, before }: { readonly id: BatchId; readonly before: number },
  end: AbortSignal,
): Promise<boolean | null> {
  // The age at the beginning of time.
  const age = ageOf(id, 0);
  if (age === null) return null;
  const aheadMs = await clockAhead(tenure, before);
  if (end.aborted) return null;
  const start = await tenure.offsetAt(Math.max(0, -age - aheadMs - CLOCK_SLACK_MS));
  if (start === null) return null;
  let hasParts = false;
  for (let offset = start; offset < before;) {
    const { records } = await tenure.read(offset, READ_BYTES);
    if (end.aborted) return null;
    for (const record of records) {
      offset = record.offset + 1;
      if (offset > before) break;
      const head = readHead(record);
      if (head.kind !== 'frame') continue;
      if (head.id === id) return true;
      // The topic may have taken less when it was appended first.
      hasParts ||= mayBePartOf(head.id, id);
    }
  }
  return hasParts ? null : false;
}

/** How far the clock of the frame's maker is ahead of the one by which the log finds its records, as far as the repeat tells. */
async function clockAhead({ read }: Pick<Tenure, 'read'>, repeatAt: number): Promise<number> {
  const { records } = await read(repeatAt, 1);
  const repeat = records.find(({ offset }) => offset === repeatAt);
  const head = repeat && readHead(repeat);
  return head?.kind === 'frame' ? Math.max(0, head.at - repeat!.time) : 0;
}
