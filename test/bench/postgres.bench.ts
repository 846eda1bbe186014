/**
 * Postgres alone: how many events a second become durable and are stored through the whole of Weir, beside its event
 * store alone; and what a dashboard and a look at one person cost over the events of a month and more.
 */
import { randomUUID } from 'node:crypto';
import { createProjects } from '../../src/postgres/accounts/projects.ts';
import { createTokens } from '../../src/postgres/accounts/tokens.ts';
import { createPostgres } from '../../src/postgres/connection/pool.ts';
import { createEventStore } from '../../src/postgres/event-store/event-store.ts';
import { createLog } from '../../src/log/log.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import type { PostgresStores } from '../support/stores.ts';
import { createBodies } from './support/bodies.ts';
import { type BenchedWeir, type Grounds, FLUSH_EVENTS, PROMPT, openPostgresGrounds } from './support/grounds.ts';
import { cpuMsOf } from './support/process-usage.ts';
import { rowsOf } from './support/rows.ts';
import type { BenchContext, Figure, Scenario } from './support/scenario.ts';
import { latencyFigures, type Measured, measureSending, prepare, targetOf } from './support/sending.ts';
import { alternately, eachOf, figureOf, ratioOf } from './support/statistics.ts';

/** As many as Weir sends at once by default. */
const INSERTS_AT_ONCE = 4;
const REQUEST_EVENTS = 500;
const CONNECTIONS = 16;
const DAYS = 30;
const DAY_MS = 86_400_000;
const ONE_PERSON = 100;
/** They are made once a minute, some at a time. */
const DAYS_WITHIN_S = 300;

export const scenario: Scenario = {
  name: 'postgres',
  about:
    'With EVENT_STORE=postgres: events a second through HTTP and journal until they are stored, ÷ those of the event ' +
    'store alone; /metrics over a month of a million events by day, and one person’s hundred events of all there are.',
  async run(context) {
    const grounds = await openPostgresGrounds({ settings: PROMPT });
    try {
      const weir = await grounds.startBenched();
      const figures = [
        ...(await measureStoring(grounds, weir, context)),
        ...(await measureReading(grounds, weir, context)),
      ];
      figures.push(figureOf('peak RSS', [weir.peakRssMiB()], 'MiB', { bar: { atMost: 512 } }));
      await weir.stop();
      return figures;
    } finally {
      await grounds.stop();
    }
  },
};

/** One kind of load through HTTP. */
type Load = { readonly events: number; readonly size: number; readonly connections: number; readonly path: string };

const PATH = '/api/v1/ingest/events';

