/** Streams of 10 MiB of NDJSON, as log shippers send, against native batches of the same events. */
import { createBodies } from './support/bodies.ts';
import { PROMPT, openGrounds } from './support/grounds.ts';
import type { Scenario } from './support/scenario.ts';
import { latencyFigures, measureSending, prepare, targetOf } from './support/sending.ts';
import { alternately, eachOf, figureOf, ratioOf } from './support/statistics.ts';

/** The largest body that Weir takes by default. */
const STREAM_BYTES = 10 * 2 ** 20;
const MB = 1_000_000;
const BATCH_SIZE = 500;
const STREAM_CONNECTIONS = 2;
const BATCH_CONNECTIONS = 16;

export const scenario: Scenario = {
  name: 'ndjson',
  about:
    'NDJSON streams of 10 MiB to /v1/events: MB and events a second, and the processor time of Weir per million events ÷ ' +
    'that of native batches of 500 with the same events.',
  async run({ isQuick, seed, say }) {
    const grounds = await openGrounds({ settings: PROMPT });
    try {
      const bodies = createBodies(seed);
      const weir = await grounds.startBenched();
      const streamsTo = targetOf(weir, '/v1/events', { token: grounds.token, 'content-type': 'application/x-ndjson' });
      const batchesTo = targetOf(weir, '/api/v1/ingest/events', { token: grounds.token });

      // Without ids of their own the same events may come again: each time they are new ones.
      say('preparing');
      const sent = Array.from({ length: isQuick ? 2 : 4 }, () => bodies.serviceEvents(STREAM_BYTES));
      const streams = sent.map(({ ndjson, events }) => prepare(streamsTo, ndjson, events));
      const batches = sent
        .flatMap((events) => events.nativeBatches(BATCH_SIZE))
        .map(({ body, events }) => prepare(batchesTo, body, events));
      const megabytes = sent.reduce((sum, { ndjson }) => sum + ndjson.length, 0) / MB;
      const ways = {
        async streams() {
          const measured = await measureSending(grounds, weir, { requests: streams, connections: STREAM_CONNECTIONS });
          return { ...measured, mbPerS: (megabytes * measured.acknowledgedPerS) / measured.acknowledged };
        },
        batches: () => measureSending(grounds, weir, { requests: batches, connections: BATCH_CONNECTIONS }),
      };

      say('warming up');
      await alternately(1, ways);
      const of = await alternately(isQuick ? 4 : 5, {
        ...ways,
        streams(round) {
          say(`round ${round + 1}`);
          return ways.streams();
        },
      });
      const figures = [
        ratioOf(
          'CPU, streams ÷ batches of 500',
          eachOf(of.streams, 'cpuSPerMillion'),
          eachOf(of.batches, 'cpuSPerMillion'),
          { guard: 'less is better' },
        ),
        ratioOf(
          'acknowledged, streams ÷ batches of 500',
          eachOf(of.streams, 'acknowledgedPerS'),
          eachOf(of.batches, 'acknowledgedPerS'),
        ),
        figureOf('streams: CPU per million events', eachOf(of.streams, 'cpuSPerMillion'), 's'),
        figureOf('batches: CPU per million events', eachOf(of.batches, 'cpuSPerMillion'), 's'),
        figureOf('streams: acknowledged bytes', eachOf(of.streams, 'mbPerS'), 'MB/s'),
        figureOf('streams: acknowledged', eachOf(of.streams, 'acknowledgedPerS'), 'events/s'),
        figureOf('streams: stored', eachOf(of.streams, 'storedPerS'), 'events/s'),
        figureOf('batches: stored', eachOf(of.batches, 'storedPerS'), 'events/s'),
        ...latencyFigures('stream', of.streams),
        ...latencyFigures('batch', of.batches),
        figureOf('refused and sent again', eachOf([...of.streams, ...of.batches], 'refused'), 'requests'),
        figureOf('peak RSS', [weir.peakRssMiB()], 'MiB', { bar: { atMost: 512 } }),
      ];
      await weir.stop();
      return figures;
    } finally {
      await grounds.stop();
    }
  },
};
