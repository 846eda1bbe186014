import { expect, test } from 'vitest';
import type { Envelope } from '../src/event/event.ts';
import { type UnbatchedEnvelope, regroup } from '../src/journal/regroup.ts';
import { sequencesOfSaved } from '../src/journal/saved-envelopes.ts';
import { type BatchId, freezeBatch } from '../src/pipeline/batch.ts';
import { envelopeOf, OTHER_PROJECT, randomOf } from './support/factory.ts';
import { envelopeOfRows, rowOf } from './support/rows.ts';

const loose = (sequence: number, envelope: Envelope): UnbatchedEnvelope => ({ sequence, envelope });
const envelopeIn = ({ envelope }: UnbatchedEnvelope) => envelope;

test('what is recovered twice is the same batches under the same ids, whatever was recovered beside it before', () => {
  const random = randomOf(1);
  const envelopes = Array.from({ length: 400 }, (_, n) =>
    loose(n + 1, envelopeOf(1 + Math.floor(random() * 60), { from: n * 100 })),
  );
  const once = regroup(envelopes);
  const again = regroup(
    structuredClone(envelopes).map(({ sequence, envelope }) =>
      loose(sequence, { ...envelope, rows: Buffer.from(envelope.rows) }),
    ),
  );
  expect(again).toEqual(once);
  expect(once.length).toBeGreaterThan(2);
  expect(new Set(once.map(({ id }) => id)).size).toBe(once.length);
  expect(once.flatMap(({ sequences }) => sequences)).toEqual(envelopes.map(({ sequence }) => sequence));
  expect(Buffer.concat(once.flatMap(({ chunks }) => chunks))).toEqual(
    Buffer.concat(envelopes.map(({ envelope }) => envelope.rows)),
  );
  for (const { eventCount, mayBeElsewhere } of once) {
    expect(eventCount).toBeLessThanOrEqual(5_000);
    expect(mayBeElsewhere).toBe(true);
  }
});

test('other rows, another place in the journal or another project make another id', () => {
  const ids = [
    loose(1, envelopeOf(1)),
    loose(2, envelopeOf(1)),
    loose(1, envelopeOf(1, { from: 1 })),
    loose(1, envelopeOf(1, { projectId: OTHER_PROJECT })),
  ].map((one) => regroup([one])[0]!.id);
  expect(new Set(ids).size).toBe(4);
});

test('an id tells the age of the first event, as that of any batch tells when it was cut', () => {
  const [batch] = regroup([loose(1, envelopeOfRows([rowOf({ n: 1 })]))]);
  const row = String(batch!.chunks[0]);
  const receivedAt = Date.parse(/"received_at":"([^"]+)"/.exec(row)![1]!);
  expect(batch!.id[14]).toBe('7');
  expect(Number.parseInt(batch!.id.slice(0, 8) + batch!.id.slice(9, 13), 16)).toBe(receivedAt);
});

test('an envelope larger than any batch is one alone', () => {
  const sizes = regroup([loose(1, envelopeOf(10)), loose(2, envelopeOf(6_000)), loose(3, envelopeOf(10))]);
  expect(sizes.map(({ eventCount }) => eventCount)).toEqual([10, 6_000, 10]);
  expect(regroup([])).toEqual([]);
});

test('of the envelopes that the journal has, exactly those are found in saved batches that they were made of', () => {
  const random = randomOf(2);
  for (let round = 0; round < 200; round++) {
    const envelopes = Array.from({ length: 12 }, (_, n) =>
      loose(n + 1, envelopeOf(1 + Math.floor(random() * 4), { from: n * 10 })),
    );
    const known = envelopes.filter(() => random() < 0.7);
    const groups = [0, 4, 8].map((at) => envelopes.slice(at, at + 4).filter(() => random() < 0.7));
    const saved = groups.map((group, n) => freezeBatch(`batch-${n}` as BatchId, group.map(envelopeIn)));
    const found = sequencesOfSaved(saved, known);
    for (const [n, group] of groups.entries()) {
      const expected = group.filter((one) => known.includes(one)).map(({ sequence }) => sequence);
      expect(found.get(saved[n]!.id) ?? []).toEqual(expected);
    }
  }
});

test('an envelope that a client sent twice is found as often as it was saved', () => {
  const twins = [1, 2, 3].map((sequence) => loose(sequence, envelopeOf(2)));
  const saved = freezeBatch('batch-1' as BatchId, twins.slice(0, 2).map(envelopeIn));
  expect([...sequencesOfSaved([saved], twins).values()]).toEqual([[1, 2]]);
});