async function measureStoring(
  grounds: Grounds<PostgresStores>,
  weir: BenchedWeir,
  { isQuick, seed, say }: BenchContext,
): Promise<Figure[]> {
  const bodies = createBodies(seed);
  const events = isQuick ? 40_000 : 200_000;
  const newBodies = (size: number) => Array.from({ length: events / size }, () => bodies.nativeBatch(size));
  const { pool } = createPostgres(
    { url: grounds.stores.databaseUrl, maxConnections: INSERTS_AT_ONCE, statementMs: 60_000 },
    createLog('silent'),
  );
  const store = createEventStore({ pool, clock: systemClock }, { timeoutMs: 60_000 });

  const storeAlone = async () => {
    const rows = newBodies(FLUSH_EVENTS).map((body) => rowsOf(body, grounds.projectId));
    const startedAt = performance.now();
    const inTurn = async () => {
      for (let next = rows.pop(); next; next = rows.pop())
        await store.insert({ id: randomUUID() as never, chunks: [next] });
    };
    await Promise.all(Array.from({ length: INSERTS_AT_ONCE }, inTurn));
    const elapsedMs = performance.now() - startedAt;
    await grounds.expectStored(events);
    await grounds.forget();
    return (events * 1_000) / elapsedMs;
  };
  const serverMs = () => cpuMsOf(grounds.stores.postgresServer.pid());
  const through = async ({ events: count, size, connections, path }: Load) => {
    const target = targetOf(weir, path, { token: grounds.token });
    const requests = Array.from({ length: count / size }, () => prepare(target, bodies.nativeBatch(size), size));
    const before = serverMs();
    const measured = await measureSending(grounds, weir, { requests, connections });
    return { ...measured, serverUs: ((serverMs() - before) * 1_000) / count };
  };
  const batches: Load = { events, size: REQUEST_EVENTS, connections: CONNECTIONS, path: PATH };
  const ways = {
    store: storeAlone,
    batches: () => through(batches),
    waiting: () => through({ ...batches, path: `${PATH}?ack=stored` }),
    singles: () => through({ events: events / 4, size: 1, connections: 64, path: PATH }),
  };

  say('warming up');
  await alternately(1, ways);
  const rounds = await alternately(isQuick ? 4 : 5, {
    ...ways,
    store(round) {
      say(`round ${round + 1}`);
      return storeAlone();
    },
  });
  await pool.end();
  const stored = eachOf(rounds.batches, 'storedPerS');
  return [
    ratioOf('end to end ÷ event store', stored, rounds.store, { guard: 'more is better' }),
    figureOf('end to end', stored, 'events/s', { bar: { atLeast: 20_000 } }),
    figureOf('event store', rounds.store, 'events/s'),
    ...costFigures('batches', rounds.batches),
    figureOf('batches, ack=stored', eachOf(rounds.waiting, 'storedPerS'), 'events/s'),
    ...latencyFigures('batches, ack=stored', rounds.waiting),
    figureOf('one by one', eachOf(rounds.singles, 'storedPerS'), 'events/s'),
    ...costFigures('one by one', rounds.singles),
  ];
}

const costFigures = (
  name: string,
  rounds: readonly (Pick<Measured, 'acknowledgedPerS' | 'cpuSPerMillion' | 'latencyMs'> & { serverUs: number })[],
): Figure[] => [
  figureOf(`${name}: acknowledged`, eachOf(rounds, 'acknowledgedPerS'), 'events/s'),
  figureOf(`${name}: CPU of Weir per million events`, eachOf(rounds, 'cpuSPerMillion'), 's'),
  figureOf(`${name}: CPU of Postgres`, eachOf(rounds, 'serverUs'), 'µs/event'),
  ...latencyFigures(name, rounds),
];

