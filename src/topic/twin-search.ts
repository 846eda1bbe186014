/**
 * Whether a frame that may have been appended twice was: the log itself tells, whatever became of the first one since.
 */
import { type BatchId, ageOf } from '../pipeline/batch.ts';
import { readHead } from './frame.ts';
import type { Tenure } from './topic-port.ts';

/** By so much an id may be younger than the record of it, by the clock of its maker or of a broker. */
const CLOCK_SLACK_MS = 60_000;
const READ_BYTES = 1024 * 1024;

/**
 * Whether a frame of that id stands before the offset; null where the log does not reach back to when it was made, or
 * `end` aborted first. Rejects as `Tenure.read` does.
 */
export async function hasTwin(
  { read, offsetAt }: Pick<Tenure, 'read' | 'offsetAt'>,
  { id, before }: { readonly id: BatchId; readonly before: number },
  end: AbortSignal,
): Promise<boolean | null> {
  // The age at the beginning of time.
  const madeAt = ageOf(id, 0);
  if (madeAt === null) return null;
  const start = await offsetAt(Math.max(0, -madeAt - CLOCK_SLACK_MS));
  if (start === null) return null;
  for (let offset = start; offset < before;) {
    const { records } = await read(offset, READ_BYTES);
    if (end.aborted) return null;
    for (const record of records) {
      if (record.offset >= before) return false;
      const head = readHead(record);
      if (head.kind === 'frame' && head.id === id) return true;
      offset = record.offset + 1;
    }
  }
  return false;
}
