-- What programs send where they have no id (undefined, null, [object Object], the
-- nil UUID, …) made all strangers one person. Such ids are stored and link nothing.
-- The same pattern everywhere: that of src/event/nobody.ts.
CREATE MATERIALIZED VIEW IF NOT EXISTS identity_links_mv TO identity_links AS
SELECT
    project_id,
    assumeNotNull(anonymous_id) AS anonymous_id,
    argMinState(assumeNotNull(events_raw_v1.user_id), tuple(received_at, event_id, assumeNotNull(events_raw_v1.user_id))) AS user
FROM events_raw_v1
WHERE event = '$identify' AND isNotNull(events_raw_v1.user_id) AND isNotNull(events_raw_v1.anonymous_id)
    AND NOT match(events_raw_v1.user_id, '(?is)^[\\p{Z}\\p{Cc}\\p{Cf}]*(?:undefined|null|\\(null\\)|<null>|nil|<nil>|none|nan|n\\/a|true|false|-1|-0|0\\.0|\\[\\]|\\{\\}|""|\'\'|\\[object object\\]|unknown|nobody|anonymous|anon|anonymous_id|anonymousid|guest|not_authenticated|id|uid|uuid|guid|user_id|userid|distinct_id|distinctid|device_id|deviceid|email|(?:urn:uuid:)?\\{?(?:0[0-]*|f[f-]{7,})\\}?|\\{\\{.*\\}\\}|\\$\\{.*\\})?[\\p{Z}\\p{Cc}\\p{Cf}]*$')
    AND NOT match(events_raw_v1.anonymous_id, '(?is)^[\\p{Z}\\p{Cc}\\p{Cf}]*(?:undefined|null|\\(null\\)|<null>|nil|<nil>|none|nan|n\\/a|true|false|-1|-0|0\\.0|\\[\\]|\\{\\}|""|\'\'|\\[object object\\]|unknown|nobody|anonymous|anon|anonymous_id|anonymousid|guest|not_authenticated|id|uid|uuid|guid|user_id|userid|distinct_id|distinctid|device_id|deviceid|email|(?:urn:uuid:)?\\{?(?:0[0-]*|f[f-]{7,})\\}?|\\{\\{.*\\}\\}|\\$\\{.*\\})?[\\p{Z}\\p{Cc}\\p{Cf}]*$')
GROUP BY project_id, anonymous_id;

-- At once, so that no link is missed between an old view and a new one.
ALTER TABLE identity_links_mv MODIFY QUERY
SELECT
    project_id,
    assumeNotNull(anonymous_id) AS anonymous_id,
    argMinState(assumeNotNull(events_raw_v1.user_id), tuple(received_at, event_id, assumeNotNull(events_raw_v1.user_id))) AS user
FROM events_raw_v1
WHERE event = '$identify' AND isNotNull(events_raw_v1.user_id) AND isNotNull(events_raw_v1.anonymous_id)
    AND NOT match(events_raw_v1.user_id, '(?is)^[\\p{Z}\\p{Cc}\\p{Cf}]*(?:undefined|null|\\(null\\)|<null>|nil|<nil>|none|nan|n\\/a|true|false|-1|-0|0\\.0|\\[\\]|\\{\\}|""|\'\'|\\[object object\\]|unknown|nobody|anonymous|anon|anonymous_id|anonymousid|guest|not_authenticated|id|uid|uuid|guid|user_id|userid|distinct_id|distinctid|device_id|deviceid|email|(?:urn:uuid:)?\\{?(?:0[0-]*|f[f-]{7,})\\}?|\\{\\{.*\\}\\}|\\$\\{.*\\})?[\\p{Z}\\p{Cc}\\p{Cf}]*$')
    AND NOT match(events_raw_v1.anonymous_id, '(?is)^[\\p{Z}\\p{Cc}\\p{Cf}]*(?:undefined|null|\\(null\\)|<null>|nil|<nil>|none|nan|n\\/a|true|false|-1|-0|0\\.0|\\[\\]|\\{\\}|""|\'\'|\\[object object\\]|unknown|nobody|anonymous|anon|anonymous_id|anonymousid|guest|not_authenticated|id|uid|uuid|guid|user_id|userid|distinct_id|distinctid|device_id|deviceid|email|(?:urn:uuid:)?\\{?(?:0[0-]*|f[f-]{7,})\\}?|\\{\\{.*\\}\\}|\\$\\{.*\\})?[\\p{Z}\\p{Cc}\\p{Cf}]*$')
GROUP BY project_id, anonymous_id;

-- What is linked already is left out here; `weir identities clean` takes it back.
CREATE OR REPLACE VIEW identities AS
(
    SELECT project_id, anonymous_id, argMinMerge(user) AS user_id
    FROM identity_links
    WHERE NOT match(anonymous_id, '(?is)^[\\p{Z}\\p{Cc}\\p{Cf}]*(?:undefined|null|\\(null\\)|<null>|nil|<nil>|none|nan|n\\/a|true|false|-1|-0|0\\.0|\\[\\]|\\{\\}|""|\'\'|\\[object object\\]|unknown|nobody|anonymous|anon|anonymous_id|anonymousid|guest|not_authenticated|id|uid|uuid|guid|user_id|userid|distinct_id|distinctid|device_id|deviceid|email|(?:urn:uuid:)?\\{?(?:0[0-]*|f[f-]{7,})\\}?|\\{\\{.*\\}\\}|\\$\\{.*\\})?[\\p{Z}\\p{Cc}\\p{Cf}]*$')
    GROUP BY project_id, anonymous_id
    HAVING NOT match(user_id, '(?is)^[\\p{Z}\\p{Cc}\\p{Cf}]*(?:undefined|null|\\(null\\)|<null>|nil|<nil>|none|nan|n\\/a|true|false|-1|-0|0\\.0|\\[\\]|\\{\\}|""|\'\'|\\[object object\\]|unknown|nobody|anonymous|anon|anonymous_id|anonymousid|guest|not_authenticated|id|uid|uuid|guid|user_id|userid|distinct_id|distinctid|device_id|deviceid|email|(?:urn:uuid:)?\\{?(?:0[0-]*|f[f-]{7,})\\}?|\\{\\{.*\\}\\}|\\$\\{.*\\})?[\\p{Z}\\p{Cc}\\p{Cf}]*$')
)
COMMENT 'The user of each linked anonymous id: that of the first $identify event that arrived with both. Ids that mean nobody (undefined, null, …) are left out.';

