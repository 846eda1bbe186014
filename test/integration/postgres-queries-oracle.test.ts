/**
 * What is not read tells as much as what is read, as in query-oracle.test.ts: where a condition fails on the asker's own
 * row, the question fails exactly when that row is looked at, and whether it is must not depend on what other projects
 * have stored. So each question is asked of the asker's rows alone and beside many of others, before and after Postgres
 * has made its statistics, with a value that others have and with one that nobody has.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ATTACKER, SECRET, VICTIMS, eventId, rowOf } from '../support/two-projects.ts';
import { type PostgresEvents, asSent, createProjectAsking, startPostgresEvents } from '../support/postgres-reading.ts';

const EARLY = '2026-05-04 12:00:00.000';
const LATE = '2026-05-20 12:00:00.000';
const NEVER = '2031-07-07 12:00:00.000';

/** A value that only victims have, and one that nobody has; both on the same side of the asker's own. */
type Values = readonly [theirs: string, nobodys: string];
const label = (suffix = ''): Values => [`'${SECRET}${suffix}'`, `'walrus${suffix}'`];
const instant: Values = [`'${LATE}'`, `'${NEVER}'`];
const name: Values = ["'zeal'", "'yarn'"];

const EVENTS: Record<string, Values> = {
  event_id: [`'${eventId(VICTIMS[0], 1)}'`, `'${eventId(VICTIMS[0], 999_999)}'`],
  project_id: [`'${VICTIMS[0]}'`, `'00000000-0000-4000-8000-00000000beef'`],
  event: name,
  timestamp: instant,
  received_at: instant,
  distinct_id: label(),
  user_id: label(),
  anonymous_id: label('-anon'),
  session_id: label('-session'),
  trace_id: label(),
  request_id: label(),
  job_id: label(),
  campaign_id: label(),
  channel: label(),
  service: label('-service'),
  env: label(),
  "properties->>'note'": label(),
};

type Condition = (column: string, value: string) => string;
/** Each way a condition can reach an index, a partition or statistics. */
const EVERY_WAY: readonly Condition[] = [
  (column, value) => `${column} = ${value}`,
  (column, value) => `${column} >= ${value}`,
  (column, value) => `${column} IN (${value}, ${value})`,
  (column, value) => `(${column} = ${value} OR source = 'x')`,
];

const RELATIONS: readonly { from: string; failing: string; columns: Record<string, Values> }[] = [
  { from: 'events', failing: "1 / (event <> 'mark')::int = 1", columns: EVENTS },
  // As cheap as the comparison it stands beside, and before it.
  { from: 'events', failing: 'user_id::int > 0', columns: EVENTS },
  { from: '(SELECT * FROM events OFFSET 0) AS e', failing: "1 / (event <> 'mark')::int = 1", columns: EVENTS },
  {
    from: 'persons',
    failing: "1 / (distinct_id <> 'own')::int = 1",
    columns: { distinct_id: label(), first_seen: instant, last_seen: instant },
  },
  {
    from: 'sessions',
    failing: "1 / (session_id <> 'own-session')::int = 1",
    columns: { session_id: label('-session'), distinct_id: label(), started_at: instant, ended_at: instant },
  },
  {
    from: 'identities',
    failing: "1 / (user_id <> 'own2')::int = 1",
    columns: { user_id: label(), anonymous_id: label('-anon') },
  },
  {
    from: 'event_counts_hourly',
    failing: "1 / (event <> 'mark')::int = 1",
    columns: { channel: label(), event: name, hour: instant },
  },
  {
    from: 'monitor.events',
    failing: "1 / (name <> 'mark')::int = 1",
    columns: {
      trace_id: label(),
      request_id: label(),
      job_id: label(),
      service: label('-service'),
      name,
      timestamp: instant,
    },
  },
];

type Question = { readonly sql: string; readonly otherwise: string };
const QUESTIONS: readonly Question[] = RELATIONS.flatMap(({ from, failing, columns }) =>
  Object.entries(columns).flatMap(([column, [theirs, nobodys]]) =>
    EVERY_WAY.map((condition): Question => {
      const asked = (value: string) => `SELECT count(*) FROM ${from} WHERE ${failing} AND ${condition(column, value)}`;
      return { sql: asked(theirs), otherwise: asked(nobodys) };
    }),
  ),
);

let events: PostgresEvents;
/** The answers by what was stored, and how. */
const answers = new Map<string, ReadonlyMap<string, string>>();

const own = (count: number) =>
  Array.from({ length: count }, (_, n) => [
    rowOf({ project: ATTACKER, id: 10 * n + 1, event: n === 0 ? 'mark' : 'plain', user: 'own', at: EARLY }),
    rowOf({ project: ATTACKER, id: 10 * n + 2, event: '$identify', user: 'own2', at: EARLY }),
  ]).flat();
/** Mostly of one user, name and moment: what Postgres takes for common. */
const theirs = (count: number) =>
  VICTIMS.flatMap((project) =>
    Array.from({ length: count }, (_, n) =>
      rowOf({
        project,
        id: n + 1,
        event: n % 3 === 0 ? '$identify' : 'zeal',
        user: n % 10 === 0 ? `${SECRET}${n}` : SECRET,
        at: LATE,
      }),
    ),
  );

async function askAll(situation: string) {
  const { askAll: ask } = createProjectAsking(events.reading.projectReader, ATTACKER);
  answers.set(situation, await ask(QUESTIONS.flatMap(({ sql, otherwise }) => [sql, otherwise])));
}

beforeAll(async () => {
  events = await startPostgresEvents();
  await events.insert(own(40).map(asSent));
  await askAll('alone');
  await events.pool.query('VACUUM ANALYZE');
  await askAll('alone, analyzed');
  const rows = theirs(4_000).map(asSent);
  for (let from = 0; from < rows.length; from += 2_000) await events.insert(rows.slice(from, from + 2_000));
  await askAll('beside many');
  await events.pool.query('VACUUM ANALYZE');
  await askAll('beside many, analyzed');
});
afterAll(() => events?.stop());

test('some fail and some do not, so that all of this speaks of something', () => {
  const given = [...answers.get('beside many, analyzed')!.values()];
  expect(given.filter((answer) => answer.includes('22012') || answer.includes('22P02')).length).toBeGreaterThan(40);
  expect(given.filter((answer) => answer.includes('"rows"')).length).toBeGreaterThan(40);
});

describe.each(QUESTIONS)('$sql', ({ sql, otherwise }) => {
  test('is answered alike whether or not anybody has the value', () => {
    for (const [situation, given] of answers) expect(given.get(sql), situation).toBe(given.get(otherwise));
  });

  test('is answered alike beside and without others', () => {
    expect(new Set([...answers.values()].map((given) => given.get(sql)))).toHaveLength(1);
  });
});
