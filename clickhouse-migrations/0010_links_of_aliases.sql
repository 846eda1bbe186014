-- Clients of others link ids by more events than $identify: by aliases, whose old id
-- is the anonymous one; and Amplitude and Mixpanel by any event that has both ids.
-- What is linked already stays.
CREATE MATERIALIZED VIEW IF NOT EXISTS identity_links_mv TO identity_links AS
SELECT
    project_id,
    assumeNotNull(anonymous_id) AS anonymous_id,
    argMinState(assumeNotNull(events_raw_v1.user_id), tuple(received_at, event_id, assumeNotNull(events_raw_v1.user_id))) AS user
FROM events_raw_v1
WHERE (event IN ('$identify', '$alias', '$create_alias') OR source IN ('amplitude', 'mixpanel'))
    AND isNotNull(events_raw_v1.user_id) AND isNotNull(events_raw_v1.anonymous_id)
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
WHERE (event IN ('$identify', '$alias', '$create_alias') OR source IN ('amplitude', 'mixpanel'))
    AND isNotNull(events_raw_v1.user_id) AND isNotNull(events_raw_v1.anonymous_id)
    AND NOT match(events_raw_v1.user_id, '(?is)^[\\p{Z}\\p{Cc}\\p{Cf}]*(?:undefined|null|\\(null\\)|<null>|nil|<nil>|none|nan|n\\/a|true|false|-1|-0|0\\.0|\\[\\]|\\{\\}|""|\'\'|\\[object object\\]|unknown|nobody|anonymous|anon|anonymous_id|anonymousid|guest|not_authenticated|id|uid|uuid|guid|user_id|userid|distinct_id|distinctid|device_id|deviceid|email|(?:urn:uuid:)?\\{?(?:0[0-]*|f[f-]{7,})\\}?|\\{\\{.*\\}\\}|\\$\\{.*\\})?[\\p{Z}\\p{Cc}\\p{Cf}]*$')
    AND NOT match(events_raw_v1.anonymous_id, '(?is)^[\\p{Z}\\p{Cc}\\p{Cf}]*(?:undefined|null|\\(null\\)|<null>|nil|<nil>|none|nan|n\\/a|true|false|-1|-0|0\\.0|\\[\\]|\\{\\}|""|\'\'|\\[object object\\]|unknown|nobody|anonymous|anon|anonymous_id|anonymousid|guest|not_authenticated|id|uid|uuid|guid|user_id|userid|distinct_id|distinctid|device_id|deviceid|email|(?:urn:uuid:)?\\{?(?:0[0-]*|f[f-]{7,})\\}?|\\{\\{.*\\}\\}|\\$\\{.*\\})?[\\p{Z}\\p{Cc}\\p{Cf}]*$')
GROUP BY project_id, anonymous_id;

-- With FINAL: links are sorted by this key, so millions of them are merged without being held in memory.
CREATE OR REPLACE VIEW identities AS
(
    SELECT project_id, anonymous_id, finalizeAggregation(user) AS user_id
    FROM identity_links FINAL
    WHERE NOT match(anonymous_id, '(?is)^[\\p{Z}\\p{Cc}\\p{Cf}]*(?:undefined|null|\\(null\\)|<null>|nil|<nil>|none|nan|n\\/a|true|false|-1|-0|0\\.0|\\[\\]|\\{\\}|""|\'\'|\\[object object\\]|unknown|nobody|anonymous|anon|anonymous_id|anonymousid|guest|not_authenticated|id|uid|uuid|guid|user_id|userid|distinct_id|distinctid|device_id|deviceid|email|(?:urn:uuid:)?\\{?(?:0[0-]*|f[f-]{7,})\\}?|\\{\\{.*\\}\\}|\\$\\{.*\\})?[\\p{Z}\\p{Cc}\\p{Cf}]*$')
        AND NOT match(user_id, '(?is)^[\\p{Z}\\p{Cc}\\p{Cf}]*(?:undefined|null|\\(null\\)|<null>|nil|<nil>|none|nan|n\\/a|true|false|-1|-0|0\\.0|\\[\\]|\\{\\}|""|\'\'|\\[object object\\]|unknown|nobody|anonymous|anon|anonymous_id|anonymousid|guest|not_authenticated|id|uid|uuid|guid|user_id|userid|distinct_id|distinctid|device_id|deviceid|email|(?:urn:uuid:)?\\{?(?:0[0-]*|f[f-]{7,})\\}?|\\{\\{.*\\}\\}|\\$\\{.*\\})?[\\p{Z}\\p{Cc}\\p{Cf}]*$')
)
COMMENT 'The user of each linked anonymous id: that of the first event that arrived with both and links them ($identify, $alias, $create_alias; of Amplitude and Mixpanel any). Ids that mean nobody (undefined, null, …) are left out.';
