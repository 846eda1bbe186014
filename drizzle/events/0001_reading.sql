-- What people and projects read. The views show what their reader may see of the tables beneath: to the owner all
-- rows, to weir_reader those of the project that the transaction was opened for.
CREATE VIEW analytics.events WITH (security_invoker = true) AS
SELECT
  e.project_id, e.event_id, e.event, e."timestamp",
  CASE WHEN e.is_user THEN e.user_id ELSE coalesce(i.user_id, CASE WHEN e.is_anonymous THEN e.anonymous_id END) END AS distinct_id,
  e.user_id, e.anonymous_id, e.session_id, e.properties, e.extras, e.source, e.received_at,
  e.channel, e.service, e.env, e.level, e.trace_id, e.request_id, e.job_id, e.campaign_id, e.tags
FROM analytics.events_raw AS e
LEFT JOIN analytics.identities AS i ON i.project_id = e.project_id AND i.anonymous_id = e.anonymous_id
WHERE e.expires_at IS NULL OR e.expires_at > now();
--> statement-breakpoint
COMMENT ON VIEW analytics.events IS 'Each event that has not expired, once. distinct_id is the user, else the user its anonymous_id was linked to, else the anonymous_id, or null where these mean nobody (undefined, null, …).';
--> statement-breakpoint
COMMENT ON COLUMN analytics.events.distinct_id IS 'Whose the event is; null where nobody is known';
--> statement-breakpoint
COMMENT ON COLUMN analytics.events."timestamp" IS 'When it happened, by the client''s clock';
--> statement-breakpoint
COMMENT ON COLUMN analytics.events.received_at IS 'When it arrived';
--> statement-breakpoint
COMMENT ON COLUMN analytics.events.properties IS 'JSON object, byte for byte as the client sent it: properties->>''plan'', (properties->>''amount'')::numeric';
--> statement-breakpoint
COMMENT ON COLUMN analytics.events.extras IS 'JSON object of every other field the client sent';
--> statement-breakpoint
COMMENT ON COLUMN analytics.events.source IS 'The door it came through';
--> statement-breakpoint
-- First by the ids as they were sent, which are fewer than the events, and only then by whose they are.
CREATE VIEW analytics.persons WITH (security_invoker = true) AS
SELECT
  project_id, distinct_id,
  min(first_seen) AS first_seen, max(last_seen) AS last_seen, sum(events)::bigint AS events,
  count(DISTINCT session_id) AS sessions,
  bool_or(is_user) AS is_identified,
  coalesce(array_agg(DISTINCT anonymous_id COLLATE "C" ORDER BY anonymous_id COLLATE "C") FILTER (WHERE is_anonymous), '{}') AS anonymous_ids
FROM (
  SELECT
    e.project_id, e.session_id, e.anonymous_id, e.is_user, e.is_anonymous,
    CASE WHEN e.is_user THEN e.user_id ELSE coalesce(i.user_id, CASE WHEN e.is_anonymous THEN e.anonymous_id END) END AS distinct_id,
    e.first_seen, e.last_seen, e.events
  FROM (
    SELECT project_id, user_id, anonymous_id, session_id, is_user, is_anonymous,
      min("timestamp") AS first_seen, max("timestamp") AS last_seen, count(*) AS events
    FROM analytics.events_raw
    WHERE expires_at IS NULL OR expires_at > now()
    GROUP BY project_id, user_id, anonymous_id, session_id, is_user, is_anonymous
  ) AS e
  LEFT JOIN analytics.identities AS i ON i.project_id = e.project_id AND i.anonymous_id = e.anonymous_id
) AS visits
WHERE distinct_id IS NOT NULL
GROUP BY project_id, distinct_id;
--> statement-breakpoint
COMMENT ON VIEW analytics.persons IS 'Each distinct_id of a project: when it was first and last seen, how many events and sessions, which anonymous ids.';
--> statement-breakpoint
-- Whose the last event of a session is, as one text that begins with when that was.
CREATE VIEW analytics.sessions WITH (security_invoker = true) AS
SELECT
  s.project_id, s.session_id,
  CASE substr(s.last, 53, 1)
    WHEN 'u' THEN substr(s.last, 54)
    WHEN 'a' THEN coalesce(
      (SELECT i.user_id FROM analytics.identities AS i WHERE i.project_id = s.project_id AND i.anonymous_id = substr(s.last, 54)),
      substr(s.last, 54))
  END AS distinct_id,
  s.started_at, s.ended_at,
  date_part('epoch', s.ended_at - s.started_at) AS duration_seconds,
  s.events
