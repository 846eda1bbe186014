/**
 * How fast the bytes of a body become rows, in processor time and against
 * `JSON.parse` of the same bytes: the least that anybody in JavaScript pays who
 * wants to know what is in them.
 */
import { decodeEvents } from '../../src/event/decode.ts';
import { decoderOf } from '../../src/event/decoder.ts';
import { readEnvelope } from '../../src/event/envelope.ts';
import type { ProjectId } from '../../src/event/event.ts';
import { finish } from '../../src/event/steps.ts';
import { nativeFormat } from '../../src/http/ingest/doors/native.ts';
import { type EventSize, createBodies } from './support/bodies.ts';
import { cpuUsOfCall } from './support/own-cpu.ts';
import type { Figure, Scenario } from './support/scenario.ts';
import { alternately, figureOf, ratioOf } from './support/statistics.ts';

const EVENTS_IN_BODY = 500;
/** So many that a body does not stay in the processor's caches from one round to the next. */
const BODIES = 8;
const WARM_UP_MS = 500;

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
  async run({ isQuick, seed, say }) {
    const figures: Figure[] = [];
    for (const size of ['small', 'typical', 'heavy'] as const) {
      say(`${size} events`);
      const amount = isQuick ? { rounds: 15, roundMs: 60 } : { rounds: 15, roundMs: 300 };
      figures.push(...(await compare(size, { seed, ...amount })));
    }
    return figures;
  },
};

async function compare(
  size: EventSize,
  { seed, rounds, roundMs }: { seed: number; rounds: number; roundMs: number },
): Promise<Figure[]> {
  const bodies = createBodies(seed);
  const batches = Array.from({ length: BODIES }, () => bodies.nativeBatch(EVENTS_IN_BODY, size));
  const cpuUsOfEvent = (work: (body: Buffer) => void, forMs: number) =>
    cpuUsOfCall(() => batches.forEach(work), forMs) / (BODIES * EVENTS_IN_BODY);
  const ways = {
    decode: () => cpuUsOfEvent(decode, roundMs),
    parse: () => cpuUsOfEvent(parse, roundMs),
  };
  cpuUsOfEvent(decode, WARM_UP_MS);
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
  const envelope = finish(readEnvelope(body));
  const accepted = envelope.ok ? finish(decodeEvents(envelope.events, decodeEvent)).accepted : 0;
  if (accepted !== EVENTS_IN_BODY) throw new Error(`only ${accepted} of ${EVENTS_IN_BODY} events were decoded`);
}

/** Kept where the optimizer cannot see that nobody reads it. */
let parsed: unknown;

function parse(body: Buffer): void {
  parsed = JSON.parse(body.toString());
  if (parsed === null) throw new Error('a body was null');
}
