-- weir: after the rebuild of events_raw_v1
--
-- On which days the events of a granule happened (decision 58). The key is
-- (project, name, hour, id), so the granule at the border between two names may
-- hold any hour by the primary key, in every part of every month. All copies of
-- an event have one hour, and so one day: passing over a granule by its days
-- leaves all of them out, or none. `mortonEncode` of one number is that number;
-- no query of a project may call it, so only Weir's own filter reaches this index
-- (src/clickhouse/reading/day-index.ts).
ALTER TABLE events_raw_v1
    ADD INDEX IF NOT EXISTS day_set mortonEncode(toDaysSinceYearZero(timestamp)) TYPE set(256) GRANULARITY 1;

-- For the parts that are there: ClickHouse does it by itself (system.mutations), reading one column. Until then they are read as before.
ALTER TABLE events_raw_v1 MATERIALIZE INDEX day_set SETTINGS mutations_sync = 0;
