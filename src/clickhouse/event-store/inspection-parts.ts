/** What was found out about the parts of a batch, put together as if all of it had been looked at together. */
import { fingerprintOf } from '../../pipeline/outcome.ts';
import type { Inspection, RowRefusal } from '../../pipeline/ports.ts';

/** `from`: the place of the part's first row in the batch. */
export type InspectedPart = { readonly from: number; readonly inspection: Inspection };

export function mergeInspections(parts: readonly InspectedPart[]): Inspection {
  const refusals = parts.flatMap(({ from, inspection }) =>
    inspection.refusals.map((refusal) => ({ ...refusal, rows: refusal.rows.map((row) => from + row) })),
  );
  const byCause = Map.groupBy(refusals, ({ failure, when }) => `${when} ${fingerprintOf(failure)}`);
  return {
    refusals: [...byCause.values()].map(mergeCause),
    isComplete: parts.every(({ inspection }) => inspection.isComplete),
  };
}

function mergeCause(refusals: readonly RowRefusal[]): RowRefusal {
  return {
    ...refusals[0]!,
    rows: refusals.flatMap(({ rows }) => rows),
    // One part in which ordinary rows fare no better is a reason to look twice at all of them.
    isOrdinaryRefused: refusals.some(({ isOrdinaryRefused }) => isOrdinaryRefused),
  };
}
