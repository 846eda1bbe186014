/** Streams of 10 MiB of NDJSON, as log shippers send, against native batches of the same events. */
import { createBodies } from './support/bodies.ts';
import { openGrounds } from './support/grounds.ts';
import type { Scenario } from './support/scenario.ts';
import { type Measured, type Prepared, measureSending, prepare, targetOf } from './support/sending.ts';
import { alternately, figureOf, ratioOf } from './support/statistics.ts';

/** The largest body that Weir takes by default. */
const STREAM_BYTES = 10 * 2 ** 20;
const MB = 1_000_000;
const BATCH_SIZE = 500;
const STREAM_CONNECTIONS = 2;
const BATCH_CONNECTIONS = 16;
/** ClickHouse gets batches of so many by default: without a rest, nothing waits for the flush interval. */
const FULL_BATCH = 5_000;
/** For the streams of a round, about 35 000 events each. */
const ROOM = { INGEST_EVENT_BUFFER: '250000', INGEST_BUFFER_BYTES: '256MiB' };

export const scenario: Scenario = {
  name: 'ndjson',
  about:
    'NDJSON streams of 10 MiB to /v1/events: MB and events a second, and the processor time of Weir per million events ÷ ' +
    'that of native batches of 500 with the same events.',
  async run({ isQuick, seed, say }) {
    const grounds = await openGrounds({ settings: ROOM });
    try {
      const bodies = createBodies(seed);
      const weir = await grounds.startBenched();
      const streamsTo = targetOf(weir, '/v1/events', { token: grounds.token, 'content-type': 'application/x-ndjson' });
      const batchesTo = targetOf(weir, '/api/v1/ingest/events', { token: grounds.token });

      const send = async (requests: readonly Prepared[], connections: number): Promise<Measured> => {
        const measured = await measureSending(weir, { requests, connections });
        await grounds.expectStored(measured.acknowledged);
        await grounds.forget();
        return measured;
      };
      const newEvents = (streams: number) =>
        Array.from({ length: streams }, () => bodies.serviceEvents(STREAM_BYTES, FULL_BATCH));
      const sendStreams = async (streams: number) => {
        const sent = newEvents(streams);
        const requests = sent.map(({ ndjson, events }) => prepare(streamsTo, ndjson, events));
        const measured = await send(requests, STREAM_CONNECTIONS);
        const megabytes = sent.reduce((sum, { ndjson }) => sum + ndjson.length, 0) / MB;
        return { ...measured, mbPerS: (megabytes * measured.acknowledgedPerS) / measured.acknowledged };
      };
      const sendBatches = (streams: number) => {
        const requests = newEvents(streams)
          .flatMap((events) => events.nativeBatches(BATCH_SIZE))
          .map(({ body, events }) => prepare(batchesTo, body, events));
        return send(requests, BATCH_CONNECTIONS);
      };

      say('warming up');
      await sendStreams(1);
      await sendBatches(1);
      const streams = isQuick ? 2 : 4;
      const of = await alternately(isQuick ? 3 : 7, {
        streams(round) {
          say(`round ${round + 1}`);
          return sendStreams(streams);
        },
        batches: () => sendBatches(streams),
      });
      const cpu = ({ cpuSPerMillion }: Measured) => cpuSPerMillion;
      const figures = [
        ratioOf('CPU, streams ÷ batches of 500', of.streams.map(cpu), of.batches.map(cpu), { guard: 'less is better' }),
        ratioOf(
          'acknowledged, streams ÷ batches of 500',
          of.streams.map(({ acknowledgedPerS }) => acknowledgedPerS),
          of.batches.map(({ acknowledgedPerS }) => acknowledgedPerS),
        ),
        figureOf('streams: CPU per million events', of.streams.map(cpu), 's'),
        figureOf('batches: CPU per million events', of.batches.map(cpu), 's'),
        figureOf(
          'streams: acknowledged bytes',
          of.streams.map(({ mbPerS }) => mbPerS),
          'MB/s',
        ),
        figureOf(
          'streams: acknowledged',
          of.streams.map(({ acknowledgedPerS }) => acknowledgedPerS),
          'events/s',
        ),
        figureOf(
          'streams: stored',
          of.streams.map(({ storedPerS }) => storedPerS),
          'events/s',
        ),
        figureOf(
          'batches: stored',
          of.batches.map(({ storedPerS }) => storedPerS),
          'events/s',
        ),
        figureOf(
          'streams: one of 10 MiB, p50',
          of.streams.map(({ latencyMs }) => latencyMs.p50),
          'ms',
        ),
        figureOf(
          'refused and sent again',
          [...of.streams, ...of.batches].map(({ refused }) => refused),
          'requests',
        ),
        figureOf('peak RSS', [weir.peakRssMiB()], 'MiB', { bar: { atMost: 512 } }),
      ];
      await weir.stop();
      return figures;
    } finally {
      await grounds.stop();
    }
  },
};
