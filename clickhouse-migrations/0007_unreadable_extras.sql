-- A number beyond 64 bits or the range of a double, or half a surrogate pair,
-- is JSON, and kept as it was sent; to ClickHouse's functions the whole document
-- is then none. The fields are found by their text in that case, so that such an
-- event is in `monitor.events` and found by its ids like any other.
ALTER TABLE events_raw_v1
    MODIFY COLUMN channel LowCardinality(String) MATERIALIZED if(isValidJSON(extras), JSONExtractString(extras, 'channel'),
        JSONExtractString(concat('{"v":', extract(extras, '"channel"\\s*:\\s*("(?:[^"\\\\]|\\\\.)*")'), '}'), 'v')),
    MODIFY COLUMN service LowCardinality(String) MATERIALIZED if(isValidJSON(extras), JSONExtractString(extras, 'service'),
        JSONExtractString(concat('{"v":', extract(extras, '"service"\\s*:\\s*("(?:[^"\\\\]|\\\\.)*")'), '}'), 'v')),
    MODIFY COLUMN env LowCardinality(String) MATERIALIZED if(isValidJSON(extras), JSONExtractString(extras, 'env'),
        JSONExtractString(concat('{"v":', extract(extras, '"env"\\s*:\\s*("(?:[^"\\\\]|\\\\.)*")'), '}'), 'v')),
    MODIFY COLUMN level LowCardinality(String) MATERIALIZED if(isValidJSON(extras), JSONExtractString(extras, 'level'),
        JSONExtractString(concat('{"v":', extract(extras, '"level"\\s*:\\s*("(?:[^"\\\\]|\\\\.)*")'), '}'), 'v')),
    MODIFY COLUMN trace_id String MATERIALIZED if(isValidJSON(extras), JSONExtractString(extras, 'trace_id'),
        JSONExtractString(concat('{"v":', extract(extras, '"trace_id"\\s*:\\s*("(?:[^"\\\\]|\\\\.)*")'), '}'), 'v')),
    MODIFY COLUMN request_id String MATERIALIZED if(isValidJSON(extras), JSONExtractString(extras, 'request_id'),
        JSONExtractString(concat('{"v":', extract(extras, '"request_id"\\s*:\\s*("(?:[^"\\\\]|\\\\.)*")'), '}'), 'v')),
    MODIFY COLUMN job_id String MATERIALIZED if(isValidJSON(extras), JSONExtractString(extras, 'job_id'),
        JSONExtractString(concat('{"v":', extract(extras, '"job_id"\\s*:\\s*("(?:[^"\\\\]|\\\\.)*")'), '}'), 'v')),
    MODIFY COLUMN campaign_id String MATERIALIZED if(isValidJSON(extras), JSONExtractString(extras, 'campaign_id'),
        JSONExtractString(concat('{"v":', extract(extras, '"campaign_id"\\s*:\\s*("(?:[^"\\\\]|\\\\.)*")'), '}'), 'v'));
