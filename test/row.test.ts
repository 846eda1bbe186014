import fc from './support/fast-check.ts';
import { expect, test } from 'vitest';
import type { ProjectId } from '../src/event/event.ts';
import { ROW_FIELDS, rowEncoder, type RowParts } from '../src/event/row.ts';

const ORIGIN = {
  projectId: 'p-1' as ProjectId,
  source: 'native',
  receivedAt: Date.UTC(2026, 0, 2, 3, 4, 5, 6),
  retentionSeconds: null,
};

const PIECES: RowParts = {
  eventId: '0198c0de-0000-7000-8000-000000000001',
  event: '"signup"',
  anonymousId: null,
  userId: '"u1"',
  timestamp: Date.UTC(2026, 0, 1),
  sessionId: null,
  properties: '{"a":1}',
  extras: '{}',
};

test('the field names and their order are frozen', () => {
  expect(rowEncoder(ORIGIN)(PIECES)).toBe(
    '{"project_id":"p-1","event_id":"0198c0de-0000-7000-8000-000000000001","event":"signup","anonymous_id":null,' +
      '"user_id":"u1","timestamp":"2026-01-01T00:00:00.000Z","session_id":null,"properties":{"a":1},"extras":{},' +
      '"source":"native","received_at":"2026-01-02T03:04:05.006Z"}\n',
  );
});

test('a row has the fields that are columns of the table, and no others', () => {
  const sent = { propertiesSent: '{"a":1e999}', extrasSent: '{}' };
  const row = rowEncoder({ ...ORIGIN, retentionSeconds: 60 })({ ...PIECES, ...sent });
  expect(Object.keys(JSON.parse(row) as object).toSorted()).toEqual([...ROW_FIELDS].toSorted());
});

test('a row of a project with a retention ends with the second it expires', () => {
  const row = rowEncoder({ ...ORIGIN, retentionSeconds: 30 * 86_400 })(PIECES);
  expect(row).toMatch(/"received_at":"2026-01-02T03:04:05\.006Z","expires_at":"2026-02-01T03:04:05Z"\}\n$/);
  expect(rowEncoder({ ...ORIGIN, retentionSeconds: 0 })(PIECES)).toContain('"expires_at":"2026-01-02T03:04:05Z"');
});

test('a retention of any length expires at a second that can be stored', () => {
  expect(rowEncoder({ ...ORIGIN, retentionSeconds: 1e15 })(PIECES)).toContain('"expires_at":"2106-02-07T06:28:15Z"');
});

test.each([
  ['another project', { projectId: 'p-2' as ProjectId }, '"project_id":"p-2"'],
  ['another door', { source: 'ndjson' }, '"source":"ndjson"'],
  ['another arrival', { receivedAt: ORIGIN.receivedAt + 1 }, '"received_at":"2026-01-02T03:04:05.007Z"'],
  ['a retention', { retentionSeconds: 1 }, '"expires_at":"2026-01-02T03:04:06Z"'],
])('%s is not mistaken for the origin before', (_, other, expected) => {
  const before = rowEncoder(ORIGIN)(PIECES);
  expect(rowEncoder({ ...ORIGIN, ...other })(PIECES)).toContain(expected);
  expect(rowEncoder({ ...ORIGIN })(PIECES)).toBe(before);
});

test('the texts of the origin are escaped', () => {
  const row = rowEncoder({ ...ORIGIN, projectId: 'p"é' as ProjectId, source: 'a\nb' })(PIECES);
  expect(JSON.parse(Buffer.from(row, 'latin1').toString())).toMatchObject({ project_id: 'p"é', source: 'a\nb' });
});

test('timestamps are written as Date writes them, one after the other on any day', () => {
  const encodeRow = rowEncoder(ORIGIN);
  fc.assert(
    fc.property(fc.nat({ max: 253_402_300_799_999 }), fc.nat({ max: 86_400_000 }), (timestamp, later) => {
      for (const ms of [timestamp, Math.min(timestamp + later, 253_402_300_799_999)]) {
        expect(encodeRow({ ...PIECES, timestamp: ms })).toContain(`"timestamp":"${new Date(ms).toISOString()}"`);
      }
    }),
  );
});
