-- The earliest arrival wins, whatever order the rows are inserted in: a dead
-- letter that lands late still wins, a back-dated timestamp gains nothing.
CREATE TABLE IF NOT EXISTS identity_links
(
    project_id   UUID,
    anonymous_id String,
    user         AggregateFunction(argMin, String, Tuple(DateTime64(3, 'UTC'), UUID, String))
)
ENGINE = AggregatingMergeTree
ORDER BY (project_id, anonymous_id)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Which user an anonymous id belongs to; read the view `identities`.';

CREATE MATERIALIZED VIEW IF NOT EXISTS identity_links_mv TO identity_links AS
SELECT
    project_id,
    assumeNotNull(anonymous_id) AS anonymous_id,
    argMinState(assumeNotNull(events_raw_v1.user_id), tuple(received_at, event_id, assumeNotNull(events_raw_v1.user_id))) AS user
FROM events_raw_v1
WHERE event = '$identify' AND isNotNull(events_raw_v1.user_id) AND isNotNull(events_raw_v1.anonymous_id)
GROUP BY project_id, anonymous_id;

CREATE OR REPLACE VIEW identities AS
(
    SELECT project_id, anonymous_id, argMinMerge(user) AS user_id
    FROM identity_links
    GROUP BY project_id, anonymous_id
)
COMMENT 'The user of each linked anonymous id: that of the first $identify event that arrived with both.';
