/** A row of an event, or its beginning, as somebody may see it. */
import { withExactNumbers } from '../../event/exact-numbers.ts';
import type { EventFilter } from '../../watch/messages.ts';

/** What a row says of its event, in plain values. */
export type ReadRow = {
  readonly projectId: string;
  readonly id: string;
  readonly event: string;
  readonly anonymousId: string | null;
  readonly userId: string | null;
  /** null in a row that is cut. */
  readonly properties: unknown;
  /** Epoch ms; null in a row that is cut. */
  readonly receivedAt: number | null;
  readonly source: string | null;
};

/** What follows is as long as the client likes. It is never inside a text, whose quotes are escaped. */
const PROPERTIES = ',"properties":';

/** null for a line that Weir did not write, or that is cut before its properties. */
export function readRow({ row, isCut }: { readonly row: string; readonly isCut: boolean }): ReadRow | null {
  const text = isCut ? headOf(row) : row;
  if (text === null) return null;
  let read: Record<string, unknown>;
  try {
    read = JSON.parse(text, withExactNumbers) as Record<string, unknown>;
  } catch {
    return null;
  }
  const receivedAt = typeof read['received_at'] === 'string' ? Date.parse(read['received_at']) : NaN;
  return {
    projectId: String(read['project_id']),
    id: String(read['event_id']),
    event: String(read['event']),
    anonymousId: textOf(read['anonymous_id']),
    userId: textOf(read['user_id']),
    properties: isCut ? null : (read['properties'] ?? null),
    receivedAt: Number.isNaN(receivedAt) ? null : receivedAt,
    source: textOf(read['source']),
  };
}

function headOf(row: string): string | null {
  const at = row.indexOf(PROPERTIES);
  return at < 0 ? null : `${row.slice(0, at)}}`;
}

const textOf = (value: unknown) => (typeof value === 'string' ? value : typeof value === 'number' ? `${value}` : null);

/** Whether it is what was asked for; what was found by its bytes may be something else. */
export function isWanted(row: ReadRow, { projectId, event, id, user }: EventFilter): boolean {
  return (
    (projectId === undefined || row.projectId === projectId) &&
    (event === undefined || row.event === event) &&
    (id === undefined || row.id === id.toLowerCase()) &&
    (user === undefined || row.userId === user || row.anonymousId === user)
  );
}
