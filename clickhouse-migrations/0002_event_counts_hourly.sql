-- No partitions: the hour is the client's, and a batch over many months would
-- be refused for making too many parts.
CREATE TABLE IF NOT EXISTS event_counts_hourly
(
    project_id UUID,
    event      LowCardinality(String),
    hour       DateTime('UTC'),
    channel    LowCardinality(String),
    events     SimpleAggregateFunction(sum, UInt64),
    users      AggregateFunction(uniqCombined64, String)
)
ENGINE = AggregatingMergeTree
ORDER BY (project_id, event, hour, channel)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Hourly counts: sum(events), uniqCombined64Merge(users). An event the client sent twice counts twice here.';

CREATE MATERIALIZED VIEW IF NOT EXISTS event_counts_hourly_mv TO event_counts_hourly AS
SELECT
    project_id,
    event,
    toStartOfHour(timestamp) AS hour,
    channel,
    count() AS events,
    uniqCombined64StateIf(coalesce(user_id, anonymous_id, ''), isNotNull(coalesce(user_id, anonymous_id))) AS users
FROM events_raw_v1
GROUP BY project_id, event, hour, channel;
