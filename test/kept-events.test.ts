/** A rejected event as it is kept, decoded again alone, becomes the row that it would have become in its request. */
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { skewOf } from '../src/event/clock-skew.ts';
import { decodeEvents } from '../src/event/decode.ts';
import type { DecodeContext } from '../src/event/decoding.ts';
import { decoderOf } from '../src/event/decoder.ts';
import { isBodyProblem } from '../src/event/envelope.ts';
import { withoutTokens } from '../src/event/masked-tokens.ts';
import { createEventWalk } from '../src/event/raw-event.ts';
import { finish } from '../src/event/steps.ts';
import { DOORS } from '../src/http/app.ts';
import { type Door, flatEvents, type Opened, type RequestHead } from '../src/http/ingest/doors/door.ts';
import { decodeKept } from '../src/http/ingest/kept-event.ts';
import { createCapture, tokenPathsOf } from '../src/http/ingest/rejected-capture.ts';
import type { RejectedEvent } from '../src/pipeline/rejected-port.ts';
import { PROJECT } from './support/factory.ts';
import { type Recorded, recordings } from './support/recorded.ts';
import { sentAtOf } from './support/replayed.ts';
import { TOKEN } from './support/served-app.ts';

const ID = '0198c0de-0000-7000-8000-00000000abcd';
const MAX_FUTURE_MS = 86_400_000;
const FACTS = { ip: '"192.0.2.1"', userAgent: '"Agent/1"' };
const FAMILIES = ['amplitude', 'cloudevents', 'logs', 'mixpanel', 'otlp', 'plausible', 'posthog', 'segment', 'umami'];
/** Clients whose path is their user's choice, and the path that they are given here. */
const CHOSEN: Readonly<Record<string, string>> = { cloudevents: '/cloudevents', logs: '/logs' };

const folded = (target: string) => `/${target.split('?', 1)[0]!.split('/').filter(Boolean).join('/')}`;
const familyOf = ({ file }: Recorded) => file.split('/', 1)[0]!;
const pathOf = (one: Recorded) => CHOSEN[familyOf(one)] ?? folded(one.request.url);
const doorOf = (one: Recorded) => DOORS.find(({ paths }) => paths.includes(pathOf(one)));
/** What was sent to a door; clients also ask for settings and send profiles. */
const recorded = FAMILIES.flatMap(recordings).filter(
  (one) => /^(POST|GET)$/.test(one.request.method) && doorOf(one) !== undefined,
);

function bodyOf({ request: { body_text, body_base64 } }: Recorded): Buffer {
  const bytes = body_base64 === undefined ? Buffer.from(body_text ?? '') : Buffer.from(body_base64, 'base64');
  return bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzipSync(bytes) : bytes;
}

/** What a whole request becomes, and what each of its events becomes when it was kept. */
function bothWays(door: Door, body: Buffer, head: RequestHead, at: { receivedAt: number; token: string | null }) {
  const { receivedAt, token } = at;
  if (door.body.kind === 'lines') throw new Error('lines are not opened');
  const opened = finish(door.body.open(body, {}, head));
  if (isBodyProblem(opened)) throw new Error(opened.message);
  const speaking = opened.speaksAs ?? door;
  const { sentAt = null, hint = null } = opened;
  const events = finish(flatEvents(opened));
  if (isBodyProblem(events)) throw new Error(events.message);
  const context: DecodeContext = {
    projectId: PROJECT,
    source: speaking.source,
    receivedAt,
    maxFutureMs: MAX_FUTURE_MS,
    retentionSeconds: 3_600,
    newEventId: () => ID,
    ...(speaking.tokens ? { asSent: { sentAt, hint, token, ...FACTS } } : { skewMs: skewOf(sentAt, receivedAt) }),
  };
  const kept = keptOf(opened, speaking, speaking === door ? head.path : speaking.paths[0], at);
  const { rows, rejected } = finish(decodeEvents(events, decoderOf(speaking.format)(context)));
  expect(rejected).toBe(0);
  return { together: rows.toString('latin1'), kept };
}

function keptOf(opened: Opened, door: Door, path: string, at: { receivedAt: number; token: string | null }) {
  const facts = { sentAt: opened.sentAt ?? null, ...(door.tokens ? FACTS : { ip: null, userAgent: null }) };
  const capture = createCapture(
    { door, projectId: PROJECT, path, receivedAt: at.receivedAt, facts, token: () => at.token },
    { newId: () => ID, hasRoom: () => true },
  );
  const sent = opened.sent ?? createEventWalk(opened.events);
  for (let index = 0; index < opened.events.count; index += 1) capture.take(index, 'for a test', () => sent(index));
  return capture.captured().events;
}

