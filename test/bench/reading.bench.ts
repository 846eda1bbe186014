/**
 * Questions in SQL over the endpoint, about one of four projects: of the view `events`, of the table itself with
 * `FINAL`, and some that only the views answer.
 */
import { type OpenDoor, openDoor } from '../support/door.ts';
import { type Stores, startStores } from '../support/stores.ts';
import type { Figure, Scenario } from './support/scenario.ts';
import { alternately, figureOf, ratioOf } from './support/statistics.ts';

const PROJECTS = 4;
const DAYS = 30;
const HALF_A_DAY = `timestamp >= '2026-05-10' AND timestamp < '2026-05-10 12:00:00'`;

/** Bars: times as long as of the table, where the sorting key alone could answer. */
const COMPARED = {
  'one event in half a day': (of: string) => `SELECT count() FROM ${of} WHERE event = 'order_paid' AND ${HALF_A_DAY}`,
  'by event in half a day': (of: string) => `SELECT event, count() FROM ${of} WHERE ${HALF_A_DAY} GROUP BY event`,
  'by day over all': (of: string) => `SELECT toDate(timestamp) AS day, count() FROM ${of} GROUP BY day`,
  'latest ten': (of: string) => `SELECT event, timestamp FROM ${of} ORDER BY timestamp DESC LIMIT 10`,
  'one user': (of: string) => `SELECT event, count() FROM ${of} WHERE user_id = 'user-77' GROUP BY event`,
  'values of one property': (of: string) =>
    `SELECT JSONExtractString(properties, 'plan') AS plan, count() FROM ${of} WHERE event = 'order_paid' GROUP BY plan`,
} as const;

const OF_PEOPLE = {
  'people in half a day': `SELECT uniq(distinct_id) FROM events WHERE ${HALF_A_DAY}`,
  'events of one person': `SELECT event, count() FROM events WHERE distinct_id = 'user-77' GROUP BY event`,
  'count of persons': 'SELECT count() FROM persons',
  'count of sessions': 'SELECT count() FROM sessions',
} as const;

type Ask = (sql: string) => Promise<number>;

export const scenario: Scenario = {
  name: 'reading',
  about:
    'SQL over the endpoint in ten million events of four projects (half a million when quick): time of a question about the view events ÷ the same ' +
    'about events_raw_v1 FINAL, and the time of questions about people and sessions.',
  async run({ isQuick, say }) {
    const stores = await startStores();
    const door = await openDoor(stores);
    try {
      await door.weir.migrated;
      const ask = await insertEvents({ stores, door }, isQuick ? 500_000 : 10_000_000, say);
      const rounds = isQuick ? 5 : 7;
      const figures: Figure[] = [];
      const all = { view: Array<number>(rounds).fill(0), table: Array<number>(rounds).fill(0) };
      for (const [name, of] of Object.entries(COMPARED)) {
        say(name);
        const ways = { view: () => ask(of('events')), table: () => ask(of('events_raw_v1 FINAL')) };
        await alternately(1, ways);
        const { view, table } = await alternately(rounds, ways);
        view.forEach((ms, round) => (all.view[round]! += ms));
        table.forEach((ms, round) => (all.table[round]! += ms));
        figures.push(
          ratioOf(`${name}: events ÷ FINAL, time`, view, table, isQuick ? {} : { bar: { atMost: 2 } }),
          figureOf(`${name}: from events`, view, 'ms'),
        );
      }
      // Each takes milliseconds when quick: only together they are worth guarding.
      figures.push(ratioOf('all of these: events ÷ FINAL, time', all.view, all.table, { guard: 'less is better' }));
      for (const [name, sql] of Object.entries(OF_PEOPLE)) {
        say(name);
        const { view } = await alternately(isQuick ? 1 : 3, { view: () => ask(sql) });
        figures.push(figureOf(name, view, 'ms'));
      }
      return figures;
    } finally {
      await door.stop();
      await stores.stop();
    }
  },
};

/** Thirty days of four projects that came hour by hour, one in fifty twice; 100 000 people for each million events. Resolves when merges have settled. */
async function insertEvents(
  { stores: { clickhouse, select }, door }: { stores: Stores; door: OpenDoor },
  events: number,
  say: (progress: string) => void,
): Promise<Ask> {
  const projects: { id: string; token: string }[] = [];
  for (let n = 0; n < PROJECTS; n += 1) {
    const { id } = await door.weir.projects.create({ name: `bench-${n}`, retentionSeconds: null, allowedOrigins: [] });
    const token = await door.weir.tokens.create({ projectId: id, kind: 'secret', name: null, imported: null });
    projects.push({ id, token: token!.plaintext });
  }
  const ids = projects.map(({ id }) => `toUUID('${id}')`).join(', ');
  const step = 500_000;
  for (let from = 0; from < events; from += step) {
    say(`${from} of ${events} events`);
    await clickhouse.command({
      query: `INSERT INTO events_raw_v1 (project_id, event_id, event, anonymous_id, user_id, timestamp, session_id, properties, extras, source, received_at)
        SELECT [${ids}][1 + n % ${PROJECTS}],
          reinterpretAsUUID(MD5(toString(n))),
          multiIf(roll < 10, 'order_paid', roll < 50, '$identify', roll < 400, 'page_viewed', concat('event_', toString(roll % 20))),
          concat('anon-', toString(person)), roll >= 10 AND roll < 50 OR roll % 5 = 0 ? concat('user-', toString(person)) : NULL,
          toDateTime64('2026-05-01', 3, 'UTC') + ${DAYS * 86_400} / ${events} * n AS timestamp,
          concat('s-', toString(cityHash64(person, intDiv(n, 100000)))),
          concat('{"plan":"', ['free', 'pro', 'team'][1 + person % 3], '","path":"/p/', toString(roll), '","amount":', toString(n % 10000), '}'),
          '{}', 'bench', timestamp + 2
        FROM (SELECT number - if(number % 50 = 4, 4, 0) AS n, cityHash64(n, 1) % 1000 AS roll, cityHash64(n, 2) % ${Math.ceil(events / 10)} AS person FROM numbers(${from}, ${step}))`,
    });
  }
  say('waiting for merges');
  const merges = `SELECT count() AS running FROM system.merges WHERE database = currentDatabase()`;
  for (let quiet = 0; quiet < 3;) {
    await new Promise((resolve) => setTimeout(resolve, 500));
    const [{ running } = { running: '0' }] = await select<{ running: string }>(merges);
    quiet = Number(running) === 0 ? quiet + 1 : 0;
  }
  const [{ id, token }] = projects as [{ id: string; token: string }];
  return async (sql) => {
    const startedAt = performance.now();
    const { status, text } = await door.ask(`/api/v1/projects/${id}/query`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}` },
      body: JSON.stringify({ sql }),
    });
    if (status !== 200) throw new Error(`${sql}: ${text}`);
    return performance.now() - startedAt;
  };
}
