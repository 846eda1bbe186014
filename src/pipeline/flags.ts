/**
 * The facts that decide whether a request may come in, each with one writer,
 * and the pure functions that say what they mean. There is no `setFatal`:
 * `fatal` is derived from batches that have no home, so it ends when they have.
 */

export type Intake = 'open' | 'disabled' | 'draining';

/** What waits in `failed_events`, as the drain last measured it. */
export type DeadLetterDepth = {
  /** Rows that are still replayed; quarantined ones are apart. */
  readonly rows: number;
  readonly events: number;
  readonly bytes: number;
  /** Epoch ms of the oldest row that is still replayed; null when there is none. */
  readonly oldestAt: number | null;
  readonly quarantinedRows: number;
  readonly quarantinedEvents: number;
};

export type Facts = {
  readonly intake: Intake;
  /** Batches that neither ClickHouse nor Postgres would take. */
  readonly unhomed: number;
  /** null until it has been measured: unknown is not zero. */
  readonly deadLetters: DeadLetterDepth | null;
};

export type Flags = {
  facts(): Facts;
  /** Written by the kill switch. Has no effect once draining. */
  setIntake(intake: 'open' | 'disabled'): void;
  /** Written by the shutdown; final. */
  beginDraining(): void;
  /** Written by the flusher, once when a batch becomes unhomed and once when it is not any more. */
  unhomed(change: 1 | -1): void;
  /** Written by the drain. */
  measured(depth: DeadLetterDepth): void;
};

/** Why a request must be turned away now. */
export type Closed = 'ingest_disabled' | 'shutting_down' | 'ingest_down';

export function createFlags({ intake }: { intake: 'open' | 'disabled' }, onChange: (facts: Facts) => void): Flags {
  let facts: Facts = { intake, unhomed: 0, deadLetters: null };

  return {
    facts: () => facts,
    setIntake: (next) => {
      if (facts.intake !== 'draining' && facts.intake !== next) become({ intake: next });
    },
    beginDraining: () => become({ intake: 'draining' }),
    unhomed: (change) => become({ unhomed: facts.unhomed + change }),
    measured: (deadLetters) => {
      facts = { ...facts, deadLetters };
    },
  };

  function become(change: Partial<Facts>) {
    facts = { ...facts, ...change };
    onChange(facts);
  }
}

/** Both stores refused at least one acknowledged batch: accepting more would promise what cannot be kept. */
export const isFatal = (facts: Facts): boolean => facts.unhomed > 0;

/** Why intake is closed, or null to let requests in. */
export function closedBecause(facts: Facts): Closed | null {
  if (facts.intake === 'disabled') return 'ingest_disabled';
  if (facts.intake === 'draining') return 'shutting_down';
  return isFatal(facts) ? 'ingest_down' : null;
}
