/** Which envelopes of the journal a spill file holds as well. */
import { describe, expect, test } from 'vitest';
import { sequencesOfSaved } from '../src/journal/saved-envelopes.ts';
import { freezeBatch } from '../src/pipeline/batch.ts';
import { batchIdAt, envelopeOfRows, rowOf } from './support/rows.ts';

const envelope = (...numbers: number[]) => envelopeOfRows(numbers.map((n) => rowOf({ n })));

function found({ saved, journaled }: { saved: number[][]; journaled: number[][] }) {
  const batch = freezeBatch(
    batchIdAt(0, 1),
    saved.map((numbers) => envelope(...numbers)),
  );
  const envelopes = journaled.map((numbers, sequence) => ({ sequence, envelope: envelope(...numbers) }));
  return sequencesOfSaved([batch], envelopes).get(batch.id) ?? [];
}

describe('an envelope of the journal', () => {
  test('is found in a file, wherever it stands there', () => {
    expect(found({ saved: [[1], [2, 3], [4], [5, 6]], journaled: [[5, 6], [7], [2, 3]] })).toEqual([2, 0]);
  });

  test('is not taken for one that begins as it does: a client may send an event again beside others', () => {
    expect(found({ saved: [[1, 2]], journaled: [[1, 3], [1]] })).toEqual([1]);
    expect(found({ saved: [[1, 2]], journaled: [[1, 2, 3]] })).toEqual([]);
    expect(
      found({
        saved: [[1, 2]],
        journaled: [
          [1, 3],
          [1, 2],
        ],
      }),
    ).toEqual([1]);
  });

  test('is in the file as often as its rows are', () => {
    expect(found({ saved: [[1], [1]], journaled: [[1], [1], [1]] })).toEqual([0, 1]);
  });
});
