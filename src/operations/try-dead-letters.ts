/** Finds out what a replay would do, without changing anything. */
import { splitRows } from '../event/rows.ts';
import { failureOf } from '../pipeline/outcome.ts';
import type { EventStoreName } from '../pipeline/storage-port.ts';
import { type EventStore, InsertFailure, type Inspection } from '../pipeline/ports.ts';
import type { Database } from '../postgres/connection/pool.ts';
import { type OpenedDeadLetter, createDeadLetterQueries } from '../postgres/dead-letters/dead-letter-queries.ts';
import type { Selection } from '../postgres/dead-letters/selection.ts';
import { type Progress, UNSEEN } from './progress.ts';
import { OperationRefused } from './refused.ts';
import { SAMPLE_SIZE, countSelected, totalOf } from './selected-dead-letters.ts';

/** What the event store would do with one dead letter. `unknown` rows were not examined. */
export type Trial = {
  readonly id: string;
  readonly events: number;
  readonly wouldPass: number;
  readonly refused: number;
  readonly unknown: number;
  /** The first refused rows, by their place from 0. */
  readonly reasons: readonly { readonly row: number; readonly code: number | null; readonly message: string }[];
};

/** `total`: selected letters, which may be more than were tried. */
export type Trials = { readonly letters: readonly Trial[]; readonly total: number };

const REASONS_KEPT = 20;

export type TrialRequest = {
  readonly selection: Selection;
  readonly sample: number | null;
  /** The most reasons that are kept of all letters together, the first ones; the rows are counted all the same. */
  readonly maxReasons?: number;
};

/** `name`: of the store, for messages. */
export type Inspector = { readonly name: EventStoreName; readonly store: Pick<EventStore, 'inspect'> };

type Stores = { readonly db: Database; readonly events: Inspector };

/**
 * Asks the event store which rows it would take. Of more letters than `sample` it tries the oldest and the newest; null
 * means all letters that were named by id, and `SAMPLE_SIZE` of others. Throws `OperationRefused`, `PostgresFailure`.
 */
export async function tryDeadLetters(
  { db, events }: Stores,
  { selection, sample, maxReasons = Infinity }: TrialRequest,
  progress: Progress = UNSEEN,
): Promise<Trials> {
  const queries = createDeadLetterQueries(db);
  const total = totalOf(await progress.during('Counting', countSelected(db, selection))).letters;
  const size = sample ?? (selection.by === 'ids' ? total : SAMPLE_SIZE);
  const tried: Selection =
    total <= size
      ? selection
      : { by: 'ids', ids: await progress.during('Choosing a sample', queries.ends(selection, size)) };
  const letters: Trial[] = [];
  let reasons = 0;
  for await (const opened of queries.openAll(tried)) {
    const trial = await tryDeadLetter(opened, events);
    letters.push({ ...trial, reasons: trial.reasons.slice(0, Math.max(0, maxReasons - reasons)) });
    reasons += trial.reasons.length;
    progress.done({ letters: letters.length });
  }
  return { letters, total };
}

async function tryDeadLetter(
  { letter: { id, eventCount }, rows }: OpenedDeadLetter,
  events: Inspector,
): Promise<Trial> {
  if (rows === null) {
    const reasons = [{ row: 0, code: null, message: 'the payload is damaged and cannot be read' }];
    return { id, events: eventCount, wouldPass: 0, refused: eventCount, unknown: 0, reasons };
  }
  const all = splitRows(rows);
  const { refusals, isComplete } = await inspect(all, events);
  const refused = refusals.reduce((sum, refusal) => sum + refusal.rows.length, 0);
  const reasons = refusals.flatMap(({ failure: { code, message }, rows: places }) =>
    places.map((row) => ({ row, code, message })),
  );
  const rest = all.length - refused;
  return {
    id,
    events: all.length,
    wouldPass: isComplete ? rest : 0,
    refused,
    unknown: isComplete ? 0 : rest,
    reasons: reasons.sort((one, other) => one.row - other.row).slice(0, REASONS_KEPT),
  };
}

async function inspect(rows: readonly Buffer[], { name, store }: Inspector): Promise<Inspection> {
  let found: Inspection = { refusals: [], isComplete: false };
  const failure = await failureOf(store.inspect(rows).then((inspection) => (found = inspection)));
  if (failure === null) return found;
  if (!(failure instanceof InsertFailure)) throw failure;
  throw new OperationRefused(
    'store',
    `${name} has a problem unrelated to these rows (${failure.failureClass}): ${failure.message}. See \`weir doctor\`. Nothing was changed.`,
    { cause: failure },
  );
}
