/**
 * Sorts the rows of a refused batch: good ones, those to blame, and those that a schema refuses which refuses ordinary
 * events too. Such a schema may have broken, and then the rows are fine; or it has never accepted such values, and then
 * they are bad. The other rows decide which: the refused ones are to blame where most rows that were inspected with
 * them pass.
 */
import type { Clock } from '../runtime/clock.ts';
import { splitRows } from '../event/rows.ts';
import { fingerprintOf } from './outcome.ts';
import type { DeadLetterPart } from './dead-letter-port.ts';
import type { EventStore, RowRefusal } from './ports.ts';

/** Rows refused for one cause. */
export type RefusedRows = Pick<RowRefusal, 'failure' | 'when'> & { readonly rows: readonly Buffer[] };

export type Isolation = {
  readonly good: readonly Buffer[];
  readonly blamed: readonly RefusedRows[];
  readonly held: readonly RefusedRows[];
  /** The places of the blamed and the held rows among all, ascending. */
  readonly takenOut: readonly number[];
  /** Whether all rows were inspected; otherwise some of `good` may be bad. */
  readonly isComplete: boolean;
};

/** Inspects the rows, storing nothing. Throws `InsertFailure` when nothing could be learned. */
export type Isolate = (chunks: readonly Buffer[], signal?: AbortSignal) => Promise<Isolation>;

/** How long earlier rows that were refused for a cause count as evidence. */
const REMEMBERED_MS = 60_000;

export function createIsolate({ events, clock }: { events: Pick<EventStore, 'inspect'>; clock: Clock }): Isolate {
  /** By cause: how many rows were recently refused for it, and how many were inspected with them. */
  const seen = new Map<string, { refused: number; inspected: number; since: number }>();

  return async (chunks, signal) => {
    const rows = splitRows(Buffer.concat(chunks));
    const { refusals, isComplete } = await events.inspect(rows, signal);
    const blamed: RefusedRows[] = [];
    const held: RefusedRows[] = [];
    for (const refusal of refusals) {
      // Rows that were not inspected are no evidence.
      const kind = isToBlame(refusal, isComplete ? rows.length : refusal.rows.length) ? blamed : held;
      const { failure, when } = refusal;
      kind.push({ rows: refusal.rows.map((index) => rows[index]!), failure, when });
    }
    const takenOut = refusals.flatMap((refusal) => refusal.rows).sort((a, b) => a - b);
    const out = new Set(takenOut);
    return { good: rows.filter((_, index) => !out.has(index)), blamed, held, takenOut, isComplete };
  };

  function isToBlame({ failure, rows, isOrdinaryRefused }: RowRefusal, rowCount: number): boolean {
    if (!isOrdinaryRefused) return true;
    const { refused, inspected } = remember(fingerprintOf(failure), rows.length, rowCount);
    return refused <= inspected / 2;
  }

  function remember(cause: string, refused: number, inspected: number) {
    const now = clock.elapsed();
    for (const [known, { since }] of seen) if (now - since > REMEMBERED_MS) seen.delete(known);
    const before = seen.get(cause);
    // A replayed row is counted at every try, among both the refused and the inspected rows.
    const after = {
      refused: (before?.refused ?? 0) + refused,
      inspected: (before?.inspected ?? 0) + inspected,
      since: before?.since ?? now,
    };
    seen.set(cause, after);
    return after;
  }
}

/** The rows to take out, as parts of the whole: the blamed rows quarantined, the held ones to be tried again. */
export const partsOf = ({ blamed, held }: Isolation): DeadLetterPart[] => [
  ...blamed.map(({ rows, failure }) => ({ rows, failure, isQuarantined: true })),
  ...held.map(({ rows, failure }) => ({ rows, failure, isQuarantined: false })),
];
