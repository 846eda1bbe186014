/** A kept rejected event as it may be displayed: without what it says, unless that is requested. */
import type { Database } from '../postgres/connection/pool.ts';
import { openRejected } from '../postgres/rejected-events/rejected-queries.ts';
import type { RejectedEvent } from '../pipeline/rejected-port.ts';
import { shownObject } from './hidden-values.ts';
import { OperationRefused } from './refused.ts';

export type ShownRejected = Omit<RejectedEvent, 'bytes' | 'facts' | 'receivedAt'> & {
  readonly receivedAt: Date;
  readonly size: number;
  /** The event as text. */
  readonly event: string;
};

/** `isUnsafe`: with the values, which may be personal data. Throws `OperationRefused`, `PostgresFailure`. */
export async function showRejected(
  db: Database,
  { id, isUnsafe }: { id: string; isUnsafe: boolean },
): Promise<ShownRejected> {
  const found = await openRejected(db, id);
  if (found === null) {
    throw new OperationRefused(
      'not-found',
      `Weir has not kept a rejected event ${id}, or no longer: it was replayed, expired, or made room for newer ones.`,
    );
  }
  const { bytes, facts: _, receivedAt, ...entry } = found;
  return { ...entry, receivedAt: new Date(receivedAt), size: bytes.length, event: shownObject(bytes, { isUnsafe }) };
}
