/**
 * How long a part of an ambiguous letter waits after the last try: longer than a
 * drain sends one again without asking ClickHouse first (five minutes).
 */
export const AMBIGUITY_MINUTES = 6;
