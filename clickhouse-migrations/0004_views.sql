-- One row per event id even when its copies differ in event name, timestamp or
-- month of arrival, which no sorting key can promise. Of the ways to say it,
-- LIMIT 1 BY was the fastest over a project among a million rows, and lets a
-- condition on project_id reach the primary key; others are checked after it.
CREATE OR REPLACE VIEW events AS
(
    SELECT
        e.project_id AS project_id,
        e.event_id AS event_id,
        e.event AS event,
        e.timestamp AS timestamp,
        coalesce(e.user_id, nullIf(i.user_id, ''), e.anonymous_id) AS distinct_id,
        e.user_id AS user_id,
        e.anonymous_id AS anonymous_id,
        e.session_id AS session_id,
        e.properties AS properties,
        e.extras AS extras,
        e.source AS source,
        e.received_at AS received_at,
        e.channel AS channel,
        e.service AS service,
        e.env AS env,
        e.level AS level,
        e.trace_id AS trace_id,
        e.request_id AS request_id,
        e.job_id AS job_id,
        e.campaign_id AS campaign_id,
        e.tags AS tags
    FROM
    (
        SELECT
            project_id, event_id, event, timestamp, user_id, anonymous_id, session_id, properties, extras, source, received_at,
            channel, service, env, level, trace_id, request_id, job_id, campaign_id, tags
        FROM events_raw_v1
        ORDER BY received_at DESC, timestamp DESC, event DESC
        LIMIT 1 BY project_id, event_id
    ) AS e
    LEFT JOIN identities AS i ON i.project_id = e.project_id AND i.anonymous_id = e.anonymous_id
)
COMMENT 'Each event once, the copy that arrived last. distinct_id is the user, else the user its anonymous_id was linked to, else the anonymous_id. Name a project_id in WHERE: it is what makes it fast.';

CREATE OR REPLACE VIEW persons AS
(
    SELECT
        project_id,
        assumeNotNull(e.distinct_id) AS distinct_id,
        min(e.timestamp) AS first_seen,
        max(e.timestamp) AS last_seen,
        count() AS events,
        uniqExact(e.session_id) AS sessions,
        countIf(isNotNull(e.user_id)) > 0 AS is_identified,
        arraySort(groupUniqArray(e.anonymous_id)) AS anonymous_ids
    FROM events AS e
    WHERE isNotNull(e.distinct_id)
    GROUP BY project_id, distinct_id
)
COMMENT 'Each distinct_id of a project: when it was first and last seen, how many events and sessions, which anonymous ids.';

CREATE OR REPLACE VIEW sessions AS
(
    SELECT
        project_id,
        assumeNotNull(e.session_id) AS session_id,
        argMax(e.distinct_id, tuple(e.timestamp, e.event_id)) AS distinct_id,
        min(e.timestamp) AS started_at,
        max(e.timestamp) AS ended_at,
        dateDiff('millisecond', started_at, ended_at) / 1000 AS duration_seconds,
        count() AS events
    FROM events AS e
    WHERE isNotNull(e.session_id)
    GROUP BY project_id, session_id
)
COMMENT 'Each session_id of a project: whose it was at its end, from when to when, how many events.';

CREATE DATABASE IF NOT EXISTS monitor;

-- Straight from the table, so that a look-up by trace_id, request_id or job_id
-- reaches its index. FINAL leaves out what was inserted twice.
CREATE OR REPLACE VIEW monitor.events AS
(
    SELECT
        timestamp,
        service,
        event AS name,
        env,
        job_id,
        request_id,
        trace_id,
        level,
        properties AS data
    FROM events_raw_v1 FINAL
    WHERE service != ''
)
COMMENT 'What services reported, of all projects. Look-ups by trace_id, request_id and job_id use an index.';
