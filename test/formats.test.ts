/** What every front door but the native one makes of an event: the row, or the reason against it. */
import { describe, expect, test } from 'vitest';
import { readOne } from '../src/event/event-lists.ts';
import { decodeEvents } from '../src/event/decode.ts';
import { decoderOf } from '../src/event/decoder.ts';
import type { DecodeContext } from '../src/event/decoding.ts';
import { isBodyProblem } from '../src/event/envelope.ts';
import { finish } from '../src/event/steps.ts';
import type { Door } from '../src/http/ingest/doors/door.ts';
import { ndjsonDoor } from '../src/http/ingest/doors/ndjson.ts';
import { productDoor } from '../src/http/ingest/doors/product.ts';
import { webDoor } from '../src/http/ingest/doors/web.ts';
import { PROJECT } from './support/factory.ts';
import { sentIn } from './support/sent-documents.ts';

const NEW_ID = '0198c0de-0000-7000-8000-000000000001';
const ID = '550e8400-e29b-41d4-a716-446655440000';
const SESSION = '11111111-1111-1111-1111-111111111111';
const RECEIVED_AT = Date.UTC(2026, 1, 7);
const CONTEXT: DecodeContext = {
  projectId: PROJECT,
  source: 'test',
  receivedAt: RECEIVED_AT,
  maxFutureMs: 86_400_000,
  newEventId: () => NEW_ID,
  retentionSeconds: null,
};
const DECODERS = new Map([ndjsonDoor, productDoor, webDoor].map((door) => [door, decoderOf(door.format)(CONTEXT)]));

/** Decodes one event that is given as raw JSON. */
function decode(door: Door, event: string) {
  const read = finish(readOne(Buffer.from(event)));
  if (isBodyProblem(read)) throw new Error(read.message);
  return finish(decodeEvents(read.events, DECODERS.get(door)!));
}

function rowOf(door: Door, event: string): string {
  const { rows, rejections } = decode(door, event);
  expect(rejections).toEqual([]);
  return rows.toString();
}

const reasonOf = (door: Door, event: string) => decode(door, event).rejections[0]?.reason ?? null;
const fieldsOf = (row: string) => JSON.parse(row) as Record<string, unknown>;

/** The raw text of the row's properties and extras, as they were sent. */
const rawOf = sentIn;

type Members = Record<string, string | undefined>;
/** An object of raw values; undefined leaves a member out. */
const objectOf = (members: Members) =>
  `{${Object.entries(members)
    .flatMap(([key, raw]) => (raw === undefined ? [] : [`"${key}":${raw}`]))
    .join(',')}}`;

const NDJSON = { timestamp: '"2026-02-06T23:01:02.123Z"', service: '"users"', name: '"user.created"' };
const PRODUCT = { event_name: '"view"', user_id: '"u1"', timestamp: '1708732800000' };
const WEB = { id: `"${ID}"`, session_id: `"${SESSION}"`, timestamp: '"2024-01-01T00:00:00Z"' };
const PAGEVIEW = { ...WEB, type: '"pageview"', title: '"Destination"', path: '"/"' };
const CLICK = { ...WEB, type: '"click"', element: '"a"' };
const SCROLL = { ...WEB, type: '"scroll"', scroll_depth: '50', direction: '"down"' };
const PERFORMANCE = { ...WEB, type: '"performance"', metrics: '{}' };
const CUSTOM = { ...WEB, type: '"custom"', event_name: '"bought"', properties: '{}' };

const ndjson = (more: Members = {}) => objectOf({ ...NDJSON, ...more });
const product = (more: Members = {}) => objectOf({ ...PRODUCT, ...more });
const pageview = (more: Members = {}) => objectOf({ ...PAGEVIEW, ...more });
const click = (more: Members = {}) => objectOf({ ...CLICK, ...more });
const scroll = (more: Members = {}) => objectOf({ ...SCROLL, ...more });
const performance = (more: Members = {}) => objectOf({ ...PERFORMANCE, ...more });
const custom = (more: Members = {}) => objectOf({ ...CUSTOM, ...more });

