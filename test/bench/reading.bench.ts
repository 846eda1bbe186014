/**
 * Questions in SQL over the endpoint, about one of four projects: of the view `events`, of the table itself with
 * `FINAL`, and some that only the views answer.
 */
import { type OpenDoor, openDoor } from '../support/door.ts';
import { type Stores, startStores } from '../support/stores.ts';
import type { BenchContext, Figure, Scenario } from './support/scenario.ts';
import { alternately, figureOf, ratioOf } from './support/statistics.ts';

const PROJECTS = 4;
const DAYS = 30;
/** With `--large`: a project of ten times the events over ten times the time, and others of the usual size. */
const LARGE = { days: 300, others: 26 } as const;
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

/** Answered within half a second, beside nothing else. */
const SOON: ReadonlySet<string> = new Set(['people in half a day', 'events of one person']);
/** As many events are read for them, however many the project has; for that of people also its links, which are ten times as many. */
const OF_HALF_A_DAY = {
  'one event in half a day': { bar: { atMost: 1.5 } },
  'by event in half a day': { bar: { atMost: 1.5 } },
  'people in half a day': {},
} as const;

type Ask = (sql: string) => Promise<number>;
type Insert = (events: number, days: number, projects: readonly Project[]) => Promise<void>;

export const scenario: Scenario = {
  name: 'reading',
  about:
    'SQL over the endpoint in ten million events of four projects (half a million when quick): time of a question about the view events ÷ the same ' +
    'about events_raw_v1 FINAL, and the time of questions about people and sessions. With --large the same again among a hundred million events.',
  async run({ isQuick, isLarge, say }) {
    const stores = await startStores();
    const door = await openDoor(stores);
    try {
      await door.weir.migrated;
      const insert = inserting(stores, say);
      const projects = await newProjects(door, PROJECTS);
      await insert(isQuick ? 500_000 : 10_000_000, DAYS, projects);
      const ask = asking(door, projects[0]!);
      const figures = [
        ...(await compareWithTable(ask, { isQuick, say })),
        ...(await timePeople(ask, { isQuick, say })),
      ];
      return isLarge ? [...figures, ...(await measureLarge({ door, insert, ask }, say))] : figures;
    } finally {
      await door.stop();
      await stores.stop();
    }
  },
};

type Telling = Pick<BenchContext, 'isQuick' | 'say'>;

async function compareWithTable(ask: Ask, { isQuick, say }: Telling): Promise<Figure[]> {
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
  return figures;
}

async function timePeople(ask: Ask, { isQuick, say }: Telling): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const [name, sql] of Object.entries(OF_PEOPLE)) {
    say(name);
    const { view } = await alternately(isQuick ? 1 : 5, { view: () => ask(sql) });
    const bar = isQuick || !SOON.has(name) ? {} : { bar: { atMost: 500 } };
    figures.push({ ...figureOf(name, view, 'ms'), ...bar });
  }
  return figures;
}

/** The same questions once there is ten times as much around the project; and about the same half day of a project that is ten times as large. */
async function measureLarge(
  { door, insert, ask }: { door: OpenDoor; insert: Insert; ask: Ask },
  say: BenchContext['say'],
): Promise<Figure[]> {
  const questions: Record<string, string> = {
    ...Object.fromEntries(Object.entries(COMPARED).map(([name, of]) => [name, of('events')])),
    ...OF_PEOPLE,
  };
  const rounds = 7;
  const before: Record<string, number[]> = {};
  for (const [name, sql] of Object.entries(questions)) {
    say(`${name}, before`);
    before[name] = (await alternately(rounds, { before: () => ask(sql) })).before;
  }
  const [large, ...others] = await newProjects(door, 1 + LARGE.others);
  await insert(25_000_000, LARGE.days, [large!]);
  await insert(65_000_000, DAYS, others);
  const figures: Figure[] = [];
  for (const [name, sql] of Object.entries(questions)) {
    say(`${name}, among ten times the data`);
    const { after } = await alternately(rounds, { after: () => ask(sql) });
    figures.push(
      ratioOf(`${name}: among ten times the data ÷ before, time`, after, before[name]!, { bar: { atMost: 1.5 } }),
    );
  }
  const askLarge = asking(door, large!);
  for (const [name, guard] of Object.entries(OF_HALF_A_DAY)) {
    say(`${name}, of a project ten times as large`);
    const sql = questions[name]!;
    const { small, tenfold } = await alternately(rounds, { small: () => ask(sql), tenfold: () => askLarge(sql) });
    figures.push(ratioOf(`${name}: of a project ten times as large ÷ of the other, time`, tenfold, small, guard));
  }
  return figures;
}

type Project = { readonly id: string; readonly token: string };

async function newProjects(door: OpenDoor, count: number): Promise<Project[]> {
  const projects: Project[] = [];
  for (let n = 0; n < count; n += 1) {
    const { id } = await door.weir.projects.create({ name: `bench-${n}`, retentionSeconds: null, allowedOrigins: [] });
    const token = await door.weir.tokens.create({ projectId: id, kind: 'secret', name: null, imported: null });
    projects.push({ id, token: token!.plaintext });
  }
  return projects;
}

/** Events of some projects that came hour by hour, one in fifty twice; 100 000 people for each million events. Resolves when merges have settled. */
function inserting({ clickhouse, select }: Stores, say: BenchContext['say']): Insert {
  return async (events, days, projects) => {
    const ids = projects.map(({ id }) => `toUUID('${id}')`).join(', ');
    const step = 250_000;
    for (let from = 0; from < events; from += step) {
      say(`${from} of ${events} events`);
      await clickhouse.command({
        query: `INSERT INTO events_raw_v1 (project_id, event_id, event, anonymous_id, user_id, timestamp, session_id, properties, extras, source, received_at)
          SELECT [${ids}][1 + n % ${projects.length}],
            reinterpretAsUUID(MD5(toString(n))),
            multiIf(roll < 10, 'order_paid', roll < 50, '$identify', roll < 400, 'page_viewed', concat('event_', toString(roll % 20))),
            concat('anon-', toString(person)), roll >= 10 AND roll < 50 OR roll % 5 = 0 ? concat('user-', toString(person)) : NULL,
            toDateTime64('2026-05-01', 3, 'UTC') + ${days * 86_400} / ${events} * n AS timestamp,
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
  };
}

/** Milliseconds until the answer has arrived. */
function asking(door: OpenDoor, { id, token }: Project): Ask {
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
