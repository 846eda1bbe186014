DO $$
BEGIN
  IF current_setting('server_encoding') <> 'UTF8' THEN
    RAISE EXCEPTION 'events need a database in UTF8, and this one is in %', current_setting('server_encoding')
      USING HINT = 'CREATE DATABASE ... ENCODING ''UTF8'' TEMPLATE template0, and set DATABASE_URL to it';
  END IF;
END $$;
--> statement-breakpoint
CREATE SCHEMA IF NOT EXISTS analytics;
--> statement-breakpoint
CREATE SCHEMA IF NOT EXISTS monitor;
--> statement-breakpoint
-- Every event as it was accepted, in partitions by the month of its arrival. What
-- a client sends must neither fail an insert nor decide how many partitions there are.
CREATE TABLE analytics.events_raw (
  project_id uuid NOT NULL,
  event_id uuid NOT NULL,
  "timestamp" timestamptz(3) NOT NULL,
  received_at timestamptz(3) NOT NULL,
  expires_at timestamptz(0),
  is_user boolean NOT NULL,
  is_anonymous boolean NOT NULL,
  event text NOT NULL,
  anonymous_id text,
  user_id text,
  session_id text,
  source text NOT NULL,
  channel text NOT NULL,
  service text NOT NULL,
  env text NOT NULL,
  level text NOT NULL,
  trace_id text NOT NULL,
  request_id text NOT NULL,
  job_id text NOT NULL,
  campaign_id text NOT NULL,
  tags text[] NOT NULL,
  properties json NOT NULL,
  extras json NOT NULL,
  properties_sent text,
  extras_sent text
) PARTITION BY RANGE (received_at);
--> statement-breakpoint
COMMENT ON TABLE analytics.events_raw IS 'Every accepted event. Read the view analytics.events: it knows who an event belongs to, and shows none that has expired.';
--> statement-breakpoint
COMMENT ON COLUMN analytics.events_raw.is_user IS 'user_id is there and means somebody (no placeholder such as undefined or null)';
--> statement-breakpoint
COMMENT ON COLUMN analytics.events_raw.is_anonymous IS 'anonymous_id is there and means somebody';
--> statement-breakpoint
COMMENT ON COLUMN analytics.events_raw.expires_at IS 'From the retention of the project; null means never';
--> statement-breakpoint
COMMENT ON COLUMN analytics.events_raw.properties IS 'JSON object, byte for byte as the client sent it; where SQL cannot read that, a readable form, and properties_sent has the bytes';
--> statement-breakpoint
COMMENT ON COLUMN analytics.events_raw.extras IS 'JSON object of every other field the client sent; where SQL cannot read that, a readable form, and extras_sent has the bytes';
--> statement-breakpoint
CREATE INDEX events_raw_by_event ON analytics.events_raw (project_id, event, "timestamp");
--> statement-breakpoint
CREATE INDEX events_raw_by_time ON analytics.events_raw (project_id, "timestamp");
--> statement-breakpoint
CREATE INDEX events_raw_by_user ON analytics.events_raw (project_id, user_id, "timestamp") WHERE user_id IS NOT NULL;
--> statement-breakpoint
CREATE INDEX events_raw_by_anonymous_id ON analytics.events_raw (project_id, anonymous_id, "timestamp") WHERE anonymous_id IS NOT NULL;
--> statement-breakpoint
CREATE INDEX events_raw_by_session ON analytics.events_raw (project_id, session_id) WHERE session_id IS NOT NULL;
--> statement-breakpoint
CREATE INDEX events_raw_by_trace ON analytics.events_raw (trace_id) WHERE trace_id <> '';
--> statement-breakpoint
CREATE INDEX events_raw_by_request ON analytics.events_raw (request_id) WHERE request_id <> '';
--> statement-breakpoint
CREATE INDEX events_raw_by_job ON analytics.events_raw (job_id) WHERE job_id <> '';
--> statement-breakpoint
-- With those that never expire: whether a partition has one is then known at once.
CREATE INDEX events_raw_by_expiry ON analytics.events_raw (expires_at);
--> statement-breakpoint
-- Inserts that landed. An id that is here was stored, however often its batch is sent again.
CREATE TABLE analytics.event_batches (
  id uuid PRIMARY KEY,
  stored_at timestamptz(3) NOT NULL DEFAULT now(),
  events integer NOT NULL,
  copies integer NOT NULL DEFAULT 0
);
--> statement-breakpoint
COMMENT ON COLUMN analytics.event_batches.copies IS 'How many of its events were there already, from another batch';
--> statement-breakpoint
CREATE INDEX event_batches_by_time ON analytics.event_batches (stored_at);
--> statement-breakpoint
-- What was once in event_batches: one row.
CREATE TABLE analytics.forgotten_batches (
  batches bigint NOT NULL,
  events bigint NOT NULL,
  copies bigint NOT NULL
);
--> statement-breakpoint
INSERT INTO analytics.forgotten_batches VALUES (0, 0, 0);
--> statement-breakpoint
CREATE TABLE analytics.event_counts_hourly (
  project_id uuid NOT NULL,
  hour timestamptz(0) NOT NULL,
  events bigint NOT NULL,
  event text NOT NULL,
  channel text NOT NULL,
  PRIMARY KEY (project_id, event, hour, channel)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);
