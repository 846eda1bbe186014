/**
 * What the doors for clients of other services take to turn a request into rows, in processor time and against the
 * native door. That gets the same events in Weir's own format: the same ids, properties and extras, so that the rows are
 * the same.
 */
import { decodeEvents } from '../../src/event/decode.ts';
import { decoderOf } from '../../src/event/decoder.ts';
import type { AsSent } from '../../src/event/decoding.ts';
import { isBodyProblem } from '../../src/event/envelope.ts';
import { finish } from '../../src/event/steps.ts';
import { amplitudeDoor } from '../../src/http/ingest/doors/amplitude.ts';
import type { Door, RequestHead } from '../../src/http/ingest/doors/door.ts';
import { nativeDoor } from '../../src/http/ingest/doors/native.ts';
import { otlpDoor } from '../../src/http/ingest/doors/otlp.ts';
import { posthogDoor } from '../../src/http/ingest/doors/posthog.ts';
import { segmentDoors } from '../../src/http/ingest/doors/segment.ts';
import { DECODE_CONTEXT } from '../support/factory.ts';
import { cpuUsOfCall } from './support/own-cpu.ts';
import type { Figure, Scenario } from './support/scenario.ts';
import { createSdkBodies, type SdkFamily } from './support/sdk-bodies.ts';
import { alternately, figureOf, ratioOf } from './support/statistics.ts';

const EVENTS_IN_BODY = 100;
/** So many that bodies do not stay in the processor's caches from one round to the next. */
const BODIES = 40;
const WARM_UP_MS = 500;
const AT_MOST = 2;

const FAMILIES: Readonly<Record<SdkFamily, Way>> = {
  segment: wayOf(segmentDoors[0]!),
  posthog: wayOf(posthogDoor),
  amplitude: wayOf(amplitudeDoor),
  'otlp JSON': wayOf(otlpDoor),
  'otlp protobuf': wayOf(otlpDoor, 'application/x-protobuf'),
};

export const scenario: Scenario = {
  name: 'sdk',
  about:
    'Processor time from the bytes of a request of Segment, PostHog, Amplitude and OpenTelemetry to rows, 100 events ' +
    'each ÷ that of the native door for the same events. No server, no stores.',
  async run({ isQuick, seed, say }) {
    const bodies = createSdkBodies(seed);
    const batches = Array.from({ length: BODIES }, () => bodies.batch(EVENTS_IN_BODY));
    const amount = isQuick ? { rounds: 15, roundMs: 60 } : { rounds: 15, roundMs: 300 };
    const figures: Figure[] = [];
    for (const family of Object.keys(FAMILIES) as SdkFamily[]) {
      say(family);
      const theirs = batches.map((batch) => batch[family]);
      figures.push(...(await compare(family, { theirs, native: theirs.map(nativeOf(FAMILIES[family])) }, amount)));
    }
    return figures;
  },
};

/** Turns a body into rows; throws unless all of its events are accepted. */
type Way = (body: Buffer) => Buffer;

function wayOf({ body: shape, paths, source, format }: Door, contentType: string = 'application/json'): Way {
  if (shape.kind !== 'whole') throw new Error('only bodies that are read as a whole can be compared');
  const head: RequestHead = {
    method: 'POST',
    path: paths[0],
    target: paths[0],
    headers: { 'content-type': contentType },
    query: () => new URLSearchParams(),
  };
  const decoder = decoderOf(format);
  return (body) => {
    const opened = finish(shape.open(body, {}, head));
    if (isBodyProblem(opened)) throw new Error(opened.message);
    const { events, token = null, sentAt = null, hint = null } = opened;
    const asSent: AsSent = {
      sentAt,
      hint,
      token: typeof token === 'function' ? finish(token()) : token,
      ip: null,
      userAgent: null,
    };
    const context = { ...DECODE_CONTEXT, receivedAt: Date.now(), source, asSent };
    const { accepted, rows } = finish(decodeEvents(events, decoder(context)));
    if (accepted !== EVENTS_IN_BODY) throw new Error(`only ${accepted} of ${EVENTS_IN_BODY} events were decoded`);
    return rows;
  };
}

const decodeNative = wayOf(nativeDoor);

/** A native request whose rows are those of a body of another format. */
function nativeOf(way: Way): (body: Buffer) => Buffer {
  return (body) => {
    const rows = way(body).toString().trimEnd().split('\n');
    const events = rows.map((row) => {
      const { project_id: _project, source: _source, received_at: _receivedAt, ...event } = JSON.parse(row) as Row;
      return event;
    });
    return Buffer.from(JSON.stringify({ events }));
  };
}

type Row = Readonly<Record<string, unknown>>;

async function compare(
  family: SdkFamily,
  bodies: { readonly theirs: readonly Buffer[]; readonly native: readonly Buffer[] },
  { rounds, roundMs }: { rounds: number; roundMs: number },
): Promise<Figure[]> {
  const cpuUsOfEvent = (way: Way, all: readonly Buffer[], forMs: number) =>
    cpuUsOfCall(() => all.forEach((body) => way(body)), forMs) / (BODIES * EVENTS_IN_BODY);
  const ways = {
    theirs: () => cpuUsOfEvent(FAMILIES[family], bodies.theirs, roundMs),
    native: () => cpuUsOfEvent(decodeNative, bodies.native, roundMs),
  };
  cpuUsOfEvent(FAMILIES[family], bodies.theirs, WARM_UP_MS);
  cpuUsOfEvent(decodeNative, bodies.native, WARM_UP_MS);
  // A microsecond an event is a second for a million.
  const { theirs, native } = await alternately(rounds, ways);
  return [
    ratioOf(`${family} ÷ native, CPU`, theirs, native, { guard: 'less is better', bar: { atMost: AT_MOST } }),
    figureOf(`${family}: CPU per million events`, theirs, 's'),
    figureOf(`${family}: native, CPU per million events`, native, 's'),
    figureOf(`${family}: size`, [bytesOfEvent(bodies.theirs)], 'bytes/event'),
    figureOf(`${family}: native, size`, [bytesOfEvent(bodies.native)], 'bytes/event'),
  ];
}

function bytesOfEvent(bodies: readonly Buffer[]): number {
  return Math.round(bodies.reduce((sum, { length }) => sum + length, 0) / (BODIES * EVENTS_IN_BODY));
}