/** Over events that are made in Postgres: a month of a million of one name, and others beside them. */
async function measureReading(
  { stores }: Grounds<PostgresStores>,
  weir: BenchedWeir,
  { isQuick, isLarge, say }: BenchContext,
): Promise<Figure[]> {
  const { id } = await createProjects(stores.postgres.db).create({
    name: 'reading',
    retentionSeconds: null,
    allowedOrigins: [],
  });
  const tokens = createTokens(stores.postgres.db);
  const secret = await tokens.create({ projectId: id, kind: 'secret', name: null, imported: null });
  const month = isQuick ? 100_000 : 1_000_000;
  const all = isLarge ? 10_000_000 : isQuick ? 500_000 : 2_000_000;
  const from = Math.floor(Date.now() / DAY_MS) * DAY_MS - (DAYS + 1) * DAY_MS;
  // Statements of the stores' own pool end within seconds.
  const { pool } = createPostgres(
    { url: stores.databaseUrl, maxConnections: 1, statementMs: 300_000 },
    createLog('silent'),
  );
  say(`making ${all} events`);
  for (let made = 0; made < all; made += 100_000) {
    await pool.query(
      madeEvents({
        projectId: id,
        event: made < month ? 'visit' : 'click',
        from,
        first: made,
        next: made + 100_000,
        month,
      }),
    );
  }
  await pool.query(madePerson({ projectId: id, from }));
  await pool.query('ANALYZE analytics.events_raw');
  await pool.query('ANALYZE analytics.event_counts_hourly');
  if (!isQuick) {
    say('waiting until the users of each day are kept');
    const kept = 'SELECT count(*)::int AS days FROM analytics.event_users_daily WHERE project_id = $1';
    // Of both names.
    for (let days = 0, tries = 0; days < 2 * DAYS; tries += 1) {
      if (tries > DAYS_WITHIN_S) throw new Error(`the users of ${days} of ${2 * DAYS} days are kept`);
      await systemClock.sleep(1_000);
      days = (await pool.query<{ days: number }>(kept, [id])).rows[0]!.days;
    }
  }
  await pool.end();

  const headers = { authorization: `Bearer ${secret!.plaintext}` };
  const timed = async (path: string, init: RequestInit, check: (answer: Record<string, unknown>) => boolean) => {
    const startedAt = performance.now();
    const answer = await fetch(`${weir.url}${path}`, { ...init, headers });
    const body = (await answer.json()) as Record<string, unknown>;
    const elapsedMs = performance.now() - startedAt;
    if (answer.status !== 200 || !check(body)) throw new Error(JSON.stringify(body).slice(0, 500));
    return elapsedMs;
  };
  const counts = () =>
    timed(
      `/metrics?event_name=visit&from=${from / 1_000}&to=${(from + DAYS * DAY_MS) / 1_000}&group_by=day`,
      {},
      ({ total_events }) => total_events === month,
    );
  const sql = `SELECT timestamp, event, properties FROM events WHERE user_id = 'somebody' ORDER BY timestamp DESC LIMIT 1000`;
  const person = () =>
    timed(
      `/api/v1/projects/${id}/query`,
      { method: 'POST', body: JSON.stringify({ sql }) },
      ({ rows }) => Array.isArray(rows) && rows.length === ONE_PERSON,
    );
  say('asking');
  await alternately(2, { counts, person });
  const asked = await alternately(isQuick ? 5 : 15, { counts, person });
  return [
    figureOf(`/metrics, ${month} events of a month by day`, asked.counts, 'ms', { bar: { atMost: 300 } }),
    figureOf(`${ONE_PERSON} events of one person among ${all}`, asked.person, 'ms', { bar: { atMost: 50 } }),
  ];
}

type Made = {
  readonly projectId: string;
  readonly event: string;
  /** Epoch ms. */
  readonly from: number;
  readonly first: number;
  readonly next: number;
  readonly month: number;
};

/** With their hourly counts, as an insert leaves them. */
const madeEvents = ({ projectId, event, from, first, next, month }: Made) => `
  WITH made AS (
    INSERT INTO analytics.events_raw (project_id, event_id, "timestamp", received_at, is_user, is_anonymous, event, user_id,
      source, channel, service, env, level, trace_id, request_id, job_id, campaign_id, tags, properties, extras)
    SELECT '${projectId}', gen_random_uuid(), at, now(), true, false, '${event}', 'user-' || (hashint8(n) & 65535),
      'bench', 'web', '', '', '', '', '', '', '', '{}', '{"plan":"pro"}', '{}'
    FROM generate_series(${first}, ${next - 1}) AS n,
      LATERAL (SELECT to_timestamp((${from} + (n % ${month}) * ${(DAYS * DAY_MS) / month}::float8) / 1000) AS at) AS t
    RETURNING event, channel, "timestamp"
  )
  INSERT INTO analytics.event_counts_hourly AS c (project_id, hour, events, event, channel)
  SELECT '${projectId}', date_trunc('hour', "timestamp", 'UTC'), count(*), event, channel FROM made GROUP BY 2, 4, 5
  ON CONFLICT (project_id, event, hour, channel) DO UPDATE SET events = c.events + excluded.events`;

const madePerson = ({ projectId, from }: Pick<Made, 'projectId' | 'from'>) => `
  INSERT INTO analytics.events_raw (project_id, event_id, "timestamp", received_at, is_user, is_anonymous, event, user_id,
    source, channel, service, env, level, trace_id, request_id, job_id, campaign_id, tags, properties, extras)
  SELECT '${projectId}', gen_random_uuid(), to_timestamp(${from / 1_000} + n * 20000), now(), true, false, 'seen', 'somebody',
    'bench', 'web', '', '', '', '', '', '', '', '{}', '{"plan":"pro"}', '{}'
  FROM generate_series(1, ${ONE_PERSON}) AS n`;
