/**
 * What keeps accepted events beyond this process: the journal while it runs, and spill files of whole batches for
 * events that it could neither journal nor store before it ended. The next start takes both up before intake opens.
 */
import { join } from 'node:path';
import type { Clock } from '../runtime/clock.ts';
import type { Config } from '../config/config.ts';
import type { JournalHealth } from '../http/health/health-snapshot.ts';
import type { Idempotency } from '../http/ingest/idempotency.ts';
import { JournalFileUnreadable } from '../journal/disk-failures.ts';
import { nodeFiles, timedFiles } from '../journal/files.ts';
import { type Journal, type OpenedJournal, openJournal } from '../journal/journal.ts';
import { JournalLocked } from '../journal/lock.ts';
import { claimOrigin } from '../journal/origin.ts';
import {
  hasSavedBatches,
  recordLoss,
  readSavedBatches,
  removeSavedBatch,
  saveBatch,
  savedPathOf,
  takeRecordedLosses,
} from '../journal/spill-files.ts';
import { holdsJournal } from '../journal/recover.ts';
import { regroup } from '../journal/regroup.ts';
import { sequencesOfSaved } from '../journal/saved-envelopes.ts';
import { boundedBy, volumeOf } from '../journal/volume.ts';
import type { Log } from '../log/log.ts';
import type { Batch, BatchId } from '../pipeline/batch.ts';
import type { Channel } from '../pipeline/channel-port.ts';
import type { Ledger } from '../pipeline/ledger.ts';

export type Durability = {
  /** null when there is none: events are in memory only. */
  readonly journal: Journal | null;
  /** The one that batches may be in: also where it takes nothing new, until all that it holds is delivered. */
  readonly delivered: Journal | null;
  /** Why a body of this size cannot be made durable where that is required; null when it can. */
  refusal(bytes: number): 'full' | 'failed' | null;
  facts(): JournalHealth | null;
  /** Processes that may hold the same events, because the directory is a copy, and that may still run. */
  readonly others: readonly string[];
  /** Gives the answers of earlier processes to `idempotency`. Comes before `takeUp`. */
  restoreAnswers(idempotency: Idempotency): void;
  /** Gives the events that earlier processes left to the channel, once. Not while one of the `others` runs. */
  takeUp(to: { channel: Channel; ledger: Ledger }): void;
  /** Writes the batch to disk before it returns. Synchronous: the last thing a process may do. */
  save(batch: Batch): void;
  /** Whether no event depends on these files alone, those apart that cannot be read. */
  isEmpty(): boolean;
  close(): Promise<void>;
};

/** The directories of one process. */
export type DurableDirs = { readonly journalDir: string; readonly savedDir: string };

/** The default directories of a process that uses `dataDir` alone. */
export const durableDirs = (dir: string): DurableDirs => ({
  journalDir: join(dir, 'journal'),
  savedDir: join(dir, 'saved'),
});

/** The journal cannot be used at all. The message says what to do. */
export class JournalUnusable extends Error {
  override readonly name = 'JournalUnusable';
}

const SEGMENT_BYTES = 32 * 1024 * 1024;
const MAX_KEYS = 100_000;
const MAX_KEY_BYTES = 64 * 1024 * 1024;

