-- weir: after the rebuild of events_raw_v1
--
-- The sorting key says which rows are copies of one event, so `FINAL` shows each
-- once, and a condition on the name or the time of an event reaches that key:
-- what a question costs is what its rows cost. Sorting by id did not let it.
-- Links are joined by one text: by two columns, one of them nullable, it takes twice the time.
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
    FROM events_raw_v1 AS e FINAL
    LEFT ANY JOIN (SELECT user_id, concat(reinterpretAsString(project_id), anonymous_id) AS id FROM identities) AS i
        ON i.id = concat(reinterpretAsString(e.project_id), assumeNotNull(e.anonymous_id))
    WHERE e.expires_at > now()
)
COMMENT 'Each event that has not expired, once: of the same name, id and hour, the copy that arrived last. distinct_id is the user, else the user its anonymous_id was linked to, else the anonymous_id, or null where these mean nobody (undefined, null, …).';

-- First by the ids as they were sent, which are far fewer than the events, and only then by whose they are.
CREATE OR REPLACE VIEW persons AS
(
    SELECT
        project_id,
        assumeNotNull(who) AS distinct_id,
        min(p.first_seen) AS first_seen,
        max(p.last_seen) AS last_seen,
        sum(p.events) AS events,
        uniqExactMerge(p.sessions) AS sessions,
        max(p.is_identified) > 0 AS is_identified,
        arraySort(groupUniqArrayIf(assumeNotNull(p.anonymous_id), p.is_anonymous)) AS anonymous_ids
    FROM
    (
        SELECT
            pairs.project_id AS project_id, pairs.anonymous_id AS anonymous_id,
            multiIf(is_identified, pairs.user_id, i.user_id != '', i.user_id, is_anonymous, pairs.anonymous_id, NULL) AS who,
            isNotNull(pairs.user_id) AND NOT match(assumeNotNull(pairs.user_id), '(?is)^[\\p{Z}\\p{Cc}\\p{Cf}]*(?:undefined|null|\\(null\\)|<null>|nil|<nil>|none|nan|n\\/a|true|false|-1|-0|0\\.0|\\[\\]|\\{\\}|""|\'\'|\\[object object\\]|unknown|nobody|anonymous|anon|anonymous_id|anonymousid|guest|not_authenticated|id|uid|uuid|guid|user_id|userid|distinct_id|distinctid|device_id|deviceid|email|(?:urn:uuid:)?\\{?(?:0[0-]*|f[f-]{7,})\\}?|\\{\\{.*\\}\\}|\\$\\{.*\\})?[\\p{Z}\\p{Cc}\\p{Cf}]*$') AS is_identified,
            isNotNull(pairs.anonymous_id) AND NOT match(assumeNotNull(pairs.anonymous_id), '(?is)^[\\p{Z}\\p{Cc}\\p{Cf}]*(?:undefined|null|\\(null\\)|<null>|nil|<nil>|none|nan|n\\/a|true|false|-1|-0|0\\.0|\\[\\]|\\{\\}|""|\'\'|\\[object object\\]|unknown|nobody|anonymous|anon|anonymous_id|anonymousid|guest|not_authenticated|id|uid|uuid|guid|user_id|userid|distinct_id|distinctid|device_id|deviceid|email|(?:urn:uuid:)?\\{?(?:0[0-]*|f[f-]{7,})\\}?|\\{\\{.*\\}\\}|\\$\\{.*\\})?[\\p{Z}\\p{Cc}\\p{Cf}]*$') AS is_anonymous,
            pairs.first_seen AS first_seen, pairs.last_seen AS last_seen, pairs.events AS events, pairs.sessions AS sessions
        FROM
        (
            SELECT project_id, user_id, anonymous_id, min(timestamp) AS first_seen, max(timestamp) AS last_seen, count() AS events,
                uniqExactState(session_id) AS sessions
            FROM events_raw_v1 FINAL
            WHERE expires_at > now()
            GROUP BY project_id, user_id, anonymous_id
        ) AS pairs
        LEFT ANY JOIN (SELECT user_id, concat(reinterpretAsString(project_id), anonymous_id) AS id FROM identities) AS i
            ON i.id = concat(reinterpretAsString(pairs.project_id), assumeNotNull(pairs.anonymous_id))
    ) AS p
    WHERE isNotNull(who)
    GROUP BY project_id, distinct_id
)
COMMENT 'Each distinct_id of a project: when it was first and last seen, how many events and sessions, which anonymous ids.';

