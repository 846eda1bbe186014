/**
 * Batches of envelopes that an earlier process had accepted and put into no batch. Boundaries and ids follow from the
 * journal alone, not from settings, clock or chance: every process that recovers the same records, from the journal or
 * from a copy of it, sends the same bytes under the same ids, and ClickHouse takes them once.
 *
 * Another process may nevertheless have sent them under ids of its own: the one from which a copy was taken while it
 * ran, or one whose directory was restored from a backup. So ClickHouse is asked about them before they are sent.
 */
import { hash } from 'node:crypto';
import type { Envelope } from '../event/event.ts';
import { idsOf, splitRows } from '../event/rows.ts';
import { timedUuidOf } from '../event/uuid.ts';
import { type Batch, type BatchId, freezeBatch } from '../pipeline/batch.ts';

export type UnbatchedEnvelope = { readonly sequence: number; readonly envelope: Envelope };

/** Must never change: with other limits another version would cut a copy differently. */
const MAX_EVENTS = 5_000;
const MAX_BYTES = 8 * 1024 * 1024;

/** All the envelopes, in order, each in one batch; a batch exceeds the limits only when a single envelope does. */
export function regroup(envelopes: readonly UnbatchedEnvelope[]): Batch[] {
  const groups: UnbatchedEnvelope[][] = [];
  let events = Infinity;
  let bytes = 0;
  for (const loose of envelopes) {
    const { eventCount, rows } = loose.envelope;
    if (events + eventCount > MAX_EVENTS || bytes + rows.length > MAX_BYTES) {
      groups.push([]);
      events = bytes = 0;
    }
    groups.at(-1)!.push(loose);
    events += eventCount;
    bytes += rows.length;
  }
  return groups.map(batchOf);
}

/** Whether `regroup` has made a batch of the envelopes, under that id: it then holds for its rows what holds for those. */
export const isRegrouped = (id: BatchId, group: readonly UnbatchedEnvelope[]): boolean => idOf(group) === id;

function batchOf(group: readonly UnbatchedEnvelope[]): Batch {
  const envelopes = group.map(({ envelope }) => envelope);
  const sequences = group.map(({ sequence }) => sequence);
  return { ...freezeBatch(idOf(group), envelopes), sequences, mayBeElsewhere: true };
}

/** It determines the age of the batch, as in any batch: that of its first event. */
function idOf(group: readonly UnbatchedEnvelope[]): BatchId {
  const contents = group.map(({ sequence, envelope: { projectId, rows } }) => [
    sequence,
    projectId,
    hash('sha256', rows),
  ]);
  const [first] = splitRows(group[0]!.envelope.rows);
  const arrival = Date.parse((first && idsOf(first)?.receivedAt) ?? '');
  // A row that Weir did not write: its age is unknown, so it counts as old.
  return timedUuidOf(Number.isNaN(arrival) ? 0 : arrival, JSON.stringify(contents)) as BatchId;
}
