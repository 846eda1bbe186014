import { describe, expect, test } from 'vitest';
import { noteOf, startOf } from '../src/kafka/start-offsets.ts';

describe('a tenure begins', () => {
  const note = noteOf('id');
  test.each<[string, Parameters<typeof startOf>[1], Partial<ReturnType<typeof startOf>>]>([
    ['at what Weir committed', { first: 2, end: 9, committed: 5, note }, { start: 5, isBoundary: true, removed: 0 }],
    ['at the first of all', { first: 0, end: 9, committed: null, note: null }, { start: 0, isBoundary: true }],
    ['at the first that is left', { first: 4, end: 9, committed: null, note: null }, { start: 4, isBoundary: false }],
    ['at the end', { first: 2, end: 9, committed: 9, note }, { start: 9, isBoundary: true }],
    ['where a tool says', { first: 2, end: 9, committed: 5, note: '' }, { start: 5, isBoundary: false }],
    ['at 0 where a tool says', { first: 0, end: 9, committed: 0, note: '' }, { start: 0, isBoundary: true }],
    ['behind what was removed', { first: 7, end: 9, committed: 5, note }, { start: 7, isBoundary: false, removed: 2 }],
    [
      'at the first where the end was cut off',
      { first: 1, end: 4, committed: 5, note },
      { start: 1, isBoundary: false },
    ],
    [
      'at the first of a topic that was made anew',
      { first: 0, end: 9, committed: 5, note: noteOf('other') },
      { start: 0, isBoundary: false, removed: 0 },
    ],
  ])('%s', (_, offsets, expected) => {
    expect(startOf('id', offsets)).toMatchObject({ topicId: 'id', takenAt: offsets.end, ...expected });
  });
});