const alone = (event: RejectedEvent) =>
  decodeKept(event, DOORS, { maxFutureMs: MAX_FUTURE_MS, retentionSeconds: 3_600 });

function expectSame({ together, kept }: ReturnType<typeof bothWays>): void {
  const rows = kept.map((event) => {
    expect(event.bytes.toString('latin1')).not.toContain(TOKEN);
    const outcome = alone(event);
    return Buffer.isBuffer(outcome) ? outcome.toString('latin1') : outcome;
  });
  expect(rows).toEqual(together.split(/(?<=\n)/));
}

describe('of what clients send', () => {
  test('there are requests of every family', () => {
    expect([...new Set(recorded.map(familyOf))]).toEqual(FAMILIES);
    expect(recorded.length).toBeGreaterThan(60);
  });

  test.each(recorded)('$file', (one) => {
    const { method, url, headers } = one.request;
    const query = () => new URLSearchParams(url.split('?')[1] ?? '');
    const head = { method: method as RequestHead['method'], path: pathOf(one), target: url, headers, query };
    expectSame(bothWays(doorOf(one)!, bodyOf(one), head, { receivedAt: sentAtOf(one), token: TOKEN }));
  });
});

describe('of what doors are described with', () => {
  const whole = DOORS.filter(({ body, methods }) => body.kind === 'whole' && methods?.join() !== 'GET');

  test.each(whole.flatMap((door) => door.paths.map((path) => [path, door] as const)))('%s', (path, door) => {
    const query = () => new URLSearchParams('measurement_id=G-1');
    const head = { method: 'POST', path, target: path, headers: {}, query } as const;
    expectSame(
      bothWays(door, Buffer.from(JSON.stringify(door.example)), head, {
        receivedAt: Date.UTC(2026, 4, 4, 13),
        token: null,
      }),
    );
  });

  test('a line of a body of lines', () => {
    const door = DOORS.find(({ body }) => body.kind === 'lines')!;
    const [example] = door.example as object[];
    const bytes = Buffer.from(JSON.stringify(example));
    const facts = { sentAt: null, ip: null, userAgent: null };
    const event = { id: ID, projectId: PROJECT, door: door.source, path: door.paths[0], index: 7, bytes, facts };
    const outcome = alone({ ...event, kind: 'missing_field', reason: 'name required', receivedAt: 1_800_000_000_000 });
    expect(JSON.parse((outcome as Buffer).toString())).toMatchObject({ event_id: ID, source: 'ndjson' });
  });
});

describe('what is rejected today as well keeps a reason', () => {
  const event = (path: string, text: string, more: Partial<RejectedEvent> = {}): RejectedEvent => ({
    id: ID,
    projectId: PROJECT,
    door: 'segment',
    path,
    kind: 'invalid_json',
    reason: 'as it was',
    bytes: Buffer.from(text),
    index: 0,
    receivedAt: 1_800_000_000_000,
    facts: { sentAt: null, ip: null, userAgent: null },
    ...more,
  });

  test.each([
    ['/v1/batch', '{"type":"track","event":NaN}', /invalid JSON|as it was/],
    ['/v1/batch', '{"type":"track"', /as it was/],
    ['/v1/batch', '7', /must be an object/],
    ['/v1/batch', '{"type":"track"}', /event required/],
    ['/v1/batch', '{"type":"track","event":"E","writeKey":"*** (another)"}', /token differs/],
    // Two events in what should be one.
    ['/v1/batch', '{"type":"track","event":"E"},{"type":"track","event":"E"}', /as it was/],
    ['/api/v1/ingest/events', '{"event":"x"}', /timestamp required/],
    ['/v1/events', '{"name":', /invalid JSON/],
    ['/gone', '{}', /no door has the path/],
  ])('%s %s', (path, text, reason) =>
    expect(alone(event(path, text))).toMatchObject({ reason: expect.stringMatching(reason) as string }),
  );

  test('and its own token is no other one', () => {
    const outcome = alone(event('/v1/batch', '{"type":"track","event":"E","writeKey":"***"}'));
    expect((outcome as Buffer).toString()).not.toContain('***');
  });
});

test('every door that reads tokens in events has them masked', () => {
  for (const door of DOORS) {
    const paths = door.sentTokens ?? tokenPathsOf(door.format);
    const isInBody = door.tokens?.includes('body') ?? false;
    if (isInBody && !door.sentTokens) expect(paths, door.paths[0]).not.toEqual([]);
    for (const path of paths) {
      const raw = path.split('.').reduceRight((inner, name) => `{${JSON.stringify(name)}:${inner}}`, '"abc"');
      expect(withoutTokens(raw, { paths, token: null, isSiteId: true }), path).not.toContain('abc');
    }
  }
});
