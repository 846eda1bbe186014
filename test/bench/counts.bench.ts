/**
 * `GET /metrics` over a million events of a month, day by day: from the hourly
 * counts and bitmaps, and from the events themselves with `exact=true`.
 */
import { openDoor } from '../support/door.ts';
import { startStores } from '../support/stores.ts';

const EVENTS = 1_000_000;
const DAYS = 30;
const DAY_MS = 86_400_000;
const ROUNDS = 9;
const USERS = [1_000, 50_000];

type Figure = { name: string; value: number; unit: string };
type Answer = { total_events: number; unique_users: number; data: Answer[] };

export async function run(): Promise<Figure[]> {
  const stores = await startStores();
  const door = await openDoor(stores);
  try {
    await door.weir.migrated;
    const figures: Figure[] = [];
    for (const users of USERS) figures.push(...(await compare(users)));
    return figures;
  } finally {
    await door.stop();
    await stores.stop();
  }

  async function compare(users: number): Promise<Figure[]> {
    const { id } = await door.weir.projects.create({ name: 'bench', retentionSeconds: null, allowedOrigins: [] });
    const token = await door.weir.tokens.create({ projectId: id, kind: 'secret', name: null, imported: null });
    const to = Date.now();
    const from = to - DAYS * DAY_MS;
    await stores.clickhouse.command({
      query: `INSERT INTO events_raw_v1 (project_id, event_id, event, user_id, timestamp, properties, extras, source, received_at)
        SELECT {project:UUID}, generateUUIDv4(number), 'visit', concat('user-', toString(cityHash64(number) % ${users})),
          fromUnixTimestamp64Milli(toInt64(${from} + number * ${(DAYS * DAY_MS) / EVENTS}), 'UTC'),
          '{"plan":"pro"}', concat('{"channel":"', ['web', 'mobile', 'api'][1 + number % 3], '"}'), 'bench', now64(3)
        FROM numbers(${EVENTS})`,
      query_params: { project: id },
      // The size of a full batch, so that there are as many parts as there would be.
      clickhouse_settings: { max_insert_block_size: '50000', max_block_size: '50000' },
    });
    const ask = async (exact: boolean) => {
      const startedAt = performance.now();
      const query = `event_name=visit&group_by=day&from=${from}&to=${to}&exact=${exact}`;
      const answer = await door.ask(`/metrics?${query}`, { headers: { authorization: `Bearer ${token!.plaintext}` } });
      if (answer.status !== 200) throw new Error(answer.text);
      return { ms: performance.now() - startedAt, answer: answer.json as unknown as Answer };
    };
    const times: { counts: number; exact: number }[] = [];
    let counts = await ask(false);
    let exact = await ask(true);
    for (let round = 0; round < ROUNDS; round += 1) {
      counts = await ask(false);
      exact = await ask(true);
      times.push({ counts: counts.ms, exact: exact.ms });
    }
    if (counts.answer.total_events !== exact.answer.total_events) throw new Error('different numbers of events');
    const errors = [counts.answer, ...counts.answer.data].map((one, index) => {
      const other = [exact.answer, ...exact.answer.data][index]!;
      return Math.abs(one.unique_users / other.unique_users - 1) * 100;
    });
    const of = `${users} users:`;
    return [
      { name: `${of} from counts, median`, value: rounded(median(times.map((time) => time.counts))), unit: 'ms' },
      { name: `${of} exact=true, median`, value: rounded(median(times.map((time) => time.exact))), unit: 'ms' },
      {
        name: `${of} exact/counts, median of pairs`,
        value: rounded(median(times.map((t) => t.exact / t.counts))),
        unit: 'x',
      },
      { name: `${of} users at the top are off by`, value: rounded(errors[0]!), unit: '%' },
      { name: `${of} users of the worst day are off by`, value: rounded(Math.max(...errors.slice(1))), unit: '%' },
    ];
  }
}

const rounded = (value: number) => Math.round(value * 100) / 100;

function median(values: readonly number[]): number {
  return values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)]!;
}
