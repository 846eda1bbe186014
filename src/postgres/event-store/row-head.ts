import { stringOf } from '../../event/raw-json.ts';
import { idsOf } from '../../event/rows.ts';
import { readableText } from './readable-row.ts';

/** What tells an event from every other one, and when it arrived. */
export type RowHead = {
  readonly projectId: string;
  readonly eventId: string;
  readonly event: string;
  readonly receivedAt: string;
};

const EVENT = /^\{"project_id":"[^"]*","event_id":"[^"]*","event":("(?:[^"\\]|\\.)*")/;
/** Both ids, and a name in escapes. */
const HEAD_BYTES = 4_096;

/** Of one row, as the table has it; null for a line that Weir did not write. */
export function rowHeadOf(row: Buffer): RowHead | null {
  const ids = idsOf(row);
  const event = EVENT.exec(row.toString('latin1', 0, HEAD_BYTES))?.[1];
  if (ids === null || event === undefined) return null;
  return { ...ids, event: stringOf(readableText(event)) };
}
