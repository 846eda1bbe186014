/**
 * What of the accepted events outlives this process: the journal while it runs,
 * and files of whole batches for what it could neither journal nor give to a
 * store before it ended. Taken up again by the next start, before intake opens.
 */
import { join } from 'node:path';
import type { Clock } from './clock.ts';
import type { Config } from './config.ts';
import type { JournalHealth } from './http/health.ts';
import type { Idempotency } from './http/idempotency.ts';
import { nodeFiles } from './journal/files.ts';
import { type Journal, openJournal } from './journal/journal.ts';
import { JournalLocked } from './journal/lock.ts';
import { hasSavedBatches, readSavedBatches, removeSavedBatch, saveBatch } from './journal/residue.ts';
import type { Log } from './log.ts';
import type { Batch, BatchId } from './pipeline/batch.ts';
import type { Channel } from './pipeline/channel.ts';
import type { Ledger } from './pipeline/ledger.ts';

export type Safekeeping = {
  /** null without one: events are in memory only. */
  readonly journal: Journal | null;
  /** Why a body of that many bytes cannot be kept safe, where it has to be; null when it can. */
  refusal(bytes: number): 'full' | 'failed' | null;
  facts(): JournalHealth | null;
  /** Gives what earlier processes left to the channel, and their answers to `idempotency`. */
  takeUp(to: { channel: Channel; idempotency: Idempotency; ledger: Ledger }): void;
  /** Makes sure that the batch is on disk when this returns. Synchronous: the last thing a process may do. */
  save(batch: Batch): void;
  /** Whether nothing on disk is without another home. */
  isEmpty(): boolean;
  close(): Promise<void>;
};

/** The directories of one process. */
export type KeptIn = { readonly journalDir: string; readonly savedDir: string };

/** Where a process keeps them whose directory this is. */
export const keptIn = (dir: string): KeptIn => ({ journalDir: join(dir, 'journal'), savedDir: join(dir, 'saved') });

/** The journal cannot be used at all. The message says what to do. */
export class JournalUnusable extends Error {
  override readonly name = 'JournalUnusable';
}

const SEGMENT_BYTES = 32 * 1024 * 1024;
const MAX_KEYS = 100_000;
const MAX_KEY_BYTES = 64 * 1024 * 1024;

/** Opens the journal as configured. Throws `JournalUnusable` when it has to be there and cannot. */
export async function openSafekeeping({
  config,
  dirs: { journalDir, savedDir },
  clock,
  log,
}: {
  config: Pick<Config, 'journal'>;
  dirs: KeptIn;
  clock: Clock;
  log: Log;
}): Promise<Safekeeping> {
  const { mode, maxBytes } = config.journal;
  const journal = mode === 'off' ? null : await open();
  /** Batches that stand in the journal since before this start. */
  const earlier = new Set<BatchId>();

  return { journal, refusal, facts, takeUp, save, isEmpty, close: async () => journal?.close() };

  async function open(): Promise<Journal | null> {
    const limits = { maxBytes, segmentBytes: SEGMENT_BYTES, maxKeys: MAX_KEYS, maxKeyBytes: MAX_KEY_BYTES };
    try {
      return await openJournal({ dir: journalDir, files: nodeFiles, clock, log }, limits);
    } catch (error) {
      if (error instanceof JournalLocked) throw new JournalUnusable(error.message, { cause: error });
      const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
      if (mode === 'on') {
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
    return journal && { ...journal.state(), bytes: journal.usage().bytes, maxBytes };
  }

  function takeUp({ channel, idempotency, ledger }: Parameters<Safekeeping['takeUp']>[0]) {
    const { batches: saved, unreadable } = readSavedBatches(savedDir);
    for (const { keptAs } of unreadable) log.error({ file: keptAs }, 'saved batch is damaged and was set aside');
    for (const batch of saved) adopt(batch, () => removeSavedBatch(savedDir, batch.id));
    for (const batch of journal?.recovered.batches ?? []) {
      earlier.add(batch.id);
      adopt({ ...batch, mayHaveLanded: true }, () => earlier.delete(batch.id));
    }
    for (const { envelope, sequence } of journal?.recovered.envelopes ?? []) {
      channel.restore(envelope, sequence);
      count(envelope.eventCount);
    }
    for (const answer of journal?.recovered.keys ?? []) idempotency.restore(answer);
    if (ledger.recovered > 0) log.info({ events: ledger.recovered }, 'events of an earlier process taken up');

    function adopt(batch: Batch, onSettled: () => void) {
      channel.adopt(batch, onSettled);
      count(batch.eventCount);
    }

    function count(eventCount: number) {
      ledger.accepted += eventCount;
      ledger.recovered += eventCount;
    }
  }

  function save(batch: Batch) {
    const isJournaled = (batch.sequences?.length ?? 0) > 0 || earlier.has(batch.id);
    if (!isJournaled) saveBatch(savedDir, batch);
  }

  function isEmpty() {
    return (journal?.usage().unsettled ?? 0) === 0 && !hasSavedBatches(savedDir);
  }
}