FROM (
  SELECT
    project_id, session_id,
    max(to_hex(4611686018427387904 + round(date_part('epoch', "timestamp") * 1000)::bigint) || event_id
      || CASE WHEN is_user THEN 'u' || user_id ELSE 'a' || anonymous_id END COLLATE "C") FILTER (WHERE is_user OR is_anonymous) AS last,
    min("timestamp") AS started_at, max("timestamp") AS ended_at, count(*) AS events
  FROM analytics.events_raw
  WHERE session_id IS NOT NULL AND (expires_at IS NULL OR expires_at > now())
  GROUP BY project_id, session_id
) AS s;
--> statement-breakpoint
COMMENT ON VIEW analytics.sessions IS 'Each session_id of a project: whose it was at its end, from when to when, how many events.';
--> statement-breakpoint
CREATE VIEW monitor.events WITH (security_invoker = true) AS
SELECT "timestamp", service, event AS name, env, job_id, request_id, trace_id, level, properties AS data
FROM analytics.events_raw
WHERE service <> '' AND (expires_at IS NULL OR expires_at > now());
--> statement-breakpoint
COMMENT ON VIEW monitor.events IS 'What services reported, of all projects. Look-ups by trace_id, request_id and job_id use an index.';
--> statement-breakpoint
-- The same events and persons for questions about some people. Each branch finds its rows by an index on the id; to
-- read them all it reads the table three times.
CREATE SCHEMA analytics_people;
--> statement-breakpoint
CREATE VIEW analytics_people.events WITH (security_invoker = true) AS
SELECT
  e.project_id, e.event_id, e.event, e."timestamp", e.user_id AS distinct_id,
  e.user_id, e.anonymous_id, e.session_id, e.properties, e.extras, e.source, e.received_at,
  e.channel, e.service, e.env, e.level, e.trace_id, e.request_id, e.job_id, e.campaign_id, e.tags
FROM analytics.events_raw AS e
WHERE e.is_user AND (e.expires_at IS NULL OR e.expires_at > now())
UNION ALL
SELECT
  e.project_id, e.event_id, e.event, e."timestamp", i.user_id,
  e.user_id, e.anonymous_id, e.session_id, e.properties, e.extras, e.source, e.received_at,
  e.channel, e.service, e.env, e.level, e.trace_id, e.request_id, e.job_id, e.campaign_id, e.tags
FROM analytics.events_raw AS e
JOIN analytics.identities AS i ON i.project_id = e.project_id AND i.anonymous_id = e.anonymous_id
WHERE NOT e.is_user AND e.is_anonymous AND (e.expires_at IS NULL OR e.expires_at > now())
UNION ALL
SELECT
  e.project_id, e.event_id, e.event, e."timestamp", e.anonymous_id,
  e.user_id, e.anonymous_id, e.session_id, e.properties, e.extras, e.source, e.received_at,
  e.channel, e.service, e.env, e.level, e.trace_id, e.request_id, e.job_id, e.campaign_id, e.tags
FROM analytics.events_raw AS e
WHERE NOT e.is_user AND e.is_anonymous AND (e.expires_at IS NULL OR e.expires_at > now())
  AND NOT EXISTS (SELECT FROM analytics.identities AS i WHERE i.project_id = e.project_id AND i.anonymous_id = e.anonymous_id)
UNION ALL
SELECT
  e.project_id, e.event_id, e.event, e."timestamp", NULL::text,
  e.user_id, e.anonymous_id, e.session_id, e.properties, e.extras, e.source, e.received_at,
  e.channel, e.service, e.env, e.level, e.trace_id, e.request_id, e.job_id, e.campaign_id, e.tags
