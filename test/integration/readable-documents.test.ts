/**
 * Everything accepted can be asked for: what ClickHouse can read and what it cannot, by its own verdict, and events of
 * either kind through a front door.
 */
import { randomUUID } from 'node:crypto';
import fc from '../support/fast-check.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createEventStore } from '../../src/clickhouse/event-store/event-store.ts';
import { readableForm } from '../../src/event/readable.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { type OpenDoor, openDoor } from '../support/door.ts';
import { rawDocument } from '../support/raw-documents.ts';
import { batchIdOf, envelopeOfRows, eventIdOf, rowOf } from '../support/rows.ts';
import { type Stores, startStores } from '../support/stores.ts';
import { freezeBatch } from '../../src/pipeline/batch.ts';
import { SEED } from '../support/seed.ts';

let stores: Stores;
let door: OpenDoor;

beforeAll(async () => {
  stores = await startStores();
  door = await openDoor(stores, { INGEST_FLUSH_INTERVAL: '50ms' });
  await door.weir.migrated;
});
afterAll(async () => {
  await door.stop();
  await stores.stop();
});

/** What holds for each of the documents, in order. */
async function verdicts(documents: readonly string[]): Promise<{ valid: boolean; castable: boolean }[]> {
  const table = `documents_${randomUUID().replaceAll('-', '')}`;
  await stores.clickhouse.command({ query: `CREATE TABLE ${table} (n UInt32, document String) ENGINE = Memory` });
  await stores.clickhouse.insert({
    table,
    values: documents.map((document, n) => ({ n, document })),
    format: 'JSONEachRow',
  });
  const rows = await stores.select<{ valid: number; castable: number }>(
    `SELECT isValidJSON(document) AS valid, isNotNull(accurateCastOrNull(document, 'JSON')) AS castable FROM ${table} ORDER BY n
     SETTINGS type_json_skip_duplicated_paths = 1`,
  );
  await stores.clickhouse.command({ query: `DROP TABLE ${table}` });
  return rows.map(({ valid, castable }) => ({ valid: valid === 1, castable: castable === 1 }));
}

test('is readable what ClickHouse says it can read, and every readable form is', async () => {
  const documents = fc.sample(rawDocument(), { seed: SEED, numRuns: 4_000 });
  const readable = documents.map((document) =>
    Buffer.from(readableForm(Buffer.from(document).toString('latin1')), 'latin1').toString(),
  );
  const sent = await verdicts(documents);
  const wrong = documents.filter((document, n) => sent[n]!.valid !== (readable[n] === document));
  expect(wrong, `SEED=${SEED}`).toEqual([]);
  const unread = (await verdicts(readable)).flatMap((verdict, n) =>
    verdict.valid && verdict.castable ? [] : [documents[n]],
  );
  expect(unread, `SEED=${SEED}`).toEqual([]);
  // Control: both kinds are there, and the type agrees with the functions about them.
  expect(sent.filter(({ valid }) => !valid).length).toBeGreaterThan(400);
  expect(sent.filter(({ valid }) => valid).length).toBeGreaterThan(400);
  expect(sent.filter(({ valid, castable }) => valid !== castable)).toEqual([]);
});

/** A property of an event as raw JSON, and the text that ClickHouse is to find there. */
const KINDS: readonly (readonly [name: string, sent: string, found: string])[] = [
  ['a large integer', '123456789012345678901234567890', '123456789012345678901234567890'],
  ['a small integer', '-9223372036854775809', '-9223372036854775809'],
  ['a large double', '1e400', '1e400'],
  ['half a pair', String.raw`"cut \ud83d"`, 'cut \ufffd'],
  ['a large integer deep inside', '{ "ids" : [ 1, 18446744073709551616 ] }', '{"ids":[1,"18446744073709551616"]}'],
  ['half a pair in a name', String.raw`{"\udc00":1}`, '{"\ufffd":1}'],
];
const ORDINARY: typeof KINDS = [
  ['text', '"x"', 'x'],
  ['the largest integer', '18446744073709551615', '18446744073709551615'],
  ['a whole pair', String.raw`"\ud83d\ude00"`, '😀'],
  ['a name twice', '1,"value":2', '1'],
];