const long = (length: number, of = 'x') => `"${of.repeat(length)}"`;
const deep = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`;
/** An object of so many bytes. */
const objectOfBytes = (byteCount: number) => `{"a":${long(byteCount - 8)}}`;

describe('an event becomes a row', () => {
  test('ndjson: name is the event, data the properties, the rest the extras', () => {
    const row = rowOf(
      ndjsonDoor,
      '{"timestamp":"2026-02-06T23:01:02.123Z","service":"users","job_id":"job_x","request_id":"req_y","trace_id":"trc_z",' +
        '"env":"prod","level":"info","user_id":"u","name":"user.created","data":{"b" : 1e300,"b":12345678901234567890},"more":[ 1 ]}',
    );
    expect(row).toBe(
      `{"project_id":"${PROJECT}","event_id":"${NEW_ID}","event":"user.created","anonymous_id":null,"user_id":"u",` +
        '"timestamp":"2026-02-06T23:01:02.123Z","session_id":null,"properties":{"b" : 1e300,"b":12345678901234567890},' +
        '"extras":{"service":"users","job_id":"job_x","request_id":"req_y","trace_id":"trc_z","env":"prod","level":"info","more":[ 1 ]},' +
        '"source":"test","received_at":"2026-02-07T00:00:00.000Z"}\n',
    );
  });

  test('product: metadata is the properties; channel, campaign and tags are extras', () => {
    const row = rowOf(
      productDoor,
      '{"event_name":"product_view","channel":"web","campaign_id":"summer","user_id":"user_12345","timestamp":1708732800000,' +
        '"tags":["electronics","featured"],"metadata":{"product_id":"SKU-001"},"more":-0}',
    );
    expect(fieldsOf(row)).toMatchObject({
      event: 'product_view',
      user_id: 'user_12345',
      timestamp: '2024-02-24T00:00:00.000Z',
      event_id: NEW_ID,
    });
    expect(rawOf(row)).toEqual({
      properties: '{"product_id":"SKU-001"}',
      extras: '{"channel":"web","campaign_id":"summer","tags":["electronics","featured"],"more":-0}',
    });
  });

  test.each<[string, string, { event: string; properties: string; extras: string }]>([
    [
      'pageview',
      pageview({ load_time: '1.50', time_to_first_byte: '0', referrer: '""' }),
      {
        event: 'pageview',
        properties: '{"title":"Destination","path":"/","load_time":1.50,"time_to_first_byte":0,"referrer":""}',
        extras: '{"type":"pageview"}',
      },
    ],
    [
      'click',
      click({ selector: '"#a"', coordinates: '{"x":1,"y":-2.5,"z":null}', is_double_click: 'false', text: '"Buy"' }),
      {
        event: 'click',
        properties:
          '{"element":"a","selector":"#a","coordinates":{"x":1,"y":-2.5,"z":null},"is_double_click":false,"text":"Buy"}',
        extras: '{"type":"click"}',
      },
    ],
    [
      'scroll',
      scroll({ element: '"main"' }),
      {
        event: 'scroll',
        properties: '{"scroll_depth":50,"direction":"down","element":"main"}',
        extras: '{"type":"scroll"}',
      },
    ],
    [
      'performance',
      performance({ metrics: '{"lcp":1,"more":"x"}' }),
      { event: 'performance', properties: '{"metrics":{"lcp":1,"more":"x"}}', extras: '{"type":"performance"}' },
    ],
    [
      'custom',
      custom({ properties: '{ "a":1e400, "a":2 }' }),
      { event: 'bought', properties: '{ "a":1e400, "a":2 }', extras: '{"type":"custom"}' },
    ],
    [
      'with what is not of its type, and metadata, as extras',
      pageview({ tenant_id: `"${PROJECT}"`, metadata: '{"ip":"::1", "more":1}', element: '5', event_name: '[]' }),
      {
        event: 'pageview',
        properties: '{"title":"Destination","path":"/"}',
        extras: `{"type":"pageview","tenant_id":"${PROJECT}","metadata":{"ip":"::1", "more":1},"element":5,"event_name":[]}`,
      },
    ],
  ])('web: %s', (_name, event, { event: name, ...raw }) => {
    const row = rowOf(webDoor, event);
    expect(fieldsOf(row)).toMatchObject({ event: name, event_id: ID, session_id: SESSION, user_id: null });
    expect(rawOf(row)).toEqual(raw);
  });

  test('an id in capitals is the same id', () => {
    expect(fieldsOf(rowOf(webDoor, pageview({ id: `"${ID.toUpperCase()}"` })))).toMatchObject({ event_id: ID });
  });

  test('a field that is sent twice counts where it was sent last, however its key is spelled', () => {
    const twice = '{"name":1,"n\\u0061me":"n","timestamp":true,"timestamp":1,"service":5,"\\u0073ervice":"s"}';
    const row = rowOf(ndjsonDoor, twice);
    expect(fieldsOf(row)).toMatchObject({ event: 'n', timestamp: '1970-01-01T00:00:01.000Z' });
    expect(rawOf(row).extras).toBe('{"\\u0073ervice":"s"}');
    expect(rawOf(rowOf(webDoor, pageview().replace('{', '{"type":"click","title":7,'))).properties).toBe(
      '{"title":"Destination","path":"/"}',
    );
  });

  test('the aliases of the native format mean nothing elsewhere', () => {
    const aliases = { event: '"e"', userId: '"x"', properties: '1', extras: '{"a":1}' };
    const row = rowOf(productDoor, product(aliases));
    expect(fieldsOf(row)).toMatchObject({ event: 'view', user_id: 'u1', event_id: NEW_ID, properties: {} });
    expect(rawOf(row).extras).toBe('{"event":"e","userId":"x","properties":1,"extras":{"a":1}}');
  });

  describe.each([
    ['ndjson', ndjsonDoor, ndjson],
    ['product', productDoor, product],
  ])('%s: the id of an event', (_name, door, eventWith) => {
    const idOf = (more: Members) => fieldsOf(rowOf(door, eventWith(more)))['event_id'];
    test.each(['event_id', 'eventId', 'messageId', 'message_id', 'uuid', 'id'])('counts as %s', (key) => {
      expect(idOf({ [key]: `"${ID}"` })).toBe(ID);
      expect(idOf({ [key]: `"{${ID.toUpperCase()}}"` })).toBe(ID);
      expect(idOf({ [key]: '"abc"' })).toBe(idOf({ [key]: '"abc"', more: '1' }));
      expect(idOf({ [key]: '"abc"' })).not.toBe(NEW_ID);
      expect(idOf({ [key]: long(1_000) })).toBe(idOf({ [key]: long(1_000) }));
      expect(idOf({ [key]: '7' })).toBe(idOf({ [key]: '"7"' }));
    });

    test.each(['null', '""', '{"a":1}', '[]', 'true', '"undefined"', '" NULL "'])(
      'is made where %s is sent for it',
      (raw) => {
        expect(idOf({ event_id: raw })).toBe(NEW_ID);
        expect(rawOf(rowOf(door, eventWith({ event_id: raw }))).extras).toContain(`"event_id":${raw}`);
      },
    );

    test('is that of its strongest name, and the others are kept as sent', () => {
      const row = rowOf(door, eventWith({ id: '17', uuid: '"x"', event_id: `"${ID}"` }));
      expect(fieldsOf(row)).toMatchObject({ event_id: ID });
      expect(rawOf(row).extras).toMatch(/"id":17,"uuid":"x"\}$/);
    });
  });

  test('web: an id by another name is the id, too', () => {
    expect(fieldsOf(rowOf(webDoor, pageview({ id: undefined, event_id: `"${ID}"` })))).toMatchObject({ event_id: ID });
    const spelt = rowOf(webDoor, pageview({ id: `"${ID.replaceAll('-', '')}"` }));
    expect(fieldsOf(spelt)).toMatchObject({ event_id: ID });
    expect(rawOf(spelt).extras).toContain(`"id":"${ID.replaceAll('-', '')}"`);
  });

  test('a number where a label is a text becomes its digits as written, in the extras', () => {
    const numbers = { service: '7', env: '1.50', job_id: '12345678901234567890123', level: '-0', trace_id: '1E5' };
    expect(rawOf(rowOf(ndjsonDoor, ndjson(numbers))).extras).toBe(
      '{"service":"7","env":"1.50","job_id":"12345678901234567890123","level":"-0","trace_id":"1E5"}',
    );
    expect(fieldsOf(rowOf(ndjsonDoor, ndjson({ user_id: '42' })))).toMatchObject({ user_id: '42' });
    expect(rawOf(rowOf(productDoor, product({ campaign_id: '5', user_id: '7' }))).extras).toBe('{"campaign_id":"5"}');
  });

  test.each(['true', '{"a":1}', '["x"]', 'null', long(201)])(
    'a label never costs an event: %.20s is kept as sent',
    (raw) => {
      for (const name of ['env', 'job_id', 'request_id', 'trace_id', 'level'])
        expect(rawOf(rowOf(ndjsonDoor, ndjson({ [name]: raw }))).extras).toContain(`"${name}":${raw}`);
      for (const name of ['campaign_id', 'tags'])
        expect(rawOf(rowOf(productDoor, product({ [name]: raw }))).extras).toBe(`{"${name}":${raw}}`);
    },
  );

  test('strange but well-formed content is kept as it was sent', () => {
    const strange =
      '{"__proto__":{"a":1},"constructor":null,"\\ud800":"\\udc00\\u0000","":"","n":12345678901234567890,"e":1e400}';
    for (const [door, event] of [
      [ndjsonDoor, ndjson({ data: strange })],
      [productDoor, product({ metadata: strange })],
      [webDoor, custom({ properties: strange })],
    ] as const)
      expect(rawOf(rowOf(door, event)).properties).toBe(strange);
    const members = '"__proto__":1,"constructor":"\\ud800","toString":1e400';
    const extras = rawOf(rowOf(productDoor, product().replace('}', `,${members}}`))).extras;
    expect(extras).toBe(`{${members}}`);
  });

  test('a label that is a number is a text of its digits, however many: nothing is unreadable', () => {
    const row = rowOf(ndjsonDoor, ndjson({ trace_id: '123456789012345678901234567890' }));
    expect(row).toContain('"extras":{"service":"users","trace_id":"123456789012345678901234567890"},"source":');
  });

  test('names and ids are made well-formed', () => {
    expect(fieldsOf(rowOf(productDoor, product({ event_name: '"a\\ud800\\u0000"' })))).toMatchObject({
      event: 'a\ufffd\u0000',
    });
  });
});

describe('what is just right', () => {
  test.each<[Door, string]>([
    ...[
      { timestamp: '0' },
      { timestamp: '"2026-02-08T00:00:00Z"' },
      { timestamp: '"2026-02-08T01:00:00,0+0100"' },
      { timestamp: '"1708732800"' },
      { name: long(200) },
      { name: long(200, '😀') },
      { service: long(200) },
      { service: '"\\u0000"' },
      { trace_id: long(200), env: '""', job_id: 'null', level: '"\\ud800"' },
      { user_id: '""' },
      { user_id: 'null' },
      { data: 'null' },
      { data: objectOf({ a: deep(63) }) },
    ].map((more): [Door, string] => [ndjsonDoor, ndjson(more)]),
    ...[
      { channel: '""' },
      { channel: 'null' },
      { channel: '"push"' },
      { campaign_id: long(200) },
      { tags: '[]' },
      { tags: 'null' },
      { tags: `[${long(200)},""]` },
      { tags: JSON.stringify(Array(1_000).fill('t')) },
      { user_id: long(200, '😀') },
      { metadata: 'null' },
    ].map((more): [Door, string] => [productDoor, product(more)]),
    ...[
      { title: long(500) },
      { title: long(500, '😀') },
      { title: '""' },
      { path: long(2_000) },
      { referrer: 'null' },
      { referrer: long(2_000) },
      { load_time: '0' },
      { load_time: '1e9' },
      { user_id: '""' },
      { tenant_id: 'null' },
      { tenant_id: `"${PROJECT.toUpperCase()}"` },
      { metadata: 'null' },
      { metadata: '{}' },
      { metadata: objectOf({ user_agent: long(512), ip: long(64), timezone: long(64), language: long(64) }) },
      { metadata: '{"screen_width":0,"screen_height":null,"viewport_width":1e3,"device_pixel_ratio":1.25}' },
    ].map((more): [Door, string] => [webDoor, pageview(more)]),
    ...[
      { element: long(64) },
      { text: long(200) },
      { selector: long(2_000) },
      { coordinates: 'null' },
      { coordinates: '{"x":-1e400,"y":12345678901234567890}' },
      { is_double_click: 'true' },
    ].map((more): [Door, string] => [webDoor, click(more)]),
    ...[{ scroll_depth: '0' }, { scroll_depth: '-0' }, { scroll_depth: '100' }, { direction: '"up"' }].map(
      (more): [Door, string] => [webDoor, scroll(more)],
    ),
    ...[
      '{"lcp":0,"fcp":60000,"ttfb":6e4}',
      '{"fid":0,"cls":0}',
      '{"fid":10000,"cls":10}',
      '{"lcp":null,"inp":"x"}',
    ].map((metrics): [Door, string] => [webDoor, performance({ metrics })]),
    ...[{ event_name: '"a"' }, { event_name: long(100, '😀') }, { properties: objectOfBytes(16 * 1024) }].map(
      (more): [Door, string] => [webDoor, custom(more)],
    ),
  ])('$path %.120s', (door, event) => {
    expect(reasonOf(door, event)).toBeNull();
  });
});

/** Each wrong event with its reason. */
const refusals = (door: Door, eventWith: (more: Members) => string, cases: readonly (readonly [Members, string])[]) =>
  cases.map(([more, reason]): [Door, string, string] => [door, eventWith(more), reason]);

describe('what is refused, and why', () => {
  test.each<[Door, string, string]>([
    ...[ndjsonDoor, productDoor, webDoor].flatMap((door) =>
      ['null', '1', '"{}"', '[{}]', 'true'].map((event): [Door, string, string] => [
        door,
        event,
        'event must be an object',
      ]),
    ),
    ...refusals(ndjsonDoor, ndjson, [
      [{ name: undefined }, 'name required'],
      [{ name: 'null' }, 'name required'],
      [{ name: '""' }, 'name required'],
      [{ name: '1' }, 'name must be a string'],
      [{ name: long(201) }, 'name too long'],
      [{ timestamp: undefined }, 'timestamp required'],
      [{ timestamp: '"2026-02-06"' }, 'timestamp invalid'],
      [{ timestamp: '"2026-02-06T23:01:02"' }, 'timestamp invalid'],
      [{ timestamp: '"2026-02-08T00:00:00.001Z"' }, 'timestamp out of range'],
      [{ timestamp: '-1' }, 'timestamp out of range'],
      [{ service: undefined }, 'service required'],
      [{ service: 'null' }, 'service required'],
      [{ service: '""' }, 'service required'],
      [{ service: '{}' }, 'service must be a string'],
      [{ service: long(201) }, 'service too long'],
      [{ user_id: 'true' }, 'user_id must be a string'],
      [{ user_id: long(201) }, 'user_id too long'],
      [{ data: '[]' }, 'data must be an object'],
      [{ data: '"{}"' }, 'data must be an object'],
      [{ data: objectOf({ a: deep(64) }) }, 'nesting too deep'],
      [{ more: deep(65) }, 'nesting too deep'],
      [{ data: objectOfBytes(256 * 1024) }, 'event too large'],
      [{ more: long(256 * 1024) }, 'event too large'],
    ]),
    ...refusals(productDoor, product, [
      [{ event_name: undefined }, 'event_name required'],
      [{ event_name: '""' }, 'event_name required'],
      [{ event_name: '{}' }, 'event_name must be a string'],
      [{ event_name: long(201) }, 'event_name too long'],
      [{ user_id: undefined }, 'user_id required'],
      [{ user_id: 'null' }, 'user_id required'],
      [{ user_id: '""' }, 'user_id required'],
      [{ user_id: '[7]' }, 'user_id must be a string'],
      [{ user_id: long(201, '😀') }, 'user_id too long'],
      [{ timestamp: undefined }, 'timestamp required'],
      [{ timestamp: '20240224' }, 'timestamp invalid'],
      [{ channel: '"Web"' }, 'channel must be one of web, mobile, api, email, push'],
      [{ channel: '5' }, 'channel must be one of web, mobile, api, email, push'],
      [{ metadata: '[]' }, 'metadata must be an object'],
      [{ metadata: '5' }, 'metadata must be an object'],
    ]),
    ...refusals(webDoor, pageview, [
      [{ type: undefined }, 'type required'],
      [{ type: 'null' }, 'type required'],
      [{ type: '""' }, 'type must be one of pageview, click, scroll, performance, custom'],
      [{ type: '5' }, 'type must be one of pageview, click, scroll, performance, custom'],
      [{ type: '"toString"' }, 'type must be one of pageview, click, scroll, performance, custom'],
      [{ type: '"Click"' }, 'type must be one of pageview, click, scroll, performance, custom'],
      [{ id: undefined }, 'id required'],
      [{ id: '""' }, 'id required'],
      [{ id: '{}' }, 'id must be a string'],
      [{ id: '5' }, 'id must be a UUID'],
      [{ id: '"abc"' }, 'id must be a UUID'],
      [{ id: `"{${ID}"` }, 'id must be a UUID'],
      [{ session_id: undefined }, 'session_id required'],
      [{ session_id: '"s"' }, 'session_id must be a UUID'],
      [{ timestamp: 'null' }, 'timestamp required'],
      [{ user_id: 'false' }, 'user_id must be a string'],
      [{ tenant_id: `"${ID}"` }, 'tenant mismatch'],
      [{ tenant_id: '""' }, 'tenant mismatch'],
      [{ tenant_id: '5' }, 'tenant mismatch'],
      [{ tenant_id: `["${PROJECT}"]` }, 'tenant mismatch'],
      [{ title: undefined }, 'title required'],
      [{ title: 'null' }, 'title required'],
      [{ title: long(501) }, 'title too long'],
      [{ title: long(501, '😀') }, 'title too long'],
      [{ path: undefined }, 'path required'],
      [{ path: long(2_001) }, 'path too long'],
      [{ referrer: '5' }, 'referrer must be a string'],
      [{ load_time: '"5"' }, 'load_time must be a number'],
      [{ load_time: '-1' }, 'load_time out of range'],
      [{ time_to_first_byte: '1e400' }, 'time_to_first_byte out of range'],
      [{ metadata: '[]' }, 'metadata must be an object'],
      [{ metadata: objectOf({ user_agent: long(513) }) }, 'metadata.user_agent too long'],
      [{ metadata: '{"screen_width":-1}' }, 'metadata.screen_width out of range'],
      [{ metadata: '{"device_pixel_ratio":"2"}' }, 'metadata.device_pixel_ratio must be a number'],
      [{ metadata: '{"ip":5}' }, 'metadata.ip must be a string'],
      [{ metadata: `{"a":${deep(64)}}` }, 'nesting too deep'],
    ]),
    ...refusals(webDoor, click, [
      [{ element: undefined }, 'element required'],
      [{ element: long(65) }, 'element too long'],
      [{ selector: '5' }, 'selector must be a string'],
      [{ coordinates: '[1,2]' }, 'coordinates must be an object'],
      [{ coordinates: '{"x":1}' }, 'coordinates.y required'],
      [{ coordinates: '{"x":"1","y":2}' }, 'coordinates.x must be a number'],
      [{ is_double_click: '1' }, 'is_double_click must be true or false'],
      [{ text: long(201) }, 'text too long'],
    ]),
    ...refusals(webDoor, scroll, [
      [{ scroll_depth: undefined }, 'scroll_depth required'],
      [{ scroll_depth: '101' }, 'scroll_depth out of range'],
      [{ scroll_depth: '-1' }, 'scroll_depth out of range'],
      [{ scroll_depth: '"50"' }, 'scroll_depth must be a number'],
      [{ direction: undefined }, 'direction required'],
      [{ direction: '"left"' }, 'direction must be one of up, down'],
      [{ element: long(65) }, 'element too long'],
    ]),
    ...refusals(webDoor, performance, [
      [{ metrics: undefined }, 'metrics required'],
      [{ metrics: '5' }, 'metrics must be an object'],
      [{ metrics: '{"lcp":60001}' }, 'metrics.lcp out of range'],
      [{ metrics: '{"fcp":-1}' }, 'metrics.fcp out of range'],
      [{ metrics: '{"ttfb":"1"}' }, 'metrics.ttfb must be a number'],
      [{ metrics: '{"fid":10001}' }, 'metrics.fid out of range'],
      [{ metrics: '{"cls":10.01}' }, 'metrics.cls out of range'],
    ]),
    ...refusals(webDoor, custom, [
      [{ event_name: undefined }, 'event_name required'],
      [{ event_name: '""' }, 'event_name required'],
      [{ event_name: long(101) }, 'event_name too long'],
      [{ properties: undefined }, 'properties required'],
      [{ properties: '[]' }, 'properties must be an object'],
      [{ properties: objectOfBytes(16 * 1024 + 1) }, 'properties too large'],
    ]),
  ])('$path %.120s: %s', (door, event, reason) => {
    expect(reasonOf(door, event)).toBe(reason);
  });

  test('an event of many faults is told the first: what every event has, then what this one has', () => {
    const faults = { type: '"custom"', event_name: '5', timestamp: '5e99', session_id: '{}', id: '{}', tenant_id: '5' };
    const rest = { metadata: '5', properties: '5' };
    const fixes = { event_name: '"e"', timestamp: '5', session_id: `"${ID}"`, id: `"${ID}"`, tenant_id: 'null' };
    const told: (string | null)[] = [];
    const members: Members = { ...rest, ...faults };
    for (const [name, fixed] of Object.entries({ ...fixes, metadata: '{}', properties: '{}' })) {
      told.push(reasonOf(webDoor, objectOf(members)));
      members[name] = fixed;
    }
    expect([...told, reasonOf(webDoor, objectOf(members))]).toEqual([
      'event_name must be a string',
      'timestamp out of range',
      'session_id must be a string',
      'id must be a string',
      'tenant mismatch',
      'metadata must be an object',
      'properties must be an object',
      null,
    ]);
  });
});

test('a CloudEvent at the door for product events is told where it belongs', () => {
  const cloudEvent = objectOf({ specversion: '"1.0"', type: '"view"', source: '"/a"', id: '"1"' });
  const { rejections, kinds } = decode(productDoor, cloudEvent);
  expect(rejections).toMatchObject([{ reason: 'event_name required; CloudEvents go to /cloudevents' }]);
  expect(kinds).toEqual({ missing_field: 1 });
  expect(reasonOf(productDoor, product({ timestamp: '"x"' }))).toBe('timestamp invalid');
  expect(rowOf(productDoor, product({ specversion: '"1.0"' }))).toContain('"specversion":"1.0"');
});