FROM analytics.events_raw AS e
WHERE NOT e.is_user AND NOT e.is_anonymous AND (e.expires_at IS NULL OR e.expires_at > now());
--> statement-breakpoint
COMMENT ON VIEW analytics_people.events IS 'As analytics.events, for conditions such as distinct_id = ''…'', which find their rows by an index here.';
--> statement-breakpoint
CREATE VIEW analytics_people.persons WITH (security_invoker = true) AS
SELECT
  project_id, distinct_id,
  min("timestamp") AS first_seen, max("timestamp") AS last_seen, count(*) AS events,
  count(DISTINCT session_id) AS sessions,
  bool_or(is_user) AS is_identified,
  coalesce(array_agg(DISTINCT anonymous_id COLLATE "C" ORDER BY anonymous_id COLLATE "C") FILTER (WHERE is_anonymous), '{}') AS anonymous_ids
FROM (
  SELECT e.project_id, e.user_id AS distinct_id, e."timestamp", e.session_id, e.anonymous_id, e.is_user, e.is_anonymous
  FROM analytics.events_raw AS e
  WHERE e.is_user AND (e.expires_at IS NULL OR e.expires_at > now())
  UNION ALL
  SELECT e.project_id, i.user_id, e."timestamp", e.session_id, e.anonymous_id, e.is_user, e.is_anonymous
  FROM analytics.events_raw AS e
  JOIN analytics.identities AS i ON i.project_id = e.project_id AND i.anonymous_id = e.anonymous_id
  WHERE NOT e.is_user AND e.is_anonymous AND (e.expires_at IS NULL OR e.expires_at > now())
  UNION ALL
  SELECT e.project_id, e.anonymous_id, e."timestamp", e.session_id, e.anonymous_id, e.is_user, e.is_anonymous
  FROM analytics.events_raw AS e
  WHERE NOT e.is_user AND e.is_anonymous AND (e.expires_at IS NULL OR e.expires_at > now())
    AND NOT EXISTS (SELECT FROM analytics.identities AS i WHERE i.project_id = e.project_id AND i.anonymous_id = e.anonymous_id)
) AS people
GROUP BY project_id, distinct_id;
--> statement-breakpoint
CREATE TABLE analytics.reading_seal (secret bytea NOT NULL);
--> statement-breakpoint
REVOKE ALL ON analytics.reading_seal FROM PUBLIC;
--> statement-breakpoint
INSERT INTO analytics.reading_seal SELECT sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8'));
--> statement-breakpoint
-- The project and a seal that only the owner can make, for the setting weir.reading.
CREATE FUNCTION analytics.sealed(project text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT project || ':' || encode(sha256(secret || sha256(secret || convert_to(project, 'UTF8'))), 'hex') FROM analytics.reading_seal $$;
--> statement-breakpoint
REVOKE EXECUTE ON FUNCTION analytics.sealed(text) FROM PUBLIC;
--> statement-breakpoint
-- Whose rows this transaction sees; null, and so nobody's, unless the setting is sealed.
CREATE FUNCTION analytics.reading_project() RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  SELECT split_part(given, ':', 1)::uuid
  FROM current_setting('weir.reading', true) AS given
  WHERE given = analytics.sealed(split_part(given, ':', 1))
$$;
--> statement-breakpoint
-- For the rest of the transaction weir_reader sees this project's rows. Fails where a table would show it others too.
CREATE FUNCTION analytics.open_reading(project uuid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF (SELECT count(*) FROM pg_class AS c
      WHERE c.oid IN ('analytics.events_raw'::regclass, 'analytics.identities'::regclass, 'analytics.event_counts_hourly'::regclass)
        AND c.relrowsecurity
        AND EXISTS (SELECT FROM pg_policy AS p WHERE p.polrelid = c.oid AND p.polname = 'of_project' AND NOT p.polpermissive)) < 3 THEN
    RAISE EXCEPTION 'weir_reader is not kept to one project' USING ERRCODE = '42501';
  END IF;
  PERFORM set_config('weir.reading', analytics.sealed(project::text), true);
END $$;
--> statement-breakpoint
-- How many users a finished day had, and which places of a bitmap theirs are: kept so that a month need not be read
-- event by event. It holds as long as the hourly counts have as many events of that day.
CREATE TABLE analytics.event_users_daily (
  project_id uuid NOT NULL,
  built_at timestamptz(0) NOT NULL DEFAULT now(),
  day date NOT NULL,
  users integer NOT NULL,
  events bigint NOT NULL,
  event text NOT NULL,
  places bit(262144) NOT NULL,
  PRIMARY KEY (project_id, event, day)
);
--> statement-breakpoint
CREATE INDEX event_counts_hourly_by_hour ON analytics.event_counts_hourly (hour);
--> statement-breakpoint
-- Owners see all rows whatever the policies say; so does whoever is granted more than weir_reader has.
ALTER TABLE analytics.events_raw ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE analytics.identities ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE analytics.event_counts_hourly ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
CREATE POLICY all_rows ON analytics.events_raw USING (true) WITH CHECK (true);
--> statement-breakpoint
CREATE POLICY all_rows ON analytics.identities USING (true) WITH CHECK (true);
--> statement-breakpoint
CREATE POLICY all_rows ON analytics.event_counts_hourly USING (true) WITH CHECK (true);
--> statement-breakpoint
-- Makes the role that projects read under, as far as the user may. Null when it is ready, else what an administrator
-- has to run first. May be repeated.
CREATE FUNCTION analytics.prepare_reader() RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  relation text;
BEGIN
  -- "weir", and the function: two that prepare it take turns.
  PERFORM pg_advisory_xact_lock(x'77656972'::int, 'analytics.prepare_reader'::regproc::oid::int);
  IF to_regrole('weir_reader') IS NULL THEN
    BEGIN
      CREATE ROLE weir_reader NOLOGIN;
    EXCEPTION
      WHEN insufficient_privilege THEN
        RETURN format('CREATE ROLE weir_reader NOLOGIN; GRANT weir_reader TO %I', current_user);
      WHEN duplicate_object OR unique_violation THEN NULL; -- one of another database was quicker
    END;
  END IF;
  IF NOT pg_has_role('weir_reader', CASE WHEN current_setting('server_version_num')::int < 160000 THEN 'MEMBER' ELSE 'SET' END) THEN
    BEGIN
      EXECUTE format('GRANT weir_reader TO %I', current_user);
    EXCEPTION WHEN insufficient_privilege THEN
      RETURN format('GRANT weir_reader TO %I', current_user);
    END;
  END IF;
  GRANT USAGE ON SCHEMA analytics, analytics_people, monitor TO weir_reader;
  GRANT SELECT ON analytics.events, analytics.persons, analytics.sessions, monitor.events, analytics_people.events, analytics_people.persons TO weir_reader;
  GRANT EXECUTE ON FUNCTION analytics.reading_project() TO weir_reader;
  FOREACH relation IN ARRAY ARRAY['events_raw', 'identities', 'event_counts_hourly'] LOOP
    EXECUTE format('GRANT SELECT ON analytics.%I TO weir_reader', relation);
    IF NOT (SELECT relrowsecurity FROM pg_class WHERE oid = format('analytics.%I', relation)::regclass) THEN
      EXECUTE format('ALTER TABLE analytics.%I ENABLE ROW LEVEL SECURITY', relation);
    END IF;
    IF NOT EXISTS (SELECT FROM pg_policies WHERE schemaname = 'analytics' AND tablename = relation AND policyname = 'of_project') THEN
      EXECUTE format('CREATE POLICY of_project ON analytics.%I AS RESTRICTIVE FOR SELECT TO weir_reader
        USING (project_id = (SELECT analytics.reading_project()))', relation);
    END IF;
  END LOOP;
  RETURN NULL;
END $$;
--> statement-breakpoint
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA analytics FROM PUBLIC;
--> statement-breakpoint
SELECT analytics.prepare_reader();
