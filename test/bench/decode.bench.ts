/**
 * How fast the bytes of a body become rows, in processor time and against
 * `JSON.parse` of the same bytes: the least that anybody in JavaScript pays who
 * wants to know what is in them.
 */
import { decodeEvents, decoderOf } from '../../src/event/decode.ts';
import { readEnvelope } from '../../src/event/envelope.ts';
import type { ProjectId } from '../../src/event/event.ts';
import { nativeFormat } from '../../src/http/doors/native.ts';
import { type EventSize, createBodies } from './support/bodies.ts';
import type { Figure, Scenario } from './support/scenario.ts';
import { alternately, figureOf, ratioOf } from './support/statistics.ts';

const EVENTS_IN_BODY = 500;
/** So many that a body does not stay in the processor's caches from one round to the next. */
const BODIES = 8;
const WARM_UP_MS = 1_000;

const decodeEvent = decoderOf(nativeFormat)({
  projectId: '01890000-0000-7000-8000-00000000000a' as ProjectId,
  source: 'native',
  receivedAt: Date.now(),
  maxFutureMs: 86_400_000,
  newEventId: () => '0198c0de-0000-7000-8000-000000000001',
  retentionSeconds: null,
});

export const scenario: Scenario = {
  name: 'decode',
  about:
    'Processor time of decoding a body into rows ÷ that of JSON.parse of the same bytes, for events of about 120, 280 ' +
    'and 2 000 bytes. No server, no stores.',
  run({ isQuick, seed, say }) {
    const rounds = isQuick ? 7 : 15;
    const roundMs = isQuick ? 150 : 400;
    const measure = async (size: EventSize) => {
      say(`${size} events`);
      return compare(size, { seed, rounds, roundMs });
    };
    return inTurn(['small', 'typical', 'heavy'], measure);
  },
};

async function compare(
  size: EventSize,
  { seed, rounds, roundMs }: { seed: number; rounds: number; roundMs: number },
): Promise<Figure[]> {
  const bodies = createBodies(seed);
  const batches = Array.from({ length: BODIES }, () => bodies.nativeBatch(EVENTS_IN_BODY, size));
  const ways = {
    decode: () => cpuUsOfEvent(batches, decode, roundMs),
    parse: () => cpuUsOfEvent(batches, (body) => JSON.parse(body.toString()), roundMs),
  };
  cpuUsOfEvent(batches, decode, WARM_UP_MS);
  const us = await alternately(rounds, ways);
  const bytes = batches.reduce((sum, body) => sum + body.length, 0) / (BODIES * EVENTS_IN_BODY);
  return [
    ratioOf(`${size}: decode ÷ JSON.parse, CPU`, us.decode, us.parse, {
      guard: 'less is better',
      ...(size === 'typical' ? { bar: { atMost: 2.5 } } : {}),
    }),
    figureOf(`${size}: decode`, us.decode, 'µs/event'),
    figureOf(`${size}: JSON.parse`, us.parse, 'µs/event'),
    figureOf(`${size}: size`, [Math.round(bytes)], 'bytes/event'),
  ];
}

function decode(body: Buffer): void {
  const envelope = readEnvelope(body);
  const accepted = envelope.ok ? decodeEvents(envelope.events, decodeEvent).accepted : 0;
  if (accepted !== EVENTS_IN_BODY) throw new Error(`only ${accepted} of ${EVENTS_IN_BODY} events were decoded`);
}

/** Of this whole process: what a way leaves to the garbage collector is its own cost. */
function cpuUsOfEvent(batches: readonly Buffer[], work: (body: Buffer) => unknown, forMs: number): number {
  const before = process.cpuUsage();
  const startedAt = performance.now();
  let events = 0;
  while (performance.now() - startedAt < forMs) {
    for (const body of batches) work(body);
    events += batches.length * EVENTS_IN_BODY;
  }
  const { user, system } = process.cpuUsage(before);
  return (user + system) / events;
}

async function inTurn<Part>(
  parts: readonly Part[],
  measure: (part: Part) => Promise<readonly Figure[]>,
): Promise<readonly Figure[]> {
  const figures: Figure[] = [];
  for (const part of parts) figures.push(...(await measure(part)));
  return figures;
}
