/** The kinds of reasons against an event: a closed set, for counting. A reason itself names fields, and is for people. */

/** In the words of metrics and commands. */
export const REJECTION_KINDS = [
  'invalid_json',
  'not_an_object',
  'missing_field',
  'invalid_field',
  'invalid_time',
  'too_large',
  'too_deep',
  'other_token',
  'other_project',
] as const;

export type RejectionKind = (typeof REJECTION_KINDS)[number];

/** How many events were rejected, by kind; a kind without any is missing. */
export type RejectionCounts = Readonly<Partial<Record<RejectionKind, number>>>;

/** What follows a semicolon says where the event belongs. */
const WORDS: readonly (readonly [RegExp, RejectionKind])[] = [
  [/^(?:event too large|line too long)/, 'too_large'],
  [/^nesting too deep/, 'too_deep'],
  [/^token differs/, 'other_token'],
  [/^tenant mismatch/, 'other_project'],
  [/^event must be an object/, 'not_an_object'],
  [/^invalid JSON|^line must be valid UTF-8|not valid UTF-8/, 'invalid_json'],
  [/ required(?:;|$)/, 'missing_field'],
  [/ (?:invalid|out of range)(?:;|$)/, 'invalid_time'],
];

/** The kind of a reason that a decoder gave. */
export function kindOfReason(reason: string): RejectionKind {
  return WORDS.find(([words]) => words.test(reason))?.[1] ?? 'invalid_field';
}

/** Adds counts up. */
export function sumOfCounts(all: readonly RejectionCounts[]): RejectionCounts {
  const sum: Partial<Record<RejectionKind, number>> = {};
  for (const kind of REJECTION_KINDS) {
    const count = all.reduce((total, counts) => total + (counts[kind] ?? 0), 0);
    if (count > 0) sum[kind] = count;
  }
  return sum;
}
