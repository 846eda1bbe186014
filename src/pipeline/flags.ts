/**
 * The facts that decide whether a request may come in, each with one writer, and the pure functions that interpret
 * them. There is no `setFatal`: `fatal` is derived from batches that no store takes, so it ends when one does.
 */

/** `elsewhere`: other processes take events, and this one never does. */
export type Intake = 'open' | 'disabled' | 'elsewhere' | 'draining';

/** Which parts of the way of an event a process does; less than all only with a topic between intake and inserts. */
export type Role = 'all' | 'ingest' | 'flush';

/** The contents of `failed_events`, as the drain last measured them. */
export type DeadLetterDepth = {
  /** Letters that are still replayed; quarantined ones are counted apart. */
  readonly rows: number;
  readonly events: number;
  readonly bytes: number;
  /** Epoch ms of the oldest letter that is still replayed; null when there is none. */
  readonly oldestAt: number | null;
  readonly quarantinedRows: number;
  readonly quarantinedEvents: number;
  /** There are too many dead letters to count: the numbers are estimates. */
  readonly isEstimate: boolean;
};

export type Facts = {
  readonly intake: Intake;
  /** Whether the shutdown was announced: events are still accepted, but clients should go elsewhere. */
  readonly isLeaving?: true;
  /** Batches that neither ClickHouse nor Postgres would take. */
  readonly unhomed: number;
  /** null until it has been measured: unknown is not zero. */
  readonly deadLetters: DeadLetterDepth | null;
};

export type Flags = {
  facts(): Facts;
  /** Written by the kill switch. Has no effect once draining, and where intake is elsewhere. */
  setIntake(intake: 'open' | 'disabled'): void;
  /** Written by the shutdown, some time before it begins; final. */
  beginLeaving(): void;
  /** Written by the shutdown; final. */
  beginDraining(): void;
  /** Written by the flusher, once when a batch becomes unhomed and once when that ends. */
  unhomed(change: 1 | -1): void;
  /** Written by the drain. */
  measured(depth: DeadLetterDepth): void;
};

/** Why a request must be turned away now. */
export type ClosedReason = 'ingest_disabled' | 'ingest_elsewhere' | 'shutting_down' | 'ingest_down';

export function createFlags(
  { intake }: { intake: Exclude<Intake, 'draining'> },
  onChange: (facts: Facts) => void,
): Flags {
  let facts: Facts = { intake, unhomed: 0, deadLetters: null };

  return {
    facts: () => facts,
    setIntake: (next) => {
      const isSwitched = facts.intake === 'open' || facts.intake === 'disabled';
      if (isSwitched && facts.intake !== next) become({ intake: next });
    },
    beginLeaving: () => become({ isLeaving: true }),
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

/** Whether this process is about to end, even if it still accepts events. */
export const isEnding = (facts: Facts): boolean => facts.isLeaving === true || facts.intake === 'draining';

/** Both stores refused at least one acknowledged batch: accepting more would promise what cannot be kept. */
export const isFatal = (facts: Facts): boolean => facts.unhomed > 0;

/** Why intake is closed, or null to let requests in. */
export function closedBecause(facts: Facts): ClosedReason | null {
  if (facts.intake === 'disabled') return 'ingest_disabled';
  if (facts.intake === 'elsewhere') return 'ingest_elsewhere';
  if (facts.intake === 'draining') return 'shutting_down';
  return isFatal(facts) ? 'ingest_down' : null;
}
