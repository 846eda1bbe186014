/** What the console's page says of the results of jobs: nothing that is left is kept from whoever began them. */
import { describe, expect, test } from 'vitest';
import { deletionIn, discardIn, retentionIn } from '../src/console/page/parts/result-words.ts';

const PROJECT = '0198c0de-0000-7000-8000-000000000000';
const LETTER = '0198c0de-0000-7000-8000-000000000001';

/** As the API passes it on: `deadLetters.left`, of the letters and of the first table something may be left. */
function deletion({ replaying = 0, unreadable = [] as string[], rows = 0 }) {
  return {
    deleted: PROJECT,
    deadLetters: { letters: 1, events: 3, shared: 0, doubtful: 0, unreadable, left: replaying },
    rejected: 0,
    tables: [
      { table: 'events_raw_v1', rows: 7, left: rows },
      { table: 'event_counts_hourly', rows: 1, left: 0 },
    ],
  };
}

describe('the deletion of a project', () => {
  test('is whole where nothing is left, and may be repeated', () => {
    const { projectId, isLeft, lines } = deletionIn(deletion({}));
    expect({ projectId, isLeft }).toEqual({ projectId: PROJECT, isLeft: false });
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain('delete it again in two minutes');
  });

  test.each([
    ['letters that are being replayed', { replaying: 2 }, '2 dead letters still being replayed.'],
    ['rows', { rows: 1_200 }, '1,200 rows of events_raw_v1 arrived meanwhile.'],
    ['letters that cannot be read', { unreadable: [LETTER] }, '1 shared dead letter cannot be read'],
  ])('says that %s are left', (_name, left, said) => {
    const { isLeft, lines } = deletionIn(deletion(left));
    expect(isLeft).toBe(true);
    expect(lines).toEqual([expect.stringContaining(said), expect.stringContaining('some of its data is left')]);
  });

  test('names no project where the result names none', () => {
    expect(deletionIn({})).toMatchObject({ projectId: null, isLeft: false });
  });
});

describe('discarding', () => {
  const done = { letters: 2, events: 5, shared: 0, doubtful: 0, unreadable: [], left: 0 };

  test('says how much is gone', () => {
    expect(discardIn(done)).toEqual(['2 letters with 5 events deleted.']);
  });

  test('says what may have landed, what is replayed, and what cannot be read', () => {
    expect(discardIn({ ...done, left: 1, doubtful: 1, unreadable: [LETTER, LETTER] })).toEqual([
      '2 letters with 5 events deleted; 1 letter being replayed left alone.',
      expect.stringContaining('1 letter may already have landed'),
      expect.stringContaining('2 shared letters cannot be read'),
    ]);
  });
});

describe('a change of retention', () => {
  test('says how many events got another expiry', () => {
    expect(retentionIn({ stored: { changed: 1, expired: 0, left: 0 }, deadLetters: 0 })).toEqual([
      '1 stored event got another expiry, 0 events deleted.',
    ]);
  });

  test('says what arrived meanwhile, and what has not landed yet', () => {
    expect(retentionIn({ stored: { changed: 9, expired: 1, left: 4 }, deadLetters: 2 }).slice(1)).toEqual([
      expect.stringContaining('4 events with another expiry arrived meanwhile'),
      expect.stringContaining('2 dead letters may hold events with another expiry'),
    ]);
  });
});
