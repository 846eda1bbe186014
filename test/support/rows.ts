/** Rows as the front doors write them, good and bad, for both the fakes and the real stores. */
import { rowEncoder } from '../../src/event/row.ts';
import { splitRows } from '../../src/event/rows.ts';
import type { Envelope, ProjectId } from '../../src/event/event.ts';
import { type Batch, type BatchId, freezeBatch } from '../../src/pipeline/batch.ts';
import { PROJECT } from './factory.ts';

/** `unreadable`: refused while reading it. `forbidden`: read, and refused while storing it. */
export type Kind = 'good' | 'unreadable' | 'forbidden';

export type RowSpec = {
  readonly n: number;
  readonly kind?: Kind;
  readonly projectId?: ProjectId;
  readonly receivedAt?: number;
  /** Raw JSON. */
  readonly properties?: string | Buffer;
};

const RECEIVED_AT = Date.UTC(2026, 0, 1, 12);

const uuidOf = (head: string, n: number) => `${head}-8000-8000-${String(n).padStart(12, '0')}`;
export const eventIdOf = (n: number) => uuidOf('01900000-0000', n);
/** Version 7: it tells when it was created. */
export function batchIdAt(epochMs: number, n: number): BatchId {
  const time = epochMs.toString(16).padStart(12, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}-7000-8000-${String(n).padStart(12, '0')}` as BatchId;
}
/** Not version 7: it tells no time. */
export const batchIdOf = (n: number) => uuidOf('01910000-0000', n) as BatchId;

export function rowOf({
  n,
  kind = 'good',
  projectId = PROJECT,
  receivedAt = RECEIVED_AT,
  properties = '{}',
}: RowSpec): Buffer {
  const encode = rowEncoder({ projectId, source: 'native', receivedAt, retentionSeconds: null });
  const text = encode({
    eventId: eventIdOf(n),
    event: kind === 'forbidden' ? '"forbidden"' : '"visit"',
    anonymousId: null,
    userId: '"u1"',
    timestamp: receivedAt,
    sessionId: null,
    properties: Buffer.isBuffer(properties) ? properties.toString('latin1') : properties,
    extras: '{}',
  });
  const bytes = kind === 'unreadable' ? text.replace(/"timestamp":"[^"]*"/, '"timestamp":"never"') : text;
  return Buffer.from(bytes, 'latin1');
}

export const isUnreadable = (row: Buffer) => row.includes('"timestamp":"never"');
export const isForbidden = (row: Buffer) => row.includes('"event":"forbidden"');

export function envelopeOfRows(rows: readonly Buffer[], projectId: ProjectId = PROJECT): Envelope {
  return { projectId, eventCount: rows.length, rows: Buffer.concat(rows) };
}

/** A frozen batch of `specs`; of a single project by default. */
export function batchOf(id: number, specs: readonly RowSpec[]): Batch {
  const envelopes = specs.map((spec) => envelopeOfRows([rowOf(spec)], spec.projectId));
  return freezeBatch(batchIdOf(id), envelopes);
}

/** `count` good rows from number `from`. */
export const goodRows = (count: number, from = 0): RowSpec[] =>
  Array.from({ length: count }, (_, index) => ({ n: from + index }));

/** The numbers of the rows in `chunks`, in order. */
export function numbersIn(chunks: readonly Buffer[]): readonly number[] {
  return chunks.flatMap((chunk) => {
    const known = numbersKnown.get(chunk) ?? splitRows(chunk).map(numberOf);
    numbersKnown.set(chunk, known);
    return known;
  });
}

/** Chunks never change, and the simulation asks for the same ones again and again. */
const numbersKnown = new WeakMap<Buffer, number[]>();

/** The number with which a row was created. */
export function numberOf(row: Buffer): number {
  return Number(row.toString('latin1', NUMBER_AT, NUMBER_AT + 12));
}

const NUMBER_AT = rowOf({ n: 123_456 }).indexOf('000000123456');
