/** What Postgres cannot read in a text or a document costs neither that event nor its neighbours. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isPlaceholderId, PLACEHOLDER_PATTERN } from '../../src/event/placeholder-ids.ts';
import { readableForm } from '../../src/event/readable.ts';
import fc from '../support/fast-check.ts';
import { anyRow, batchWith, type PostgresEvents, startPostgresEvents } from '../support/postgres-events.ts';
import { rawDocument } from '../support/raw-documents.ts';
import { eventIdOf } from '../support/rows.ts';
import { SEED } from '../support/seed.ts';

let events: PostgresEvents;
let next = 0;

beforeAll(async () => {
  events = await startPostgresEvents();
});
afterAll(() => events.stop());

type Stored = {
  event: string;
  user_id: string | null;
  anonymous_id: string | null;
  session_id: string | null;
  properties: string;
  extras: string;
  properties_sent: string | null;
  extras_sent: string | null;
  channel: string;
  trace_id: string;
  tags: string[];
};

/** Stores the rows between two ordinary ones; in their order, those that are there. */
async function store(rows: (from: number) => readonly Buffer[]): Promise<Stored[]> {
  const from = (next += 10_000);
  const given = rows(from + 1);
  const all = [anyRow(from), ...given, anyRow(from + given.length + 1)];
  await events.storage.events.insert(batchWith(from, all));
  const stored = await events.select<Stored>(
    `SELECT event, user_id, anonymous_id, session_id, properties::text, extras::text, properties_sent, extras_sent, channel,
       trace_id, tags
     FROM analytics.events_raw WHERE event_id >= $1 AND event_id < $2 ORDER BY event_id`,
    [eventIdOf(from), eventIdOf(from + all.length)],
  );
  expect(stored).toHaveLength(all.length);
  return stored.slice(1, -1);
}

describe('documents', () => {
  test('keep their bytes, whatever spaces, orders and numbers they hold', async () => {
    const sent = '{ "b" : 1.50, "a":\t12345678901234567890123, "a": [ ],"é":"\\u00e9\\ud83d\\ude00\\\\u0000" }';
    const [stored] = await store((n) => [anyRow(n, { properties: sent, extras: sent })]);
    expect(stored).toMatchObject({ properties: sent, extras: sent, properties_sent: null, extras_sent: null });
  });

  test.each([
    [String.raw`{"a":"x\u0000y"}`, String.raw`{"a":"x\u2400y"}`],
    [String.raw`{"\u0000":1}`, String.raw`{"\u2400":1}`],
    [String.raw`{"a":["\\\u0000"]}`, String.raw`{"a":["\\\u2400"]}`],
    [String.raw`{"a":"\ud800"}`, String.raw`{"a":"\ufffd"}`],
    [String.raw`{"a":"\uDFff\ud83d\ude00"}`, String.raw`{"a":"\ufffd\ud83d\ude00"}`],
    [String.raw`{"a":"\ud83d\ud83d\ude00\u0000"}`, String.raw`{"a":"\ufffd\ud83d\ude00\u2400"}`],
    [String.raw`{"a":"\ud83d\\ude00"}`, String.raw`{"a":"\ufffd\\ude00"}`],
    [String.raw`{"a":"\\ud83d\ude00"}`, String.raw`{"a":"\\ud83d\ufffd"}`],
    ['{"a":[1e-99999, "1e-99999"],"b":-0.5E-00016384}', '{"a":["1e-99999", "1e-99999"],"b":"-0.5E-00016384"}'],
  ])('that hold %s are kept beside a readable form', async (sent, readable) => {
    const [stored] = await store((n) => [anyRow(n, { properties: sent, extras: sent })]);
    expect(stored).toMatchObject({ properties: readable, extras: readable, properties_sent: sent, extras_sent: sent });
  });

  test('that have a readable form already keep what was sent first', async () => {
    const sent = String.raw`{"big":1e400,"half":"\ud800","nul":"\u0000"}`;
    const { properties, propertiesSent } = partsOf(sent);
    const [stored] = await store((n) => [anyRow(n, { properties, propertiesSent: propertiesSent! })]);
    expect(stored).toMatchObject({
      properties: String.raw`{"big":"1e400","half":"\ufffd","nul":"\u2400"}`,
      properties_sent: sent,
    });
  });

  test('of any kind are stored, can be read to their last value, and say what was sent', async () => {
    const documents = fc.sample(rawDocument(), { seed: SEED, numRuns: 2_000 });
    const stored = await store((from) => documents.map((document, n) => anyRow(from + n, partsOf(document))));
    const sent = stored.map((row) => [row.properties_sent ?? row.properties, row.extras_sent ?? row.extras]);
    expect(sent, `SEED=${SEED}`).toEqual(documents.map((document) => [document, document]));
    expect(stored.filter((row) => row.properties_sent !== null).length).toBeGreaterThan(100);
    // This type holds every value of a document as what it is.
    await events.select('SELECT properties::jsonb, extras::jsonb FROM analytics.events_raw');
  });

  test('of older versions, which had no readable forms, cost nobody else', async () => {
    const documents = fc.sample(rawDocument(), { seed: SEED + 1, numRuns: 500 });
    const stored = await store((from) => documents.map((properties, n) => anyRow(from + n, { properties })));
    expect(stored.map((row) => row.properties_sent ?? row.properties)).toEqual(documents);
  });
});

