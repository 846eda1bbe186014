/** The kinds of fields that routes are asked with and answer. */
import * as v from 'valibot';

export const Uuid = v.pipe(
  v.string('must be a UUID'),
  v.regex(/^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/, 'must be a UUID'),
  v.toLowerCase(),
);

/** RFC 3339, in UTC. */
export const Instant = v.pipe(v.string(), v.isoTimestamp());
export const Count = v.pipe(v.number(), v.integer(), v.minValue(0));
export const Text = v.string();

export const DEFAULT_LIMIT = 50;
export const MAX_LIMIT = 500;
const LIMITS = `must be a whole number from 1 to ${MAX_LIMIT}`;

/** How many items a page has at most. */
export const Limit = v.optional(
  v.pipe(v.string(), v.regex(/^[1-9]\d{0,2}$/, LIMITS), v.transform(Number), v.maxValue(MAX_LIMIT, LIMITS)),
  String(DEFAULT_LIMIT),
);

/** Where a page begins: `next` of the one before. */
export const After = v.optional(v.pipe(v.string(), v.maxLength(200, 'must be the next of the page before')));
/** Where a page begins that is ordered by ids. */
export const AfterId = v.optional(Uuid);
/** Where a page begins that is ordered by numbers. */
export const AfterNumber = v.optional(
  v.pipe(v.string(), v.regex(/^\d{1,15}$/, 'must be the next of the page before'), v.transform(Number)),
);

export const Next = v.nullable(v.string());

/** A yes as a parameter. */
export const Yes = v.optional(v.picklist(['true', 'false'], 'must be true or false'), 'false');

/** A cause of dead letters. */
export const Group = v.pipe(v.string(), v.minLength(1), v.maxLength(100));
