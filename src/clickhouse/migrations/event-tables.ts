/**
 * The table of events, and those that are beside it while it is rebuilt under
 * another sorting key (decision 46).
 */

export const EVENTS = 'events_raw_v1';
/** The events under the new key, until the two tables change places; from then on those under the old one. */
export const REBUILT = `${EVENTS}_rekeyed`;
/** The materialized view that feeds `REBUILT` with what is inserted into `EVENTS`. */
export const MIRROR = `${EVENTS}_rekeyed_mv`;
/** The old table, on its way out: nothing changes places with it any more. */
export const RETIRED = `${EVENTS}_retired`;
/** How far the rebuild is. */
export const PROGRESS = `${EVENTS}_rebuild`;
/** By way of this one rows get into `EVENTS` past its views. */
export const MISSING = `${EVENTS}_missing`;

/** As ClickHouse writes it in `system.tables`: copies collapse only when their timestamps are the same. */
export const OLD_KEY = 'project_id, event, timestamp, event_id';
/** Copies of an event collapse when their timestamps lie in one hour. */
export const NEW_KEY = 'project_id, event, toStartOfHour(timestamp), event_id';

/** The `log_comment` of the queries that copy rows between the tables: by it others see that one runs. */
export const COPYING = 'weir: copies events into the rebuilt table';
