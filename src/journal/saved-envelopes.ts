/**
 * Envelopes that are in a spill file and in the journal. A process that ends while the journal writes saves what it has
 * acknowledged of that write, and the journal may come to have it all the same. As a batch of the journal beside the one
 * of the file, it would be asked about and inserted while that is.
 */
import { hash } from 'node:crypto';
import type { Batch, BatchId } from '../pipeline/batch.ts';
import type { UnbatchedEnvelope } from './regroup.ts';

const LINE_END = 0x0a;

/** For each of the saved batches, the sequences of the envelopes that it holds. Rows tell: they have ids. */
export function sequencesOfSaved(
  saved: readonly Pick<Batch, 'id' | 'chunks'>[],
  envelopes: readonly UnbatchedEnvelope[],
): ReadonlyMap<BatchId, readonly number[]> {
  if (saved.length === 0 || envelopes.length === 0) return new Map();
  const byFirstRow = Map.groupBy(envelopes, ({ envelope: { rows } }) => firstRowOf(rows, 0).digest);
  return new Map(saved.map(({ id, chunks }) => [id, sequencesIn(Buffer.concat(chunks))]));

  /** An envelope that was found is in no other place. */
  function sequencesIn(rows: Buffer): number[] {
    const sequences: number[] = [];
    for (let at = 0; at < rows.length;) {
      const { digest, end } = firstRowOf(rows, at);
      const candidates = byFirstRow.get(digest) ?? [];
      const found = candidates.findIndex(({ envelope }) => isAt(rows, at, envelope.rows));
      const [here] = found === -1 ? [] : candidates.splice(found, 1);
      if (here) sequences.push(here.sequence);
      at = here ? at + here.envelope.rows.length : end;
    }
    return sequences;
  }
}

function firstRowOf(rows: Buffer, at: number): { digest: string; end: number } {
  const end = rows.indexOf(LINE_END, at) + 1 || rows.length;
  return { digest: hash('sha256', rows.subarray(at, end)), end };
}

const isAt = (rows: Buffer, at: number, sought: Buffer) => rows.subarray(at, at + sought.length).equals(sought);
