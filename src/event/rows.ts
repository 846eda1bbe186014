import type { ProjectId } from './event.ts';
import { rowEncoder } from './row.ts';

/** Reads rows back, as the dead letters need it. It reads what `row.ts` wrote. */

const LINE_END = 0x0a;

/** The rows of an NDJSON text, each with its line end. The views share the text's memory. */
export function splitRows(ndjson: Buffer): Buffer[] {
  const rows: Buffer[] = [];
  for (let start = 0; start < ndjson.length;) {
    const end = ndjson.indexOf(LINE_END, start);
    const next = end === -1 ? ndjson.length : end + 1;
    rows.push(ndjson.subarray(start, next));
    start = next;
  }
  return rows;
}

export type RowIds = { readonly projectId: string; readonly eventId: string; readonly receivedAt: string };

// Both ids lead every row at a fixed place; the arrival ends it, behind all text from clients.
const HEAD = /^\{"project_id":"([0-9a-f-]{36})","event_id":"([0-9a-f-]{36})","/;
const TAIL = /"received_at":"([0-9TZ:.-]{20,30})"(?:,"expires_at":"[0-9TZ:.-]{20,30}")?\}\n?$/;
const HEAD_BYTES = 128;
const TAIL_BYTES = 128;

/** The ids of one row, or null for a line that Weir did not write. */
export function idsOf(row: Buffer): RowIds | null {
  const head = HEAD.exec(row.toString('latin1', 0, HEAD_BYTES));
  const tail = TAIL.exec(row.toString('latin1', Math.max(0, row.length - TAIL_BYTES)));
  return head && tail ? { projectId: head[1]!, eventId: head[2]!, receivedAt: tail[1]! } : null;
}

/** When the last row of an NDJSON text arrived, in epoch milliseconds; null where Weir did not write it. */
export function arrivalOf(rows: Buffer): number | null {
  const tail = TAIL.exec(rows.toString('latin1', Math.max(0, rows.length - TAIL_BYTES)));
  const at = tail === null ? NaN : Date.parse(tail[1]!);
  return Number.isNaN(at) ? null : at;
}

/** The most ordinary event, with every field filled: a schema that cannot read it is not what Weir created. */
export function ordinaryRow(receivedAt: number): Buffer {
  const encode = rowEncoder({
    projectId: '00000000-0000-0000-0000-000000000000' as ProjectId,
    source: 'native',
    receivedAt,
    retentionSeconds: null,
  });
  const row = encode({
    eventId: '00000000-0000-7000-8000-000000000000',
    event: '"ordinary"',
    anonymousId: '"someone"',
    userId: '"somebody"',
    timestamp: receivedAt,
    sessionId: '"session"',
    properties: '{"some":"text"}',
    extras: '{"other":1}',
  });
  return Buffer.from(row, 'latin1');
}

/** One where it is of no account when it arrived. */
export const ORDINARY_ROW: Buffer = ordinaryRow(Date.UTC(2026, 0, 1));
