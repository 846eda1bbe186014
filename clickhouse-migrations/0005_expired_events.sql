-- ClickHouse removes expired rows when it merges their part, hours later. Who
-- reads must not depend on that: a row is gone with the second it expires.
-- The views persons and sessions read from events, so it holds for them too.
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
        WHERE expires_at > now()
        ORDER BY received_at DESC, timestamp DESC, event DESC
        LIMIT 1 BY project_id, event_id
    ) AS e
    LEFT JOIN identities AS i ON i.project_id = e.project_id AND i.anonymous_id = e.anonymous_id
)
COMMENT 'Each event that has not expired, once: the copy that arrived last. distinct_id is the user, else the user its anonymous_id was linked to, else the anonymous_id. Name a project_id in WHERE: it is what makes it fast.';

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
    WHERE service != '' AND expires_at > now()
)
COMMENT 'What services reported, of all projects. Look-ups by trace_id, request_id and job_id use an index.';
