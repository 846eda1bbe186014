-- Who did something in each hour and in each day, as a bitmap of 2^18 places
-- that hashes of users fall on. Merging a month of them takes a tenth of what
-- merging the states of event_counts_hourly takes, and the same user, or the
-- same event, may fall on its place as often as it likes.
CREATE TABLE IF NOT EXISTS event_users
(
    project_id UUID,
    event      LowCardinality(String),
    seconds    UInt32 COMMENT '3600 for an hour, 86400 for a day',
    start      DateTime('UTC'),
    users      AggregateFunction(groupBitmap, UInt32)
)
ENGINE = AggregatingMergeTree
ORDER BY (project_id, event, seconds, start)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 32
COMMENT 'Bitmaps of cityHash64(user) % 262144 by hour and by day, for counting many users over long windows.';

CREATE MATERIALIZED VIEW IF NOT EXISTS event_users_mv TO event_users AS
SELECT
    project_id,
    event,
    seconds,
    if(seconds = 86400, toStartOfDay(timestamp), toStartOfHour(timestamp)) AS start,
    groupBitmapState(toUInt32(cityHash64(coalesce(user_id, anonymous_id, '')) % 262144)) AS users
FROM events_raw_v1
ARRAY JOIN [toUInt32(3600), toUInt32(86400)] AS seconds
WHERE isNotNull(coalesce(user_id, anonymous_id))
GROUP BY project_id, event, seconds, start;

-- What is there already. Events that arrive meanwhile fall on their places twice, which changes nothing.
INSERT INTO event_users
SELECT
    project_id,
    event,
    seconds,
    if(seconds = 86400, toStartOfDay(timestamp), toStartOfHour(timestamp)) AS start,
    groupBitmapState(toUInt32(cityHash64(coalesce(user_id, anonymous_id, '')) % 262144)) AS users
FROM events_raw_v1
ARRAY JOIN [toUInt32(3600), toUInt32(86400)] AS seconds
WHERE isNotNull(coalesce(user_id, anonymous_id))
GROUP BY project_id, event, seconds, start;