-- Whose the last event of a session is, as one text, and by one number when that was: a tuple is compared ten times slower.
CREATE OR REPLACE VIEW sessions AS
(
    SELECT
        s.project_id AS project_id,
        s.session_id AS session_id,
        multiIf(
            startsWith(s.last, 'u'), CAST(substring(s.last, 2), 'Nullable(String)'),
            i.user_id != '', i.user_id,
            startsWith(s.last, 'a'), substring(s.last, 2),
            NULL) AS distinct_id,
        s.started_at AS started_at,
        s.ended_at AS ended_at,
        dateDiff('millisecond', s.started_at, s.ended_at) / 1000 AS duration_seconds,
        s.events AS events
    FROM
    (
        SELECT
            project_id,
            session_id,
            argMaxIf(who, bitOr(bitShiftLeft(toUInt256(toUnixTimestamp64Milli(timestamp) + 4611686018427387904), 128), toUInt256(reinterpretAsUInt128(event_id))), who != '') AS last,
            min(timestamp) AS started_at,
            max(timestamp) AS ended_at,
            count() AS events
        FROM
        (
            SELECT
                project_id,
                event_id,
                timestamp,
                assumeNotNull(e.session_id) AS session_id,
                multiIf(
                    isNotNull(user_id) AND NOT match(assumeNotNull(user_id), '(?is)^[\\p{Z}\\p{Cc}\\p{Cf}]*(?:undefined|null|\\(null\\)|<null>|nil|<nil>|none|nan|n\\/a|true|false|-1|-0|0\\.0|\\[\\]|\\{\\}|""|\'\'|\\[object object\\]|unknown|nobody|anonymous|anon|anonymous_id|anonymousid|guest|not_authenticated|id|uid|uuid|guid|user_id|userid|distinct_id|distinctid|device_id|deviceid|email|(?:urn:uuid:)?\\{?(?:0[0-]*|f[f-]{7,})\\}?|\\{\\{.*\\}\\}|\\$\\{.*\\})?[\\p{Z}\\p{Cc}\\p{Cf}]*$'), concat('u', assumeNotNull(user_id)),
                    isNotNull(anonymous_id) AND NOT match(assumeNotNull(anonymous_id), '(?is)^[\\p{Z}\\p{Cc}\\p{Cf}]*(?:undefined|null|\\(null\\)|<null>|nil|<nil>|none|nan|n\\/a|true|false|-1|-0|0\\.0|\\[\\]|\\{\\}|""|\'\'|\\[object object\\]|unknown|nobody|anonymous|anon|anonymous_id|anonymousid|guest|not_authenticated|id|uid|uuid|guid|user_id|userid|distinct_id|distinctid|device_id|deviceid|email|(?:urn:uuid:)?\\{?(?:0[0-]*|f[f-]{7,})\\}?|\\{\\{.*\\}\\}|\\$\\{.*\\})?[\\p{Z}\\p{Cc}\\p{Cf}]*$'), concat('a', assumeNotNull(anonymous_id)),
                    '') AS who
            FROM events_raw_v1 AS e FINAL
            WHERE isNotNull(e.session_id) AND expires_at > now()
        )
        GROUP BY project_id, session_id
    ) AS s
    LEFT ANY JOIN (SELECT user_id, concat(reinterpretAsString(project_id), anonymous_id) AS id FROM identities) AS i
        ON i.id = concat(reinterpretAsString(s.project_id), if(startsWith(s.last, 'a'), substring(s.last, 2), ''))
)
COMMENT 'Each session_id of a project: whose it was at its end, from when to when, how many events.';
