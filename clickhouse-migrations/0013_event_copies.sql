-- How many copies of events the hourly counts hold: a client that got no answer
-- sends again, and the view counts what arrives. Weir compares an hour with the
-- events once nothing has been added to it for a while (decision 52).
--
-- When an hour was last added to. The value for what is there already comes
-- first and is written down, so that none of it looks as if it had just arrived.
ALTER TABLE event_counts_hourly
    ADD COLUMN IF NOT EXISTS touched SimpleAggregateFunction(max, DateTime('UTC')) DEFAULT toDateTime(0, 'UTC') COMMENT 'When ClickHouse last added to it; 1970 in what an older version wrote' AFTER users;

ALTER TABLE event_counts_hourly MATERIALIZE COLUMN touched SETTINGS mutations_sync = 2;

ALTER TABLE event_counts_hourly MODIFY COLUMN touched DEFAULT now('UTC');

ALTER TABLE event_counts_hourly
    MODIFY COMMENT 'Hourly counts: sum(events), uniqCombined64Merge(users). An event the client sent twice counts twice here; event_copies has what is too much.';

-- The last look at an hour counts.
CREATE TABLE IF NOT EXISTS event_copies
(
    project_id UUID,
    event      LowCardinality(String),
    hour       DateTime('UTC'),
    channel    LowCardinality(String),
    copies     Int64 COMMENT 'sum(events) of event_counts_hourly minus the events there are',
    touched    DateTime('UTC') COMMENT 'When the hour had last been added to',
    checked_at DateTime('UTC') DEFAULT now('UTC')
)
ENGINE = ReplacingMergeTree(checked_at)
ORDER BY (project_id, event, hour, channel)
COMMENT 'Copies in event_counts_hourly, found by comparing it with the events. Read it with FINAL.';
