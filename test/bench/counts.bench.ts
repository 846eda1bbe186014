/**
 * `GET /metrics` over a month of events, day by day: from the hourly counts and
 * bitmaps, and from the events themselves with `exact=true`.
 */
import type { ProjectId } from '../../src/event/event.ts';
import { type OpenDoor, openDoor } from '../support/door.ts';
import { type Stores, startStores } from '../support/stores.ts';
import type { Figure, Scenario } from './support/scenario.ts';
import { alternately, figureOf, ratioOf } from './support/statistics.ts';

const DAYS = 30;
const DAY_MS = 86_400_000;

type Answer = { total_events: number; unique_users: number; data: Answer[] };
type Month = { readonly users: number; readonly events: number; readonly rounds: number };

export const scenario: Scenario = {
  name: 'counts',
  about:
    'GET /metrics over a month of events, a million (half of that when quick), by day: time of the exact answer ÷ time of the one from hourly ' +
    'counts, and how far the estimated users are off.',
  async run({ isQuick, say }) {
    const stores = await startStores();
    const door = await openDoor(stores);
    try {
      await door.weir.migrated;
      const figures: Figure[] = [];
      for (const users of isQuick ? [50_000] : [1_000, 50_000]) {
        say(`${users} users`);
        figures.push(
          ...(await compare(
            { stores, door },
            { users, events: isQuick ? 500_000 : 1_000_000, rounds: isQuick ? 7 : 9 },
          )),
        );
      }
      return figures;
    } finally {
      await door.stop();
      await stores.stop();
    }
  },
};

async function compare(
  { stores, door }: { stores: Stores; door: OpenDoor },
  { users, events, rounds }: Month,
): Promise<Figure[]> {
  const { id } = await door.weir.projects.create({ name: 'bench', retentionSeconds: null, allowedOrigins: [] });
  const token = await door.weir.tokens.create({ projectId: id, kind: 'secret', name: null, imported: null });
  const to = Date.now();
  const from = to - DAYS * DAY_MS;
  await insertMonth(stores, { projectId: id as ProjectId, from, users, events });

  const ask = (isExact: boolean) => async () => {
    const startedAt = performance.now();
    const query = `event_name=visit&group_by=day&from=${from}&to=${to}&exact=${isExact}`;
    const { status, text, json } = await door.ask(`/metrics?${query}`, {
      headers: { authorization: `Bearer ${token!.plaintext}` },
    });
    if (status !== 200) throw new Error(text);
    return { ms: performance.now() - startedAt, answer: json as unknown as Answer };
  };
  const ways = { counts: ask(false), exact: ask(true) };
  await alternately(1, ways);
  const asked = await alternately(rounds, ways);

  const counted = asked.counts[0]!.answer;
  const exact = asked.exact[0]!.answer;
  if (counted.total_events !== events || exact.total_events !== events) {
    throw new Error(
      `${events} events were inserted; /metrics tells ${counted.total_events}, exact ${exact.total_events}`,
    );
  }
  const countsMs = asked.counts.map(({ ms }) => ms);
  const exactMs = asked.exact.map(({ ms }) => ms);
  const daysOff = counted.data.map((day, index) => percentOff(day, exact.data[index]!));
  const of = `${users} users:`;
  return [
    ratioOf(`${of} exact ÷ counts, time`, exactMs, countsMs, { guard: 'more is better' }),
    figureOf(`${of} from counts`, countsMs, 'ms'),
    figureOf(`${of} exact`, exactMs, 'ms'),
    figureOf(`${of} users of the month are off by`, [percentOff(counted, exact)], '%'),
    figureOf(`${of} users of the worst day are off by`, [Math.max(...daysOff)], '%'),
  ];
}

async function insertMonth(
  { clickhouse }: Stores,
  { projectId, from, users, events }: { projectId: ProjectId; from: number; users: number; events: number },
): Promise<void> {
  await clickhouse.command({
    query: `INSERT INTO events_raw_v1 (project_id, event_id, event, user_id, timestamp, properties, extras, source, received_at)
      SELECT {project:UUID}, generateUUIDv4(number), 'visit', concat('user-', toString(cityHash64(number) % ${users})),
        fromUnixTimestamp64Milli(toInt64(${from} + number * ${(DAYS * DAY_MS) / events}), 'UTC'),
        '{"plan":"pro"}', concat('{"channel":"', ['web', 'mobile', 'api'][1 + number % 3], '"}'), 'bench', now64(3)
      FROM numbers(${events})`,
    query_params: { project: projectId },
    // The size of a full batch, so that there are as many parts as there would be.
    clickhouse_settings: { max_insert_block_size: '50000', max_block_size: '50000' },
  });
}

const percentOff = (estimated: Answer, exact: Answer) =>
  Math.abs(estimated.unique_users / exact.unique_users - 1) * 100;
