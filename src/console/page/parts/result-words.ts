/** What the results of jobs say, in the commands’ words. The API passes them on, so that their shape is looked at. */
import { counted } from './words.ts';

export type Result = Readonly<Record<string, unknown>>;

export type Deletion = {
  /** Of the project that may be deleted again; null where the result names none. */
  readonly projectId: string | null;
  readonly isLeft: boolean;
  readonly lines: readonly string[];
};

/** What came of the deletion of a project, and what a repetition would remove. */
export function deletionIn(result: Result): Deletion {
  const letters = objectOf(result['deadLetters']);
  const replaying = number(letters['left']);
  const unreadable = unreadableIn(letters);
  const tables = listOf(result['tables']).map(objectOf);
  const left = [
    ...(replaying > 0 ? [`${counted(replaying, 'dead letter')} still being replayed.`] : []),
    ...tables
      .filter((table) => number(table['left']) > 0)
      .map((table) => `${counted(number(table['left']), 'row')} of ${text(table['table'])} arrived meanwhile.`),
    ...(unreadable.length > 0 ? [`${unreadableWords(unreadable.length, 'dead letter')}, then delete again.`] : []),
  ];
  const isLeft = left.length > 0;
  const end = isLeft
    ? 'The project is deleted, but some of its data is left: delete it again.'
    : 'The project and its events are deleted. Events that were still in flight may land: delete it again in two minutes to remove them.';
  return { projectId: text(result['deleted']) || null, isLeft, lines: [...left, end] };
}

/** What came of discarding dead letters, a sentence each. */
export function discardIn(result: Result): string[] {
  const [left, doubtful] = [number(result['left']), number(result['doubtful'])];
  const unreadable = unreadableIn(result);
  return [
    `${counted(number(result['letters']), 'letter')} with ${counted(number(result['events']), 'event')} deleted` +
      `${left > 0 ? `; ${counted(left, 'letter')} being replayed left alone` : ''}.`,
    ...(doubtful > 0
      ? [`${counted(doubtful, 'letter')} may already have landed: look among the stored events if that matters.`]
      : []),
    ...(unreadable.length > 0 ? [`${unreadableWords(unreadable.length, 'letter')}.`] : []),
  ];
}

/** What came of giving stored events another expiry, a sentence each. */
export function retentionIn(result: Result): string[] {
  const { changed, expired, left } = objectOf(result['stored']);
  const letters = number(result['deadLetters']);
  return [
    `${counted(number(changed), 'stored event')} got another expiry, ${counted(number(expired), 'event')} deleted.`,
    ...(number(left) > 0
      ? [`${counted(number(left), 'event')} with another expiry arrived meanwhile: change the retention again.`]
      : []),
    ...(letters > 0
      ? [
          `${counted(letters, 'dead letter')} may hold events with another expiry; they keep it when they land. Change the retention again once they have landed.`,
        ]
      : []),
  ];
}

/** Shared letters whose rows cannot be told apart: the ids, for whoever discards them. */
export const unreadableIn = (letters: Result): string[] => listOf(letters['unreadable']).map(text).filter(Boolean);

const unreadableWords = (count: number, one: string) =>
  `${counted(count, `shared ${one}`)} cannot be read, so Weir cannot tell whose events they hold. Discard them entirely`;

export const number = (value: unknown): number => (typeof value === 'number' ? value : 0);
export const text = (value: unknown): string => (typeof value === 'string' ? value : '');
const objectOf = (value: unknown): Result => (typeof value === 'object' && value !== null ? (value as Result) : {});
const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
