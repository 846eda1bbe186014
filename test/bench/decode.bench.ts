/**
 * How fast request bodies become rows, next to the plain way: `JSON.parse` the
 * body, check and pick the fields, `JSON.stringify` a row. The ratio of the two is
 * what can be compared between machines.
 */
import { decodeEvents, decoderOf, type DecodeContext } from '../../src/event/decode.ts';
import { nativeFormat } from '../../src/http/doors/native.ts';
import { readEnvelope } from '../../src/event/envelope.ts';
import type { ProjectId } from '../../src/event/event.ts';
import { createScanner, scanValue } from '../../src/event/json.ts';

const decodeNative = decoderOf(nativeFormat);
const CONTEXT: DecodeContext = {
  projectId: 'p-1' as ProjectId,
  source: 'native',
  receivedAt: Date.UTC(2026, 0, 2),
  maxFutureMs: 86_400_000,
  newEventId: () => '0198c0de-0000-7000-8000-000000000001',
  retentionSeconds: null,
};

const EVENTS_PER_BODY = 1000;
const ROUNDS = 5;
const ROUND_MS = 300;

export async function run(): Promise<{ name: string; value: number; unit: string }[]> {
  const body = Buffer.from(
    `{"events":[${Array.from({ length: EVENTS_PER_BODY }, (_, i) => smallEvent(i)).join(',')}]}`,
  );
  const ways = {
    scan: () => scanValue(createScanner(body)),
    decode: () => decode(body),
    plain: () => decodePlainly(body),
  };
  const best = { scan: 0, decode: 0, plain: 0 };
  // In turns, so that a busy moment of the machine does not hit one of them alone.
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const way of ['scan', 'decode', 'plain'] as const) {
      best[way] = Math.max(best[way], bodiesPerSecond(ways[way]));
    }
  }
  return [
    { name: 'decode scan', value: Math.round((best.scan * body.length) / 1e6), unit: 'MB/s' },
    { name: 'decode event size', value: Math.round(body.length / EVENTS_PER_BODY), unit: 'bytes' },
    { name: 'decode', value: Math.round(best.decode * EVENTS_PER_BODY), unit: 'events/s' },
    { name: 'decode with JSON.parse', value: Math.round(best.plain * EVENTS_PER_BODY), unit: 'events/s' },
    { name: 'decode speed against JSON.parse', value: Number((best.decode / best.plain).toFixed(2)), unit: 'ratio' },
  ];
}

function bodiesPerSecond(work: () => unknown): number {
  const start = performance.now();
  let count = 0;
  while (performance.now() - start < ROUND_MS) {
    work();
    count += 1;
  }
  return (count * 1000) / (performance.now() - start);
}

function smallEvent(i: number): string {
  return JSON.stringify({
    event: 'page viewed',
    timestamp: new Date(CONTEXT.receivedAt - i * 1001).toISOString(),
    anonymous_id: `anon-${i * 7919}`,
    user_id: i % 3 === 0 ? null : `user-${i}`,
    session_id: `session-${i % 50}`,
    event_id: `0198c0de-aaaa-7000-8000-${String(i).padStart(12, '0')}`,
    properties: {
      path: `/pricing/${i}`,
      referrer: 'https://example.com/',
      load_ms: i * 1.5,
      tags: ['a', 'b'],
      new: true,
    },
  });
}

function decode(body: Buffer): number {
  const envelope = readEnvelope(body);
  return envelope.ok ? decodeEvents(envelope.events, decodeNative(CONTEXT)).rows.length : 0;
}

type PlainEvent = Record<string, unknown>;

/** The same rows for well-behaved events, without most of the rules. */
function decodePlainly(body: Buffer): number {
  const { events } = JSON.parse(body.toString()) as { events: PlainEvent[] };
  const receivedAt = new Date(CONTEXT.receivedAt).toISOString();
  const latestMs = CONTEXT.receivedAt + CONTEXT.maxFutureMs;
  let rows = '';
  for (const { event, timestamp, anonymous_id, user_id, session_id, event_id, properties, ...extras } of events) {
    const ms = Date.parse(String(timestamp));
    if (typeof event !== 'string' || event === '' || !(ms >= 0 && ms <= latestMs)) continue;
    const row = {
      project_id: CONTEXT.projectId,
      event_id: event_id ?? CONTEXT.newEventId(),
      event,
      anonymous_id: anonymous_id ?? null,
      user_id: user_id ?? null,
      timestamp: new Date(ms).toISOString(),
      session_id: session_id ?? null,
      properties: properties ?? {},
      extras,
      source: CONTEXT.source,
      received_at: receivedAt,
    };
    rows += `${JSON.stringify(row)}\n`;
  }
  return Buffer.from(rows).length;
}

if (import.meta.main) for (const { name, value, unit } of await run()) console.log(`${name}: ${value} ${unit}`);
