/**
 * Dead letters for tests of operator actions: rows as Weir writes them, inserted into the table as the flusher does.
 */
import { randomUUIDv7 } from 'node:crypto';
import { sql } from '../../src/postgres/connection/drizzle.ts';
import type { ProjectId } from '../../src/event/event.ts';
import { rowEncoder } from '../../src/event/row.ts';
import { createLog } from '../../src/log/log.ts';
import { type BatchId, freezeBatch } from '../../src/pipeline/batch.ts';
import { InsertFailure } from '../../src/pipeline/ports.ts';
import { createDeadLetters } from '../../src/postgres/dead-letters/dead-letters.ts';
import type { Stores } from './stores.ts';

export type Written = { readonly id: string; readonly rows: Buffer; readonly eventIds: readonly string[] };

export type LetterOptions = {
  /** How many rows of which project, in this order. */
  readonly shares: readonly (readonly [projectId: string, count: number])[];
  readonly failure?: InsertFailure;
  readonly ambiguous?: boolean;
  readonly askFirst?: boolean;
  /** The reason, when a person has to decide. */
  readonly quarantined?: string;
  /** Rows that ClickHouse cannot read, added to the first project's. */
  readonly unreadable?: number;
  readonly properties?: string;
  /** As JSON. */
  readonly sessionId?: string;
  readonly receivedAt?: number;
};

export const dataFailure = (code = 27) =>
  new InsertFailure(`ClickHouse error ${code}: Cannot parse input: expected`, { failureClass: 'data', code });

/** Writes one dead letter. */
export async function writeLetter(stores: Pick<Stores, 'postgres'>, options: LetterOptions): Promise<Written> {
  const { shares, failure = dataFailure(), ambiguous = false, askFirst = false, quarantined, unreadable = 0 } = options;
  const eventIds: string[] = [];
  const rowsOf = (projectId: string, count: number, timestamp?: string) => {
    const encode = rowEncoder({
      projectId: projectId as ProjectId,
      source: 'native',
      receivedAt: options.receivedAt ?? Date.now(),
      retentionSeconds: null,
    });
    return Array.from({ length: count }, () => {
      const eventId = randomUUIDv7();
      eventIds.push(eventId);
      const row = encode({
        eventId,
        event: '"signed_up"',
        anonymousId: '"hidden-someone"',
        userId: null,
        timestamp: Date.UTC(2026, 4, 4),
        sessionId: options.sessionId ?? null,
        properties: options.properties ?? '{"plan":"hidden-pro","n":1}',
        extras: '{}',
      });
      return timestamp === undefined ? row : row.replace(/"timestamp":"[^"]*"/, `"timestamp":"${timestamp}"`);
    });
  };
  const envelopes = shares.map(([projectId, count], index) => {
    const bad = index === 0 ? rowsOf(projectId, unreadable, 'no time at all') : [];
    const rows = [...rowsOf(projectId, count), ...bad];
    return { projectId: projectId as ProjectId, eventCount: rows.length, rows: Buffer.from(rows.join('')) };
  });
  const id = randomUUIDv7() as BatchId;
  const batch = freezeBatch(id, envelopes);
  // In one step: a running drain would take a letter that is not quarantined yet.
  await stores.postgres.db.transaction(async (tx) => {
    await createDeadLetters(tx, createLog('silent')).add(batch, { failure, ambiguous, askFirst });
    if (quarantined === undefined) return;
    await tx.execute(
      sql`update failed_events set quarantined_at = now(), quarantine_reason = ${quarantined}, attempt_count = 20, exposed_ms = 5000 where id = ${id}`,
    );
  });
  return { id, rows: Buffer.concat(batch.chunks), eventIds };
}
