import type { Envelope } from '../event/event.ts';
import type { Log } from '../log/log.ts';
import { type Batch, freezeBatch } from '../pipeline/batch.ts';
import type { KeptAnswer } from '../pipeline/ports.ts';
import type { JournalDamage, FoundJournal } from './recover.ts';
import { isRegrouped } from './regroup.ts';

/** What an earlier process left unsettled. */
export type Recovered = {
  /** Cut and not settled: to be inserted again unchanged. */
  readonly batches: readonly Batch[];
  /** Never cut, in order. */
  readonly envelopes: readonly { readonly sequence: number; readonly envelope: Envelope }[];
  readonly keys: readonly KeptAnswer[];
  readonly damaged: readonly JournalDamage[];
};

/** What the journal hands out at its start, of what it found. */
export function recoveredFrom({ envelopes, batches, keys, damaged }: FoundJournal): Recovered {
  const inBatches = new Set([...batches.values()].flat());
  return {
    batches: [...batches].map(([id, sequences]) => {
      const group = sequences.map((sequence) => ({ sequence, envelope: envelopes.get(sequence)! }));
      const batch = freezeBatch(
        id,
        group.map(({ envelope }) => envelope),
      );
      // A start before this one has put it together, and may not have come to ask about its rows.
      return isRegrouped(id, group) ? { ...batch, mayBeElsewhere: true } : batch;
    }),
    envelopes: [...envelopes].flatMap(([sequence, envelope]) =>
      inBatches.has(sequence) ? [] : { sequence, envelope },
    ),
    keys: [...keys.values()],
    damaged,
  };
}

export function reportDamage(damaged: readonly JournalDamage[], log: Log) {
  for (const damage of damaged) {
    if (damage.kind === 'batch') {
      log.error({ batchId: damage.batchId, missing: damage.missing }, 'events of a journaled batch are unreadable');
    } else {
      const { file, offset, bytes, torn, events } = damage;
      if (torn) log.info({ file, offset, bytes }, 'torn end of the journal truncated');
      else log.error({ file, offset, bytes, events }, 'journal damaged');
    }
  }
}