describe('events whose documents ClickHouse cannot read', () => {
  let project: string;
  let token: string;
  const documentOf = (sent: string) => `{"before":"b", "value":${sent},"after":[ 1.50 ]}`;
  const all = [...KINDS, ...ORDINARY];
  const ask = async (sql: string) => {
    const reply = await door.ask(`/api/v1/projects/${project}/query`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}` },
      body: JSON.stringify({ sql }),
    });
    expect(reply.status, reply.text).toBe(200);
    return (reply.json as { rows: unknown[][] }).rows;
  };

  beforeAll(async () => {
    project = (await door.weir.projects.create({ name: 'shop', retentionSeconds: null, allowedOrigins: [] })).id;
    token = (await door.weir.tokens.create({ projectId: project, kind: 'secret', name: null, imported: null }))!
      .plaintext;
    const events = all.map(
      ([name, sent]) =>
        `{"event":"${name}","timestamp":1767225600,"properties":${documentOf(sent)},` +
        `"extras":{"tags":["t",${sent.startsWith('1,') ? '1' : sent}],"trace_id":"trc"},"more":${sent.startsWith('1,') ? '1' : sent}}`,
    );
    const { status, text } = await door.send(
      `{"events":[${events.join(',')}]}`,
      { authorization: `Bearer ${token}` },
      '?ack=stored',
    );
    expect([status, text]).toEqual([202, `{"accepted":${all.length},"rejected":0}`]);
  });

  test.each(all)('%s: JSONExtract finds it, and what stands beside it', async (name, _sent, found) => {
    const members = ['before', 'value', 'after'].map((member) => `JSONExtractString(properties, '${member}')`);
    expect(await ask(`SELECT ${members.join(', ')} FROM events WHERE event = '${name}'`)).toEqual([
      ['b', found, '[1.5]'],
    ]);
  });

  test('the whole project can be asked for as JSON', async () => {
    const rows = await ask('SELECT event, toString(properties::JSON.before) FROM events ORDER BY event');
    const names = all.map(([name]) => name).sort();
    expect(rows).toEqual(names.map((name) => [name, 'b']));
    const twice = "SELECT toString(properties::JSON.value) FROM events WHERE event = 'a name twice'";
    expect(await ask(twice)).toEqual([['1']]);
  });

  test('its computed columns and its tags are there', async () => {
    const rows = await ask(
      "SELECT event FROM events WHERE has(tags, 't') AND trace_id = 'trc' AND isValidJSON(extras)",
    );
    expect(rows).toHaveLength(all.length);
    expect(await ask("SELECT tags FROM events WHERE event = 'a large integer'")).toEqual([[['t', KINDS[0]![2]]]]);
  });

  test.each(KINDS)('%s: what was sent is kept byte for byte', async (name, sent) => {
    expect(await ask(`SELECT properties_sent, extras_sent FROM events_raw_v1 WHERE event = '${name}'`)).toEqual([
      [documentOf(sent), `{"tags":["t",${sent}],"trace_id":"trc","more":${sent}}`],
    ]);
  });

  test.each(ORDINARY)('%s: nothing is kept twice', async (name, sent) => {
    expect(
      await ask(`SELECT properties, properties_sent, extras_sent FROM events_raw_v1 WHERE event = '${name}'`),
    ).toEqual([[documentOf(sent), '', '']]);
  });
});

test('rows of an earlier version, with and without what it knew, land among those of this one', async () => {
  const { clickhouse: client, database } = stores;
  const store = createEventStore({ client, clock: systemClock }, { database, timeoutMs: 30_000 });
  const plain = rowOf({ n: 1, properties: '{"n":1}' });
  const unreadable = rowOf({ n: 2, properties: '{"n":1e400,"m":5}' });
  const both = Buffer.from(
    rowOf({ n: 3, properties: '{"n":"1e400"}' })
      .toString()
      .replace(',"source"', ',"properties_sent":{"n" : 1e400},"source"'),
  );
  const rows = [plain, unreadable, both];
  await store.dryRun(rows);
  expect(await store.inspect(rows)).toEqual({ refusals: [], isComplete: true });
  await store.insert(freezeBatch(batchIdOf(1), [envelopeOfRows(rows)]));
  expect(await store.findStored(rows)).toEqual([true, true, true]);
  const stored = await stores.select(
    `SELECT event_id, properties, properties_sent, extras_sent FROM events_raw_v1 WHERE event = 'visit' ORDER BY event_id`,
  );
  expect(stored).toEqual([
    { event_id: eventIdOf(1), properties: '{"n":1}', properties_sent: '', extras_sent: '' },
    { event_id: eventIdOf(2), properties: '{"n":1e400,"m":5}', properties_sent: '', extras_sent: '' },
    { event_id: eventIdOf(3), properties: '{"n":"1e400"}', properties_sent: '{"n" : 1e400}', extras_sent: '' },
  ]);
});