/** As decoding leaves them. */
function partsOf(document: string): {
  properties: string;
  extras: string;
  propertiesSent?: string;
  extrasSent?: string;
} {
  const readable = Buffer.from(readableForm(Buffer.from(document).toString('latin1')), 'latin1').toString();
  const documents = { properties: readable, extras: readable };
  return readable === document ? documents : { ...documents, propertiesSent: document, extrasSent: document };
}

describe('texts', () => {
  test('with U+0000 or half a pair keep the rest', async () => {
    const text = String.raw`"a\u0000b\ud800c"`;
    const parts = { event: text, userId: text, anonymousId: text, sessionId: text };
    const extras = `{"channel":${text},"trace_id":${text},"tags":[${text},1,"x"]}`;
    const [stored] = await store((n) => [anyRow(n, { ...parts, extras })]);
    const found = 'a␀b\ufffdc';
    expect(stored).toMatchObject({
      event: found,
      user_id: found,
      anonymous_id: found,
      session_id: found,
      channel: found,
      trace_id: found,
      tags: [found, '1', 'x'],
      extras_sent: extras,
    });
    const [isThere] = await events.storage.events.findStored([anyRow(next + 1, { ...parts, extras })]);
    expect(isThere).toBe(true);
  });

  test('as long as clients may send them, or longer, are no trouble for an index', async () => {
    // A random text: one that compresses well is no test of how much an index holds.
    const random = fc.sample(fc.string({ unit: 'grapheme', minLength: 200, maxLength: 200 }), {
      seed: SEED,
      numRuns: 9,
    });
    const longest = random.map((text) => JSON.stringify(Array.from(text).slice(0, 200).join('').toWellFormed()));
    const [event, userId, anonymousId, sessionId] = longest;
    const long = JSON.stringify(
      fc
        .sample(fc.string({ unit: 'grapheme', minLength: 1_000 }), { seed: SEED, numRuns: 20 })
        .join('')
        .repeat(3)
        .toWellFormed(),
    );
    const names = ['channel', 'service', 'env', 'level', 'trace_id', 'request_id', 'job_id', 'campaign_id'];
    const extras = `{${names.map((name) => `"${name}":${long}`).join(',')},"tags":[${long}]}`;
    const parts = { event: event!, userId: userId!, anonymousId: anonymousId!, sessionId: sessionId!, extras };
    const [stored, linked] = await store((n) => [anyRow(n, parts), anyRow(n + 1, { ...parts, event: '"$identify"' })]);
    const whole = (JSON.parse(long) as string).replaceAll('\0', '␀');
    expect(stored!.trace_id).toBe(Array.from(whole).slice(0, 200).join(''));
    expect(stored!.tags).toEqual([whole]);
    expect(linked!.user_id).toBe(stored!.user_id);
    const [counts] = await events.select<{ n: string }>(
      `SELECT max(length(channel)) AS n FROM analytics.event_counts_hourly`,
    );
    expect(counts!.n).toBe(200);
  });

  test.each([
    [String.raw`{"channel":"web","tags":["a","b"]}`, { channel: 'web', tags: ['a', 'b'] }],
    [String.raw`{"channel":1,"tags":"a"}`, { channel: '1', tags: [] }],
    [String.raw`{"channel":null,"tags":null}`, { channel: '', tags: [] }],
    [
      String.raw`{"channel":{"channel":"x"},"tags":[["a"],{"b":1},null,true,1.5,"c"]}`,
      { channel: '{"channel":"x"}', tags: ['["a"]', '{"b":1}', '', 'true', '1.5', 'c'] },
    ],
    ['{ }', { channel: '', tags: [] }],
  ])('of the extras %s are columns', async (extras, found) => {
    const [stored] = await store((n) => [anyRow(n, { extras })]);
    expect(stored).toMatchObject(found);
  });
});