-- Events of two names are two events, also under one id: it may be that of what
-- they are about, sent through doors that look for an id now. A condition on the
-- name reaches the primary key by that, too.
CREATE OR REPLACE VIEW events AS
(
    SELECT
        e.project_id AS project_id,
        e.event_id AS event_id,
        e.event AS event,
        e.timestamp AS timestamp,
        multiIf(
            isNotNull(e.user_id) AND NOT match(assumeNotNull(e.user_id), '(?is)^[\\p{Z}\\p{Cc}\\p{Cf}]*(?:undefined|null|\\(null\\)|<null>|nil|<nil>|none|nan|n\\/a|true|false|-1|-0|0\\.0|\\[\\]|\\{\\}|""|\'\'|\\[object object\\]|unknown|nobody|anonymous|anon|anonymous_id|anonymousid|guest|not_authenticated|id|uid|uuid|guid|user_id|userid|distinct_id|distinctid|device_id|deviceid|email|(?:urn:uuid:)?\\{?(?:0[0-]*|f[f-]{7,})\\}?|\\{\\{.*\\}\\}|\\$\\{.*\\})?[\\p{Z}\\p{Cc}\\p{Cf}]*$'), e.user_id,
            i.user_id != '', i.user_id,
            isNotNull(e.anonymous_id) AND NOT match(assumeNotNull(e.anonymous_id), '(?is)^[\\p{Z}\\p{Cc}\\p{Cf}]*(?:undefined|null|\\(null\\)|<null>|nil|<nil>|none|nan|n\\/a|true|false|-1|-0|0\\.0|\\[\\]|\\{\\}|""|\'\'|\\[object object\\]|unknown|nobody|anonymous|anon|anonymous_id|anonymousid|guest|not_authenticated|id|uid|uuid|guid|user_id|userid|distinct_id|distinctid|device_id|deviceid|email|(?:urn:uuid:)?\\{?(?:0[0-]*|f[f-]{7,})\\}?|\\{\\{.*\\}\\}|\\$\\{.*\\})?[\\p{Z}\\p{Cc}\\p{Cf}]*$'), e.anonymous_id,
            NULL) AS distinct_id,
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
        LIMIT 1 BY project_id, event_id, event
    ) AS e
    LEFT JOIN identities AS i ON i.project_id = e.project_id AND i.anonymous_id = e.anonymous_id
)
COMMENT 'Each event that has not expired, once: of the same name and id, the copy that arrived last. distinct_id is the user, else the user its anonymous_id was linked to, else the anonymous_id, or null where these mean nobody (undefined, null, …). Name a project_id in WHERE: it is what makes it fast.';

CREATE OR REPLACE VIEW persons AS
(
    SELECT
        project_id,
        assumeNotNull(e.distinct_id) AS distinct_id,
        min(e.timestamp) AS first_seen,
        max(e.timestamp) AS last_seen,
        count() AS events,
        uniqExact(e.session_id) AS sessions,
        countIf(isNotNull(e.user_id) AND NOT match(assumeNotNull(e.user_id), '(?is)^[\\p{Z}\\p{Cc}\\p{Cf}]*(?:undefined|null|\\(null\\)|<null>|nil|<nil>|none|nan|n\\/a|true|false|-1|-0|0\\.0|\\[\\]|\\{\\}|""|\'\'|\\[object object\\]|unknown|nobody|anonymous|anon|anonymous_id|anonymousid|guest|not_authenticated|id|uid|uuid|guid|user_id|userid|distinct_id|distinctid|device_id|deviceid|email|(?:urn:uuid:)?\\{?(?:0[0-]*|f[f-]{7,})\\}?|\\{\\{.*\\}\\}|\\$\\{.*\\})?[\\p{Z}\\p{Cc}\\p{Cf}]*$')) > 0 AS is_identified,
        arraySort(arrayFilter(id -> NOT match(id, '(?is)^[\\p{Z}\\p{Cc}\\p{Cf}]*(?:undefined|null|\\(null\\)|<null>|nil|<nil>|none|nan|n\\/a|true|false|-1|-0|0\\.0|\\[\\]|\\{\\}|""|\'\'|\\[object object\\]|unknown|nobody|anonymous|anon|anonymous_id|anonymousid|guest|not_authenticated|id|uid|uuid|guid|user_id|userid|distinct_id|distinctid|device_id|deviceid|email|(?:urn:uuid:)?\\{?(?:0[0-]*|f[f-]{7,})\\}?|\\{\\{.*\\}\\}|\\$\\{.*\\})?[\\p{Z}\\p{Cc}\\p{Cf}]*$'), groupUniqArray(e.anonymous_id))) AS anonymous_ids
    FROM events AS e
    WHERE isNotNull(e.distinct_id)
    GROUP BY project_id, distinct_id
)
COMMENT 'Each distinct_id of a project: when it was first and last seen, how many events and sessions, which anonymous ids.';
