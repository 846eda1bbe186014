/**
 * Reads what an earlier process left. Pure reading: nothing on disk is changed
 * here, so a crash while starting costs nothing.
 *
 * Files are named by number. `n.log` continues the files before it; `n.base`
 * holds everything that was not settled when it was made and replaces all
 * files of lower numbers, whether or not they are gone yet. `n.draft` is a base
 * that was never finished.
 */
import type { KeptAnswer } from '../pipeline/ports.ts';
import { basename, join } from 'node:path';
import type { Clock } from '../clock.ts';
import type { Envelope } from '../event/event.ts';
import type { BatchId } from '../pipeline/batch.ts';
import type { JournalFiles } from './files.ts';
import { type JournalRecord, readSegment } from './record.ts';

export type FileKind = 'log' | 'base' | 'draft' | 'damaged';
export type JournalFile = { readonly path: string; readonly number: number; readonly kind: FileKind };

/** Something that could not be read back. */
export type Damage =
  /** Bytes that hold no record. `torn`: at the very end, which is what a crash leaves of writes nobody was told of. */
  | {
      readonly kind: 'bytes';
      readonly file: string;
      readonly offset: number;
      readonly bytes: number;
      readonly torn: boolean;
    }
  /** A file that could not be read at all. */
  | { readonly kind: 'file'; readonly file: string; readonly cause: unknown }
  /** A batch of which some envelopes are among the unreadable bytes. */
  | { readonly kind: 'batch'; readonly batchId: BatchId; readonly missing: number };

/** `isCurrent`: it is part of the journal. What is not was replaced by a base, or never finished, or set aside. */
export type FoundFile = JournalFile & {
  readonly bytes: number;
  readonly isCurrent: boolean;
  readonly isDamaged: boolean;
};

export type Found = {
  readonly files: readonly FoundFile[];
  /** By sequence, in order. */
  readonly envelopes: Map<number, Envelope>;
  /** The readable sequences of every batch that was cut and not settled, in the order of its rows. */
  readonly batches: Map<BatchId, readonly number[]>;
  readonly keys: Map<string, KeptAnswer>;
  readonly damaged: Damage[];
  readonly nextSequence: number;
};

export const KEY_LIFETIME_MS = 24 * 60 * 60_000;

/** The name under which a key is remembered. A space, as no project id holds one. */
export const nameOf = ({ projectId, key }: Pick<KeptAnswer, 'projectId' | 'key'>) => `${projectId} ${key}`;

export const fileName = (number: number, kind: FileKind) => `${String(number).padStart(12, '0')}.${kind}`;

/** Everything in `dir` that is not settled. Only a directory that cannot be listed makes it throw. */
export async function recover({ files, clock }: { files: JournalFiles; clock: Clock }, dir: string): Promise<Found> {
  const all = (await files.list(dir)).flatMap((name) => parseName(dir, name)).sort((a, b) => a.number - b.number);
  const base = all.findLast(({ kind }) => kind === 'base')?.number ?? 0;
  const found = { ...createReading(), damaged: [] as Damage[], files: [] as FoundFile[] };
  const last = all.findLast(({ kind }) => kind === 'log' || kind === 'base');

  for (const file of all) {
    const isCurrent = (file.kind === 'log' || file.kind === 'base') && file.number >= base;
    if (!isCurrent) {
      found.files.push({ ...file, bytes: await sizeOf(files, file), isCurrent, isDamaged: false });
      continue;
    }
    const content = await contentOf(files, file);
    if (!Buffer.isBuffer(content)) {
      found.damaged.push({ kind: 'file', file: basename(file.path), cause: content });
      found.files.push({ ...file, bytes: await sizeOf(files, file), isCurrent, isDamaged: true });
      continue;
    }
    const { records, unreadable } = readSegment(content, file.number);
    for (const record of records) found.take(record);
    for (const { offset, bytes } of unreadable) {
      const torn = file === last && offset + bytes === content.length;
      found.damaged.push({ kind: 'bytes', file: basename(file.path), offset, bytes, torn });
    }
    found.files.push({ ...file, bytes: content.length, isCurrent, isDamaged: unreadable.length > 0 });
  }
  const { envelopes, batches, incomplete } = found.result();
  for (const [batchId, missing] of incomplete) found.damaged.push({ kind: 'batch', batchId, missing });
  const { files: listed, keys, damaged } = found;
  for (const [name, { at }] of keys) if (at + KEY_LIFETIME_MS <= clock.now()) keys.delete(name);
  return { files: listed, envelopes, batches, keys, damaged, nextSequence: found.nextSequence() };
}

