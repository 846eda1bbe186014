/**
 * Reads what an earlier process left. It only reads: nothing on disk is changed here, so a crash while starting costs
 * nothing.
 *
 * Files are named by number. `n.log` continues the files before it; `n.base` holds everything that was not settled when
 * it was created and replaces all files of lower numbers, whether or not they are removed yet. `n.draft` is a base that
 * was never finished.
 */
import type { KeptAnswer } from '../pipeline/ports.ts';
import { basename, join } from 'node:path';
import type { Clock } from '../runtime/clock.ts';
import type { Envelope } from '../event/event.ts';
import type { BatchId } from '../pipeline/batch.ts';
import type { JournalFiles } from './files.ts';
import type { JournalRecord } from './record.ts';
import { JournalFileUnreadable } from './disk-failures.ts';
import { type UnreadableBytes, readSegment } from './segment-format.ts';
import { type SalvagedHead, salvageHeads } from './salvage.ts';

export type FileKind = 'log' | 'base' | 'draft' | 'damaged';
export type JournalFile = { readonly path: string; readonly number: number; readonly kind: FileKind };

/** Something that could not be read back. */
export type JournalDamage =
  /** Bytes that hold no record. `torn`: at the very end, where a crash leaves writes that were never acknowledged. */
  | {
      readonly kind: 'bytes';
      readonly file: string;
      readonly offset: number;
      readonly bytes: number;
      readonly torn: boolean;
      /** Acknowledged events among them that had no other destination, as far as their number is known. */
      readonly events: number;
    }
  /** A batch some of whose envelopes are among the unreadable bytes. */
  | { readonly kind: 'batch'; readonly batchId: BatchId; readonly missing: number };

/** `isCurrent`: it is part of the journal. Other files were replaced by a base, never finished, or set aside. */
export type FoundFile = JournalFile & {
  readonly bytes: number;
  readonly isCurrent: boolean;
  readonly isDamaged: boolean;
};

export type FoundJournal = {
  readonly files: readonly FoundFile[];
  /** By sequence, in order. */
  readonly envelopes: Map<number, Envelope>;
  /** The readable sequences of every batch that was cut and not settled, in the order of its rows. */
  readonly batches: Map<BatchId, readonly number[]>;
  readonly keys: Map<string, KeptAnswer>;
  readonly damaged: JournalDamage[];
  readonly nextSequence: number;
};

export const KEY_LIFETIME_MS = 24 * 60 * 60_000;

/** The map key of an idempotency key. It contains a space, since no project id does. */
export const nameOf = ({ projectId, key }: Pick<KeptAnswer, 'projectId' | 'key'>) => `${projectId} ${key}`;

export const fileName = (number: number, kind: FileKind) => `${String(number).padStart(12, '0')}.${kind}`;

/** Whether an earlier process had a journal in `dir`. */
export async function holdsJournal(files: Pick<JournalFiles, 'list'>, dir: string): Promise<boolean> {
  const names = await files.list(dir).catch(() => []);
  return names.some((name) => /^\d{12}\.(log|base)$/.test(name));
}

/** Everything in `dir` that is not settled. Throws when the directory cannot be listed, and `JournalFileUnreadable`. */
export async function recover(
  { files, clock }: { files: JournalFiles; clock: Clock },
  dir: string,
): Promise<FoundJournal> {
  const all = (await files.list(dir)).flatMap((name) => parseName(dir, name)).sort((a, b) => a.number - b.number);
  const base = all.findLast(({ kind }) => kind === 'base')?.number ?? 0;
  const found = { ...createReading(), damaged: [] as JournalDamage[], files: [] as FoundFile[] };
  const last = all.findLast(({ kind }) => kind === 'log' || kind === 'base');
  const stretches: (UnreadableBytes & { file: string; torn: boolean; remains: readonly SalvagedHead[] })[] = [];

  for (const file of all) {
    const isCurrent = (file.kind === 'log' || file.kind === 'base') && file.number >= base;
    if (!isCurrent) {
      found.files.push({ ...file, bytes: await sizeOf(files, file), isCurrent, isDamaged: false });
      continue;
    }
    const content = await contentOf(files, file);
    const { records, unreadable } = readSegment(content, file.number);
    for (const record of records) found.take(record);
    const damaged = unreadable.filter((stretch) => !(file === last && isRoom(content, stretch)));
    for (const stretch of damaged) {
      const torn = file === last && stretch.offset + stretch.bytes === content.length;
      const remains = torn ? [] : salvageHeads(content, stretch);
      stretches.push({ file: basename(file.path), ...stretch, torn, remains });
    }
    found.files.push({ ...file, bytes: content.length, isCurrent, isDamaged: damaged.length > 0 });
  }
  const { envelopes, batches, incomplete } = found.result();
  // Only now is it known which envelopes were settled, or are in another file too.
  const counted = new Set<number>();
  for (const { remains, ...stretch } of stretches) {
    const lost = remains.filter(({ sequence }) => found.isMissing(sequence) && !counted.has(sequence));
    for (const { sequence } of lost) counted.add(sequence);
    found.damaged.push({
      kind: 'bytes',
      ...stretch,
      events: lost.reduce((sum, { eventCount }) => sum + eventCount, 0),
    });
  }
  for (const [batchId, missing] of incomplete) found.damaged.push({ kind: 'batch', batchId, missing });
  const { files: listed, keys, damaged } = found;
  for (const [name, { at }] of keys) if (at + KEY_LIFETIME_MS <= clock.now()) keys.delete(name);
  return { files: listed, envelopes, batches, keys, damaged, nextSequence: found.nextSequence() };
}

/** The zeros behind the last record, which the next ones would have replaced. */
function isRoom(content: Buffer, { offset, bytes }: UnreadableBytes): boolean {
  return offset + bytes === content.length && content.subarray(offset).every((byte) => byte === 0);
}

async function contentOf(files: JournalFiles, { path }: JournalFile): Promise<Buffer> {
  try {
    return await files.read(path);
  } catch (error) {
    throw new JournalFileUnreadable(basename(path), error);
  }
}

async function sizeOf(files: JournalFiles, { path }: JournalFile): Promise<number> {
  try {
    return await files.size(path);
  } catch {
    // The size only counts against the limit.
    return 0;
  }
}

function parseName(dir: string, name: string): JournalFile[] {
  const match = /^(\d{12})\.(log|base|draft|damaged)$/.exec(name);
  return match ? [{ path: join(dir, name), number: Number(match[1]), kind: match[2] as FileKind }] : [];
}

/** Takes records in the order in which they were written and keeps what none of them has settled. */
function createReading() {
  const envelopes = new Map<number, Envelope>();
  const batches = new Map<BatchId, readonly number[]>();
  const settled = new Set<BatchId>();
  const gone = new Set<number>();
  const keys = new Map<string, KeptAnswer>();
  let highest = 0;

  return { keys, take, result, isMissing, nextSequence: () => highest + 1 };

  /** Whether an envelope of that sequence was neither read nor settled. */
  function isMissing(sequence: number) {
    return !envelopes.has(sequence) && !gone.has(sequence);
  }

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
   * A batch with an unreadable envelope keeps its id and its remaining rows. If it had landed before the crash,
   * ClickHouse knows the id and takes none of it again: nothing doubles. If it had not, the readable rows land: nothing
   * is lost but what the disk lost. As loose envelopes under a new id the first case would double; dropped, the second
   * would lose.
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
