/**
 * How much of ClickHouse's own rate arrives. The baseline is a plain client that
 * posts prepared rows, as large inserts as Weir's and as many at a time; beside
 * it the same through Weir's event store alone, and through the whole of Weir.
 */
import { randomUUID } from 'node:crypto';
import { Agent, request } from 'node:http';
import { text } from 'node:stream/consumers';
import { createEventStore } from '../../src/clickhouse/event-store/event-store.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import type { BatchId } from '../../src/pipeline/batch.ts';
import { createBodies } from './support/bodies.ts';
import { FLUSH_EVENTS, type Grounds, PROMPT, openGrounds } from './support/grounds.ts';
import { rowsOf } from './support/rows.ts';
import type { Scenario } from './support/scenario.ts';
import { measureSending, prepare, targetOf } from './support/sending.ts';
import { alternately, figureOf, ratioOf } from './support/statistics.ts';

/** As many as Weir sends at once by default. */
const INSERTS_AT_ONCE = 4;
const REQUEST_EVENTS = 500;
const CONNECTIONS = 16;

type Insert = (rows: Buffer) => Promise<void>;

export const scenario: Scenario = {
  name: 'inserts',
  about:
    'Rows a second into ClickHouse through Weir’s event store alone, and end to end through HTTP and journal, each ÷ ' +
    'those of a plain client that posts the same prepared bytes.',
  async run({ isQuick, seed, say }) {
    const grounds = await openGrounds({ settings: PROMPT });
    const agent = new Agent({ keepAlive: true, maxSockets: INSERTS_AT_ONCE });
    try {
      const weir = await grounds.startBenched();
      const bodies = createBodies(seed);
      const target = targetOf(weir, '/api/v1/ingest/events', { token: grounds.token });
      const events = isQuick ? 40_000 : 200_000;
      const newBodies = (size: number) => Array.from({ length: events / size }, () => bodies.nativeBatch(size));

      const rateOf = async (insert: Insert) => {
        const rows = newBodies(FLUSH_EVENTS).map((body) => rowsOf(body, grounds.projectId));
        const startedAt = performance.now();
        const inTurn = async () => {
          for (let next = rows.pop(); next; next = rows.pop()) await insert(next);
        };
        await Promise.all(Array.from({ length: INSERTS_AT_ONCE }, inTurn));
        const elapsedMs = performance.now() - startedAt;
        await grounds.expectStored(events);
        await grounds.forget();
        return (events * 1_000) / elapsedMs;
      };
      const endToEnd = async () => {
        const requests = newBodies(REQUEST_EVENTS).map((body) => prepare(target, body, REQUEST_EVENTS));
        return (await measureSending(grounds, weir, { requests, connections: CONNECTIONS })).storedPerS;
      };
      const ways = {
        plain: () => rateOf(plainInsert(grounds, agent)),
        store: () => rateOf(storeInsert(grounds)),
        weir: endToEnd,
      };

      say('warming up');
      await alternately(1, ways);
      const rates = await alternately(isQuick ? 4 : 5, {
        ...ways,
        plain(round) {
          say(`round ${round + 1}`);
          return ways.plain();
        },
      });
      const figures = [
        ratioOf('event store ÷ plain client', rates.store, rates.plain, { guard: 'more is better' }),
        ratioOf('end to end ÷ plain client', rates.weir, rates.plain, { guard: 'more is better' }),
        figureOf('plain client', rates.plain, 'rows/s'),
        figureOf('event store', rates.store, 'rows/s'),
        figureOf('end to end', rates.weir, 'rows/s'),
        figureOf('peak RSS', [weir.peakRssMiB()], 'MiB', { bar: { atMost: 512 } }),
      ];
      await weir.stop();
      return figures;
    } finally {
      agent.destroy();
      await grounds.stop();
    }
  },
};

function storeInsert({ stores }: Grounds): Insert {
  const store = createEventStore(
    { client: stores.clickhouse, clock: systemClock },
    { database: stores.database, timeoutMs: 60_000 },
  );
  return (rows) => store.insert({ id: randomUUID() as string as BatchId, chunks: [rows] });
}

/** What anybody would write who has the rows already. */
function plainInsert({ stores }: Grounds, agent: Agent): Insert {
  const url = new URL(stores.clickhouseUrl);
  url.search = new URLSearchParams({
    query: `INSERT INTO ${stores.database}.events_raw_v1 FORMAT JSONEachRow`,
    date_time_input_format: 'best_effort',
    input_format_json_read_objects_as_strings: '1',
  }).toString();
  return async (rows) => {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const headers = { 'content-length': rows.length };
    const posted = request(url, { agent, method: 'POST', headers }, (answer) => {
      text(answer).then((said) => (answer.statusCode === 200 ? resolve() : reject(new Error(said))), reject);
    });
    posted.on('error', reject).end(rows);
    await promise;
  };
}
