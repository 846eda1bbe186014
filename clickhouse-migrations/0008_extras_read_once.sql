-- The computed columns are cut out of extras together, once for each event; one
-- by one they were a third of what an insert cost ClickHouse. What it cannot read
-- (a number beyond its range, half a surrogate pair) is put together again from
-- the fields whose text it can.
ALTER TABLE events_raw_v1
    ADD COLUMN IF NOT EXISTS known_extras
        Tuple(channel String, service String, env String, level String, trace_id String, request_id String, job_id String, campaign_id String, tags Array(String))
        EPHEMERAL JSONExtract(
            if(isValidJSON(extras), extras, concat('{', arrayStringConcat(extractAll(if(isValidJSON(extras), '', extras),
                '"(?:channel|service|env|level|trace_id|request_id|job_id|campaign_id)"\\s*:\\s*"(?:[^"\\\\]|\\\\[^u]|\\\\u(?:[0-9a-cefA-CEF][0-9a-fA-F]|[dD][0-7])[0-9a-fA-F]{2}|\\\\u[dD][89abAB][0-9a-fA-F]{2}\\\\u[dD][c-fC-F][0-9a-fA-F]{2})*"'),
                ','), '}')),
            'Tuple(channel String, service String, env String, level String, trace_id String, request_id String, job_id String, campaign_id String, tags Array(String))')
        COMMENT 'Not stored and not to be asked for: the computed columns are made of it'
        AFTER expires_at;

ALTER TABLE events_raw_v1
    MODIFY COLUMN channel LowCardinality(String) MATERIALIZED tupleElement(known_extras, 'channel'),
    MODIFY COLUMN service LowCardinality(String) MATERIALIZED tupleElement(known_extras, 'service'),
    MODIFY COLUMN env LowCardinality(String) MATERIALIZED tupleElement(known_extras, 'env'),
    MODIFY COLUMN level LowCardinality(String) MATERIALIZED tupleElement(known_extras, 'level'),
    MODIFY COLUMN trace_id String MATERIALIZED tupleElement(known_extras, 'trace_id'),
    MODIFY COLUMN request_id String MATERIALIZED tupleElement(known_extras, 'request_id'),
    MODIFY COLUMN job_id String MATERIALIZED tupleElement(known_extras, 'job_id'),
    MODIFY COLUMN campaign_id String MATERIALIZED tupleElement(known_extras, 'campaign_id'),
    MODIFY COLUMN tags Array(String) MATERIALIZED tupleElement(known_extras, 'tags');