--> statement-breakpoint
COMMENT ON TABLE analytics.event_counts_hourly IS 'Events by the hour of their timestamp: each counts once, also where a client sent it more often.';
--> statement-breakpoint
-- The earliest arrival wins, in whatever order they are stored.
CREATE TABLE analytics.identities (
  project_id uuid NOT NULL,
  event_id uuid NOT NULL,
  received_at timestamptz(3) NOT NULL,
  anonymous_id text NOT NULL,
  user_id text NOT NULL,
  PRIMARY KEY (project_id, anonymous_id)
);
--> statement-breakpoint
COMMENT ON TABLE analytics.identities IS 'The user of each linked anonymous id: that of the first event that arrived with both and links them ($identify, $alias, $create_alias; of Amplitude and Mixpanel any). Ids that mean nobody (undefined, null, ...) are left out.';
--> statement-breakpoint
CREATE INDEX identities_by_user ON analytics.identities (project_id, user_id);
--> statement-breakpoint
-- Whether an id is a placeholder: the rule of src/event/placeholder-ids.ts. The
-- regular expression decides, and takes microseconds; nearly all ids are told by
-- their first and last character. U+2400 stands for U+0000 here.
CREATE FUNCTION analytics.is_placeholder_id(id text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
  SELECT CASE
    WHEN ascii(id) BETWEEN 33 AND 126 AND ascii(right(id, 1)) BETWEEN 33 AND 126 THEN CASE
      WHEN octet_length(id) <= 17 AND lower(id COLLATE "C") = ANY (ARRAY['undefined', 'null', '(null)', '<null>', 'nil', '<nil>', 'none', 'nan', 'n/a', 'true', 'false', '-1', '-0', '0.0', '[]', '{}', '""', '''''', '[object object]', 'unknown', 'nobody', 'anonymous', 'anon', 'anonymous_id', 'anonymousid', 'guest', 'not_authenticated', 'id', 'uid', 'uuid', 'guid', 'user_id', 'userid', 'distinct_id', 'distinctid', 'device_id', 'deviceid', 'email']) THEN true
      WHEN ascii(id) IN (36, 123)
        OR (ascii(id) IN (48, 70, 102) AND translate(id, '0-}fF', '') = '')
        OR (ascii(id) IN (85, 117) AND lower(left(id, 9) COLLATE "C") = 'urn:uuid:')
        OR (octet_length(id) <> length(id) AND length(id) <= 17)
      THEN id COLLATE "C" ~* '^[\u0001-\u0020\u007f-\u00a0\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890-\u0891\u08e2\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u2064\u2066-\u206f\u2400\u3000\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f]*(?:undefined|null|\(null\)|<null>|nil|<nil>|none|nan|n\/a|true|fal[s\u017f]e|-1|-0|0\.0|\[\]|\{\}|""|''''|\[object object\]|un[k\u212a]nown|nobody|anonymou[s\u017f]|anon|anonymou[s\u017f]_id|anonymou[s\u017f]id|gue[s\u017f]t|not_authenticated|id|uid|uuid|guid|u[s\u017f]er_id|u[s\u017f]erid|di[s\u017f]tinct_id|di[s\u017f]tinctid|device_id|deviceid|email|(?:urn:uuid:)?\{?(?:0[0-]*|f[f-]{7,})\}?|\{\{.*\}\}|\$\{.*\})?[\u0001-\u0020\u007f-\u00a0\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890-\u0891\u08e2\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u2064\u2066-\u206f\u2400\u3000\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f]*$'
      ELSE false END
    ELSE id COLLATE "C" ~* '^[\u0001-\u0020\u007f-\u00a0\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890-\u0891\u08e2\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u2064\u2066-\u206f\u2400\u3000\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f]*(?:undefined|null|\(null\)|<null>|nil|<nil>|none|nan|n\/a|true|fal[s\u017f]e|-1|-0|0\.0|\[\]|\{\}|""|''''|\[object object\]|un[k\u212a]nown|nobody|anonymou[s\u017f]|anon|anonymou[s\u017f]_id|anonymou[s\u017f]id|gue[s\u017f]t|not_authenticated|id|uid|uuid|guid|u[s\u017f]er_id|u[s\u017f]erid|di[s\u017f]tinct_id|di[s\u017f]tinctid|device_id|deviceid|email|(?:urn:uuid:)?\{?(?:0[0-]*|f[f-]{7,})\}?|\{\{.*\}\}|\$\{.*\})?[\u0001-\u0020\u007f-\u00a0\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890-\u0891\u08e2\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u2064\u2066-\u206f\u2400\u3000\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f]*$' END
$$;
--> statement-breakpoint
-- Rows as Weir writes them, a JSON array of objects, as rows of events_raw. What
-- extras lack is empty; what is no text there is its JSON. Of longer ones there are
-- the first 200 characters, as many as ids and names have: indexes end at 2 704 bytes.
CREATE FUNCTION analytics.read_rows(rows json) RETURNS TABLE (
  project_id uuid, event_id uuid, "timestamp" timestamptz, received_at timestamptz, expires_at timestamptz,
  is_user boolean, is_anonymous boolean, event text, anonymous_id text, user_id text, session_id text, source text,
  channel text, service text, env text, level text, trace_id text, request_id text, job_id text, campaign_id text, tags text[],
  properties json, extras json, properties_sent text, extras_sent text
)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
  SELECT r.project_id, r.event_id, r."timestamp", r.received_at, r.expires_at,
    r.user_id IS NOT NULL AND NOT analytics.is_placeholder_id(r.user_id),
    r.anonymous_id IS NOT NULL AND NOT analytics.is_placeholder_id(r.anonymous_id),
    r.event, r.anonymous_id, r.user_id, r.session_id, r.source,
    coalesce(left(k.channel #>> '{}', 200), ''),
    coalesce(left(k.service #>> '{}', 200), ''),
    coalesce(left(k.env #>> '{}', 200), ''),
    coalesce(left(k.level #>> '{}', 200), ''),
    coalesce(left(k.trace_id #>> '{}', 200), ''),
    coalesce(left(k.request_id #>> '{}', 200), ''),
    coalesce(left(k.job_id #>> '{}', 200), ''),
    coalesce(left(k.campaign_id #>> '{}', 200), ''),
    CASE WHEN json_typeof(k.tags) = 'array'
      THEN ARRAY(SELECT coalesce(tag #>> '{}', '') FROM json_array_elements(k.tags) AS tag)
      ELSE '{}' END,
    r.properties, r.extras, r.properties_sent, r.extras_sent
  FROM json_to_recordset(rows) AS r (
    project_id uuid, event_id uuid, event text, anonymous_id text, user_id text, "timestamp" timestamptz, session_id text,
    properties json, extras json, properties_sent text, extras_sent text, source text, received_at timestamptz, expires_at timestamptz
  )
  LEFT JOIN LATERAL (
    SELECT * FROM json_to_record(r.extras) AS known (channel json, service json, env json, level json, trace_id json, request_id json, job_id json, campaign_id json, tags json)
    WHERE r.extras::text <> '{}'
  ) AS k ON true
$$;
--> statement-breakpoint
-- The partition of a month of arrival, in UTC; it may be there already. Nobody who
-- inserts or reads waits for it.
CREATE FUNCTION analytics.add_partition(arrival timestamptz) RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
  first timestamptz := date_trunc('month', arrival, 'UTC');
  next timestamptz := date_trunc('month', first + interval '32 days', 'UTC');
  name text := 'events_raw_' || to_char(first AT TIME ZONE 'UTC', 'YYYY_MM');
BEGIN
  -- "weir", and the table: two that make the same one take turns.
  PERFORM pg_advisory_xact_lock(x'77656972'::int, 'analytics.events_raw'::regclass::oid::int);
  IF EXISTS (SELECT FROM pg_inherits WHERE inhparent = 'analytics.events_raw'::regclass AND inhrelid = to_regclass('analytics.' || name)) THEN
    RETURN NULL;
  END IF;
  IF to_regclass('analytics.' || name) IS NOT NULL THEN
    RAISE EXCEPTION 'analytics.% is there, and no partition of analytics.events_raw: attach it, or give it another name', name
      USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  EXECUTE format('CREATE TABLE analytics.%I (LIKE analytics.events_raw
    INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE INCLUDING COMPRESSION INCLUDING COMMENTS INCLUDING GENERATED)
    WITH (autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05)', name);
  -- Which rows are copies of one event; a partitioned table cannot have it.
  EXECUTE format('CREATE UNIQUE INDEX ON analytics.%I (project_id, event_id, event)', name);
  EXECUTE format('ALTER TABLE analytics.events_raw ATTACH PARTITION analytics.%I FOR VALUES FROM (%L) TO (%L)',
    name, to_char(first AT TIME ZONE 'UTC', 'YYYY-MM-DD"T00:00:00Z"'), to_char(next AT TIME ZONE 'UTC', 'YYYY-MM-DD"T00:00:00Z"'));
  RETURN name;
END $$;
--> statement-breakpoint
-- This month and two ahead.
SELECT analytics.add_partition(date_trunc('month', now(), 'UTC') + ahead * interval '32 days') FROM generate_series(0, 2) AS ahead;
--> statement-breakpoint
-- Which of these rows cannot be read, or stored if `storing`, and by which error.
-- `lines` holds them one after the other. Tries some at a time, and halves of what
-- fails, down to the single row. The caller rolls back.
CREATE FUNCTION analytics.inspect_rows(lines bytea, lengths int[], storing boolean)
RETURNS TABLE (place int, is_read boolean, state text, "constraint" text, "column" text)
LANGUAGE plpgsql
AS $$
DECLARE
  starts int[];
  firsts int[] := '{}';
  lasts int[] := '{}';
  top int := 0;
  first int;
  last int;
  next int := 1;
  tried json;
  rec record;
BEGIN
  SELECT array_agg(ends - length + 1 ORDER BY number) INTO starts
  FROM (SELECT number, length, sum(length) OVER (ORDER BY number)::int AS ends
    FROM unnest(lengths) WITH ORDINALITY AS each_row (length, number)) AS summed;
  LOOP
    IF top > 0 THEN
      first := firsts[top]; last := lasts[top]; top := top - 1;
    ELSE
      EXIT WHEN next > coalesce(array_length(lengths, 1), 0);
      first := next; last := least(next + 127, array_length(lengths, 1)); next := last + 1;
    END IF;
    is_read := false;
    BEGIN
      tried := ('[' || replace(rtrim(convert_from(
        substring(lines FROM starts[first] FOR starts[last] + lengths[last] - starts[first]), 'UTF8'
      ), E'\n'), E'\n', ',') || ']')::json;
      IF json_array_length(tried) <> last - first + 1 THEN RAISE invalid_parameter_value; END IF;
      SELECT count(r) AS rows, bool_or(received_at IS NULL) AS homeless INTO rec
      FROM (SELECT * FROM analytics.read_rows(tried) OFFSET 0) AS r;
      IF rec.homeless THEN RAISE not_null_violation USING COLUMN = 'received_at'; END IF;
      is_read := true;
      IF storing THEN
        INSERT INTO analytics.events_raw (
          project_id, event_id, "timestamp", received_at, expires_at, is_user, is_anonymous, event, anonymous_id, user_id,
          session_id, source, channel, service, env, level, trace_id, request_id, job_id, campaign_id, tags,
          properties, extras, properties_sent, extras_sent
        ) SELECT * FROM analytics.read_rows(tried) ON CONFLICT DO NOTHING;
      END IF;
    EXCEPTION WHEN OTHERS THEN
      IF first = last THEN
        GET STACKED DIAGNOSTICS state := RETURNED_SQLSTATE, "constraint" := CONSTRAINT_NAME, "column" := COLUMN_NAME;
        place := first - 1;
        RETURN NEXT;
      ELSE
        firsts[top + 1] := (first + last) / 2 + 1; lasts[top + 1] := last;
        firsts[top + 2] := first; lasts[top + 2] := (first + last) / 2;
        top := top + 2;
      END IF;
    END;
  END LOOP;
END $$;