async function contentOf(files: JournalFiles, { path }: JournalFile): Promise<unknown> {
  try {
    return await files.read(path);
  } catch (error) {
    return error;
  }
}

async function sizeOf(files: JournalFiles, { path }: JournalFile): Promise<number> {
  try {
    return await files.size(path);
  } catch {
    // It only counts against the limit; that it is unreadable is said elsewhere.
    return 0;
  }
}

function parseName(dir: string, name: string): JournalFile[] {
  const match = /^(\d{12})\.(log|base|draft|damaged)$/.exec(name);
  return match ? [{ path: join(dir, name), number: Number(match[1]), kind: match[2] as FileKind }] : [];
}

/** Takes records in the order they were written and keeps what none of them has settled. */
function createReading() {
  const envelopes = new Map<number, Envelope>();
  const batches = new Map<BatchId, readonly number[]>();
  const settled = new Set<BatchId>();
  const gone = new Set<number>();
  const keys = new Map<string, KeptAnswer>();
  let highest = 0;

  return { keys, take, result, nextSequence: () => highest + 1 };

  function take(record: JournalRecord): void {
    switch (record.type) {
      case 'envelope': {
        const { sequence, envelope, key } = record;
        highest = Math.max(highest, sequence);
        // A copy: a view would keep the whole segment in memory.
        if (!gone.has(sequence)) envelopes.set(sequence, { ...envelope, rows: Buffer.from(envelope.rows) });
        if (key !== null) keys.set(nameOf(key), key);
        return;
      }
      case 'batch': {
        const sequences = record.ranges.flatMap(sequencesIn);
        for (const sequence of sequences) highest = Math.max(highest, sequence);
        if (!settled.has(record.batchId)) batches.set(record.batchId, sequences);
        return;
      }
      case 'settled':
        settled.add(record.batchId);
        for (const sequence of record.ranges.flatMap(sequencesIn)) drop(sequence);
        batches.delete(record.batchId);
        return;
      case 'withdrawn':
        highest = Math.max(highest, record.sequence);
        drop(record.sequence);
        return;
      case 'key':
        keys.set(nameOf(record.key), record.key);
    }
  }

  function drop(sequence: number) {
    envelopes.delete(sequence);
    gone.add(sequence);
  }

  /**
   * A batch of which an envelope is unreadable keeps its id and what is left of
   * it. If it had landed before the crash, ClickHouse knows the id and takes none
   * of it again: nothing doubles. If it had not, what is readable lands: nothing
   * more is lost than what the disk lost. As loose envelopes under a new id the
   * first case would double; dropped, the second would lose.
   */
  function result() {
    const incomplete = new Map<BatchId, number>();
    for (const [batchId, sequences] of batches) {
      const readable = sequences.filter((sequence) => envelopes.has(sequence));
      if (readable.length < sequences.length) incomplete.set(batchId, sequences.length - readable.length);
      if (readable.length === 0) batches.delete(batchId);
      else batches.set(batchId, readable);
    }
    return { envelopes: new Map([...envelopes].sort(([a], [b]) => a - b)), batches, incomplete };
  }
}

function sequencesIn({ first, last }: { first: number; last: number }): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}
