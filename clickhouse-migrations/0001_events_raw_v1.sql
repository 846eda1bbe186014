-- Every event as it was accepted. What a client sends must neither fail an
-- insert nor decide how many parts it makes: the computed columns use functions
-- that return an empty value for what they cannot read, and the partition is
-- the month of arrival.
CREATE TABLE IF NOT EXISTS events_raw_v1
(
    project_id    UUID,
    event_id      UUID,
    event         LowCardinality(String),
    anonymous_id  Nullable(String),
    user_id       Nullable(String),
    timestamp     DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    session_id    Nullable(String),
    properties    String COMMENT 'JSON object, byte for byte as the client sent it' CODEC(ZSTD(1)),
    extras        String COMMENT 'JSON object of every other field the client sent' CODEC(ZSTD(1)),
    source        LowCardinality(String) COMMENT 'The front door it came through',
    received_at   DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    expires_at    DateTime('UTC') DEFAULT toDateTime(4294967295, 'UTC') COMMENT 'From the retention of the project; 2106 means never',

    channel       LowCardinality(String) MATERIALIZED JSONExtractString(extras, 'channel'),
    service       LowCardinality(String) MATERIALIZED JSONExtractString(extras, 'service'),
    env           LowCardinality(String) MATERIALIZED JSONExtractString(extras, 'env'),
    level         LowCardinality(String) MATERIALIZED JSONExtractString(extras, 'level'),
    trace_id      String MATERIALIZED JSONExtractString(extras, 'trace_id'),
    request_id    String MATERIALIZED JSONExtractString(extras, 'request_id'),
    job_id        String MATERIALIZED JSONExtractString(extras, 'job_id'),
    campaign_id   String MATERIALIZED JSONExtractString(extras, 'campaign_id'),
    tags          Array(String) MATERIALIZED JSONExtract(extras, 'tags', 'Array(String)'),

    INDEX event_id_bloom     event_id     TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX user_id_bloom      user_id      TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX anonymous_id_bloom anonymous_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX trace_id_bloom     trace_id     TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX request_id_bloom   request_id   TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX job_id_bloom       job_id       TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX campaign_id_bloom  campaign_id  TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree(received_at)
PARTITION BY toYYYYMM(received_at)
ORDER BY (project_id, event, timestamp, event_id)
TTL expires_at DELETE
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Every accepted event. Read the view `events`: it shows each event once and knows who it belongs to.';