describe('placeholder ids', () => {
  /** As texts of Postgres. */
  const asStored = (id: string) => id.toWellFormed().replaceAll('\0', '␀');
  const names = /\(\?:(undefined.*?email)\|/
    .exec(PLACEHOLDER_PATTERN)![1]!
    .split('|')
    .map((name) => name.replaceAll('\\', ''));
  const blank = fc.constantFrom(
    '',
    '',
    '',
    ' ',
    '\t',
    '\u00a0',
    '\u200b',
    '\ufeff',
    '\u{e0041}',
    '\0',
    '\u2028',
    '\u0600',
  );
  const folded: Record<string, string> = { s: 'ſ', k: '\u212a' };
  const cased = (text: string) =>
    fc
      .array(fc.nat(2), { minLength: text.length, maxLength: text.length })
      .map((cases) =>
        Array.from(text, (letter, at) => [letter, letter.toUpperCase(), folded[letter] ?? letter][cases[at]!]!).join(
          '',
        ),
      );
  const known = fc.constantFrom(...names).chain(cased);
  const uuid = fc
    .tuple(
      fc.constantFrom('', 'urn:uuid:', 'URN:UUID:', 'urn:uuid'),
      fc.constantFrom('', '{'),
      fc.oneof(
        fc.string({ unit: fc.constantFrom('0', '-'), minLength: 1, maxLength: 40 }),
        fc.string({ unit: fc.constantFrom('f', 'F', '-'), minLength: 1, maxLength: 40 }),
        fc.uuid(),
      ),
      fc.constantFrom('', '}'),
    )
    .map((parts) => parts.join(''));
  const template = fc
    .tuple(fc.constantFrom('{{', '${', '{', '$'), fc.string({ unit: 'binary' }), fc.constantFrom('}}', '}', ''))
    .map((parts) => parts.join(''));
  const anything = fc.oneof(
    known,
    uuid,
    template,
    fc.tuple(known, fc.constantFrom('x', '1', 'ſ')).map((parts) => parts.join('')),
    fc.string({ unit: 'binary' }),
    fc.string({ unit: fc.constantFrom(' ', '0', 'f', '-', '\0', '\u2003', '\n') }),
  );
  const id = fc.tuple(blank, anything, blank).map((parts) => parts.join(''));

  /** What Postgres says of each; not of too many in one statement. */
  async function judge(ids: readonly string[]): Promise<boolean[]> {
    const judged: boolean[] = [];
    for (let from = 0; from < ids.length; from += 50_000) {
      const rows = await events.select<{ is: boolean }>(
        `SELECT analytics.is_placeholder_id(id) AS is FROM unnest($1::text[]) WITH ORDINALITY AS ids (id, place)
         ORDER BY place`,
        [ids.slice(from, from + 50_000).map(asStored)],
      );
      for (const { is } of rows) judged.push(is);
    }
    return judged;
  }

  test('are the same ones to Postgres', async () => {
    const ids = [...new Set(fc.sample(id, { seed: SEED, numRuns: 20_000 }))].filter((one) => !one.includes('␀'));
    const judged = await judge(ids);
    const wrong = ids.filter((one, at) => judged[at] !== isPlaceholderId(one.toWellFormed()));
    expect(wrong, `SEED=${SEED}`).toEqual([]);
    expect(judged.filter((is) => is).length).toBeGreaterThan(2_000);
    expect(judged.filter((is) => !is).length).toBeGreaterThan(2_000);
  });

  test('every white space and invisible character is none', async () => {
    const all = Array.from({ length: 0x110000 }, (_, point) => point).filter(
      (point) => point < 0xd800 || point > 0xdfff,
    );
    const texts = all.map((point) => String.fromCodePoint(point));
    const judged = await judge(texts);
    const wrong = all.filter((_, at) => judged[at] !== isPlaceholderId(texts[at]!) && texts[at] !== '␀');
    expect(wrong.map((point) => point.toString(16))).toEqual([]);
  });

  test('are told when an event is stored, and link nobody', async () => {
    const linking = (n: number, userId: string, anonymousId: string) =>
      anyRow(n, { event: '"$identify"', userId, anonymousId });
    await store((n) => [
      linking(n, '"undefined"', '"a-1"'),
      linking(n + 1, '"u-1"', '" NULL "'),
      linking(n + 2, '"u-2"', '"a-2"'),
    ]);
    const flags = await events.select(
      `SELECT is_user, is_anonymous FROM analytics.events_raw WHERE event = '$identify' AND event_id > $1 ORDER BY event_id`,
      [eventIdOf(next)],
    );
    expect(flags).toEqual([
      { is_user: false, is_anonymous: true },
      { is_user: true, is_anonymous: false },
      { is_user: true, is_anonymous: true },
    ]);
    const links = await events.select(
      `SELECT anonymous_id, user_id FROM analytics.identities WHERE length(user_id) < 9`,
    );
    expect(links).toEqual([{ anonymous_id: 'a-2', user_id: 'u-2' }]);
  });
});
