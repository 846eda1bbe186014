/** Rejected events, counted: by kinds that are a closed set, since the start and in the series that health shows. */
import { globSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { kindOfReason } from '../src/event/rejection-kind.ts';
import { checkRejections } from '../src/operations/examination/rejection-check.ts';
import { createRejections } from '../src/pipeline/rejections.ts';
import { createManualClock } from './support/clock.ts';

test.each([
  ['event too large', 'too_large'],
  ['event too large: more than 1 MiB as it was sent', 'too_large'],
  ['event too large: more than 10000 fields', 'too_large'],
  ['line too long', 'too_large'],
  ['nesting too deep', 'too_deep'],
  ['token differs from the request’s', 'other_token'],
  ['tenant mismatch', 'other_project'],
  ['event must be an object', 'not_an_object'],
  ['line must be valid UTF-8', 'invalid_json'],
  ['invalid JSON', 'invalid_json'],
  ['invalid JSON at byte 12: expected a value', 'invalid_json'],
  ['invalid JSON after byte 3: expected the end of the value that begins there', 'invalid_json'],
  ['distinct_id required', 'missing_field'],
  ['type required', 'missing_field'],
  ['timestamp out of range', 'invalid_time'],
  ['timestamp invalid', 'invalid_time'],
  ['type must be one of track, page', 'invalid_field'],
  ['event too long', 'invalid_field'],
  ['specversion must be 1.0', 'invalid_field'],
  ['unknown kind of event', 'invalid_field'],
])('"%s" is of the kind %s', (reason, kind) => expect(kindOfReason(reason)).toBe(kind));

test('every kind is explained to operators', () => {
  const operations = readFileSync('docs/OPERATIONS.md', 'utf8');
  const [source] = globSync('src/event/rejection-kind.ts').map((file) => readFileSync(file, 'utf8'));
  const kinds = [...source!.matchAll(/^ {2}'([a-z_]+)',$/gm)].map(([, kind]) => kind!);
  expect(kinds.length).toBeGreaterThan(5);
  for (const kind of kinds) expect(operations, kind).toContain(`\`${kind}\``);
});

test('counts stay, a series ends after an hour without another', async () => {
  const clock = createManualClock(1_000);
  const rejections = createRejections(clock);
  rejections.note('segment', { rejected: 2, kinds: { missing_field: 2 } });
  rejections.note('native', { rejected: 0, kinds: {} });
  await clock.advance(3_599_000);
  rejections.note('segment', { rejected: 1, kinds: { too_large: 1 } });
  expect(rejections.recent()).toEqual([
    { door: 'segment', since: 1_000, last: 3_600_000, rejected: 3, reasons: { missing_field: 2, too_large: 1 } },
  ]);
  // A jump of the wall clock neither ends a series nor prolongs one.
  clock.jump(86_400_000);
  expect(rejections.recent()).toHaveLength(1);
  await clock.advance(3_600_000);
  expect(rejections.recent()).toEqual([]);
  rejections.note('segment', { rejected: 1, kinds: { too_deep: 1 } });
  expect(rejections.recent()).toMatchObject([{ rejected: 1, reasons: { too_deep: 1 } }]);
  expect(Object.fromEntries(rejections.counts())).toEqual({ segment: { missing_field: 2, too_large: 1, too_deep: 1 } });
});

test('doctor names door, time and the most frequent reasons, with the remedy', () => {
  const reasons = { too_deep: 1, missing_field: 1_200, invalid_time: 30, too_large: 2 };
  const rejecting = [{ door: 'segment', rejected: 1_233, reasons, since: '2026-01-01T00:00:00.000Z' }];
  const [kept] = checkRejections('rejected events', rejecting);
  expect(kept).toMatchObject({
    outcome: 'warn',
    detail: 'segment: 1,233 events since 2026-01-01T00:00:00.000Z (missing_field 1,200, invalid_time 30, too_large 2)',
    remedy: expect.stringContaining('weir rejected ls') as string,
  });
  expect(kept!.remedy).toContain('INGEST_KEEP_REJECTED');
  expect(checkRejections('rejected events', [])).toMatchObject([{ outcome: 'ok' }]);
  expect(checkRejections('rejected events', undefined)).toEqual([]);
});
