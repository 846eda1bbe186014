import { createBodies } from './support/bodies.ts';
import { openGrounds } from './support/grounds.ts';
import type { Scenario } from './support/scenario.ts';
import { measureSending, prepare, targetOf } from './support/sending.ts';
import { alternately, figureOf, ratioOf } from './support/statistics.ts';

const PATH = '/api/v1/ingest/events';

export const scenario: Scenario = {
  name: 'batches',
  about: 'Batches in the native format, with the journal on and off.',
  async run({ isQuick, seed, say }) {
    const grounds = await openGrounds({ settings: { INGEST_EVENT_BUFFER: '500000', INGEST_BUFFER_BYTES: '512MiB' } });
    try {
      const bodies = createBodies(seed);
      const weirs = {
        on: await grounds.startBenched({ INGEST_JOURNAL: 'on' }),
        off: await grounds.startBenched({ INGEST_JOURNAL: 'off' }),
      };
      const measure = (journal: 'on' | 'off') => async (round: number) => {
        const weir = weirs[journal];
        const target = targetOf(weir, PATH, { token: grounds.token });
        const requests = Array.from({ length: isQuick ? 100 : 400 }, () =>
          prepare(target, bodies.nativeBatch(500), 500),
        );
        const measured = await measureSending(weir, { requests, connections: 16 });
        await grounds.expectStored(measured.acknowledged);
        await grounds.forget();
        say(`round ${round}, journal ${journal}: ${Math.round(measured.storedPerS)} events/s`);
        return measured;
      };
      const { on, off } = await alternately(isQuick ? 3 : 7, { on: measure('on'), off: measure('off') });
      const figures = [
        figureOf(
          'CPU per million events',
          on.map((one) => one.cpuSPerMillion),
          's',
          { bar: { atMost: 10 } },
        ),
        figureOf(
          'acknowledged',
          on.map((one) => one.acknowledgedPerS),
          'events/s',
        ),
        figureOf(
          'stored',
          on.map((one) => one.storedPerS),
          'events/s',
        ),
        ratioOf(
          'with ÷ without a journal',
          on.map((one) => one.acknowledgedPerS),
          off.map((one) => one.acknowledgedPerS),
        ),
        figureOf('peak RSS', [weirs.on.peakRssMiB()], 'MiB', { bar: { atMost: 512 } }),
      ];
      for (const weir of Object.values(weirs)) await weir.stop();
      return figures;
    } finally {
      await grounds.stop();
    }
  },
};