/** Opens the journal as configured. Throws `JournalUnusable` when it is required and cannot be opened. */
export async function openDurability({
  config,
  dirs: { journalDir, savedDir },
  name,
  clock,
  log,
  onSynced,
}: {
  config: Pick<Config, 'journal' | 'workers'>;
  dirs: DurableDirs;
  /** Identifies this process and no other. */
  name: string;
  clock: Clock;
  log: Log;
  /** Called with the duration of each sync of the journal. */
  onSynced: (elapsedMs: number) => void;
}): Promise<Durability> {
  const { mode } = config.journal;
  // Switched off, it still holds what no store has taken.
  const isLeft = mode === 'off' && (await holdsJournal(nodeFiles, journalDir));
  const maxBytes = mode === 'off' && !isLeft ? 0 : boundOf();
  const opened = mode === 'off' && !isLeft ? null : await open();
  const delivered = opened && opened.journal;
  const journal = isLeft ? null : delivered;
  /** Until it is taken up; it would hold all that the earlier process left. */
  let recovered = opened && opened.recovered;
  const origin = delivered && claimOrigin(journalDir, name);
  /** Files of saved batches that cannot be read, set aside or removed. */
  const stuck = new Set<string>();
  const others = isEmpty() ? [] : (origin?.others ?? []);
  /** Batches that have been on this disk since before this start. */
  const earlier = new Set<BatchId>();
  let isHeld = others.length > 0;
  if (!isHeld && origin && origin.others.length > 0) origin.forgetOthers();

  return {
    journal,
    delivered,
    refusal,
    facts,
    others,
    restoreAnswers,
    takeUp,
    save,
    isEmpty,
    close: async () => delivered?.close(),
  };

  function boundOf(): number {
    const wanted = { maxBytes: config.journal.maxBytes, workers: config.workers };
    const volume = volumeOf(journalDir);
    const bound = boundedBy(volume, wanted);
    if (bound < wanted.maxBytes) {
      log.warn(
        { ...wanted, volumeBytes: volume?.totalBytes, usedBytes: bound },
        'the volume is smaller than INGEST_JOURNAL_MAX_BYTES: the journal uses less',
      );
    }
    return bound;
  }

  async function open(): Promise<OpenedJournal | null> {
    // At least eight files, so that settling the oldest one frees an eighth.
    const segmentBytes = Math.min(SEGMENT_BYTES, Math.ceil(maxBytes / 8));
    const limits = { maxBytes, segmentBytes, maxKeys: MAX_KEYS, maxKeyBytes: MAX_KEY_BYTES };
    try {
      const files = timedFiles(nodeFiles, { clock, onSynced });
      return await openJournal({ dir: journalDir, files, clock, log }, limits);
    } catch (error) {
      if (error instanceof JournalLocked) throw new JournalUnusable(error.message, { cause: error });
      const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
      if (mode === 'on') {
        if (error instanceof JournalFileUnreadable) {
          throw new JournalUnusable(
            `${error.file} of the journal in ${journalDir} cannot be read (${code}): make it readable, or, to give up the events that it holds, move it elsewhere`,
            { cause: error },
          );
        }
        throw new JournalUnusable(
          `the journal in ${journalDir} cannot be used (${code}): make it writable, set WEIR_DATA_DIR to another directory, or INGEST_JOURNAL to prefer or off`,
          { cause: error },
        );
      }
      log.error({ err: error, code }, 'journal cannot be used; accepted events are in memory only');
      return null;
    }
  }

  function refusal(bytes: number) {
    if (journal === null || mode !== 'on' || !journal.isFull(bytes)) return null;
    return journal.state().kind === 'ok' ? 'full' : 'failed';
  }

  function facts(): JournalHealth | null {
    return journal && { ...journal.state(), bytes: journal.usage().bytes, maxBytes, isHeld };
  }

  function restoreAnswers(idempotency: Idempotency) {
    for (const answer of recovered?.keys ?? []) idempotency.restore(answer);
  }

  function takeUp({ channel, ledger }: Parameters<Durability['takeUp']>[0]) {
    if (isHeld) origin?.forgetOthers();
    isHeld = false;
    const { batches: saved, damaged, unread } = readSavedBatches(savedDir);
    for (const { path, error } of unread) {
      stuck.add(path);
      log.error({ file: path, err: error }, 'saved batch cannot be read and stays where it is');
    }
    for (const { keptAs, bytes, events } of damaged) {
      stuck.add(keptAs);
      log.error({ file: keptAs, bytes, events }, 'saved batch is damaged and was set aside');
      countLost(events ?? 0, bytes);
    }
    for (const damage of recovered?.damaged ?? []) {
      if (damage.kind === 'bytes' && !damage.torn) countLost(damage.events, damage.bytes);
    }
    const lostBefore = takeRecordedLosses(savedDir);
    if (lostBefore > 0) {
      log.error(
        { events: lostBefore },
        'events of an earlier process are lost: neither the stores nor the disk accepted them',
      );
      countLost(lostBefore, 0);
    }
    const loose = recovered?.envelopes ?? [];
    const inFiles = sequencesOfSaved(saved, loose);
    for (const batch of saved) adoptSaved(batch, inFiles.get(batch.id) ?? []);
    for (const batch of recovered?.batches ?? []) {
      earlier.add(batch.id);
      adopt({ ...batch, mayHaveLanded: true }, () => earlier.delete(batch.id));
    }
    // The journal already holds these as envelopes; it learns of the batches when the flusher takes them.
    const isInFile = new Set([...inFiles.values()].flat());
    for (const batch of regroup(loose.filter(({ sequence }) => !isInFile.has(sequence)))) adopt(batch, () => {});
    recovered = null;
    if (ledger.recovered > 0) log.info({ events: ledger.recovered }, 'recovered events of an earlier process');

    /** Its file is removed when the journal, too, has no envelope of it any more: the next start would send that. */
    function adoptSaved(batch: Batch, sequences: readonly number[]) {
      let holders = 1;
      const release = () => {
        if (--holders === 0) forgetSaved(batch.id);
      };
      earlier.add(batch.id);
      if (sequences.length > 0) {
        holders++;
        delivered!.leaveTo(batch.id, sequences, release);
      }
      adopt(batch, () => {
        earlier.delete(batch.id);
        release();
      });
    }

    function adopt(batch: Batch, onSettled: () => void) {
      channel.adopt(batch, onSettled);
      count(batch.eventCount);
    }

    function countLost(events: number, bytes: number) {
      ledger.lost += events;
      ledger.unreadableBytes += bytes;
    }

    function count(eventCount: number) {
      ledger.accepted += eventCount;
      ledger.recovered += eventCount;
    }
  }

  /** A file that stays costs the next start an insert, which the store recognises. */
  function forgetSaved(id: BatchId) {
    try {
      removeSavedBatch(savedDir, id);
    } catch (error) {
      stuck.add(savedPathOf(savedDir, id));
      log.warn({ err: error, batchId: id }, 'saved batch was delivered, but its file cannot be removed');
    }
  }

  function save(batch: Batch) {
    const isOnDisk = (batch.sequences?.length ?? 0) > 0 || earlier.has(batch.id);
    if (isOnDisk) return;
    try {
      saveBatch(savedDir, batch);
    } catch (error) {
      recordLoss(savedDir, batch);
      throw error;
    }
  }

  function isEmpty() {
    return (delivered?.usage().unsettled ?? 0) === 0 && !hasSavedBatches(savedDir, stuck);
  }
}
