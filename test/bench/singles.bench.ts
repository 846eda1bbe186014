/**
 * One event a request, as browsers and small services send: against a bare
 * `node:http` server that parses the same bytes and answers as much. What is
 * between the two is everything Weir does for an event.
 */
import { createBodies } from './support/bodies.ts';
import { type Benched, openGrounds } from './support/grounds.ts';
import { percentilesOf } from './support/load.ts';
import type { Scenario } from './support/scenario.ts';
import { latencyFigures, measureSending, prepare, sendAll, targetOf } from './support/sending.ts';
import { alternately, eachOf, figureOf, ratioOf } from './support/statistics.ts';

const PATH = '/events';
const CONNECTIONS = 256;

type Round = {
  readonly requestsPerS: number;
  readonly cpuUs: number;
  readonly latencyMs: ReturnType<typeof percentilesOf>;
  readonly refused: number;
};

export const scenario: Scenario = {
  name: 'singles',
  about:
    'POST /events with one product event over 256 connections: requests a second of Weir ÷ those of a bare node:http ' +
    'server that parses the same body and answers 202, and the processor time of both.',
  async run({ isQuick, seed, say }) {
    const grounds = await openGrounds();
    try {
      const bodies = createBodies(seed);
      const weir = await grounds.startBenched();
      const bare = await grounds.startBare();
      const prepared = (at: Benched, count: number) => {
        const target = targetOf(at, PATH, { token: grounds.token, 'content-type': 'application/json' });
        return Array.from({ length: count }, () => prepare(target, bodies.productEvent(), 1));
      };

      const sendToWeir = async (count: number): Promise<Round> => {
        const load = { requests: prepared(weir, count), connections: CONNECTIONS };
        const { requestsPerS, cpuMs, latencyMs, refused } = await measureSending(grounds, weir, load);
        return { requestsPerS, cpuUs: (cpuMs * 1_000) / count, latencyMs, refused };
      };
      const sendToBare = async (count: number): Promise<Round> => {
        const load = { requests: prepared(bare, count), connections: CONNECTIONS };
        const cpuBefore = bare.cpuMs();
        const { elapsedMs, latency, refused } = await sendAll(bare, load);
        const cpuUs = ((bare.cpuMs() - cpuBefore) * 1_000) / count;
        return { requestsPerS: (count * 1_000) / elapsedMs, cpuUs, latencyMs: percentilesOf(latency), refused };
      };

      say('warming up');
      await sendToBare(10_000);
      await sendToWeir(10_000);
      const count = isQuick ? 10_000 : 50_000;
      const of = await alternately(isQuick ? 7 : 15, {
        weir(round) {
          say(`round ${round + 1}`);
          return sendToWeir(count);
        },
        bare: () => sendToBare(count),
      });
      const figures = [
        ratioOf('requests, Weir ÷ bare', eachOf(of.weir, 'requestsPerS'), eachOf(of.bare, 'requestsPerS'), {
          bar: { atLeast: 0.7 },
          guard: 'more is better',
        }),
        ratioOf('CPU of a request, Weir ÷ bare', eachOf(of.weir, 'cpuUs'), eachOf(of.bare, 'cpuUs'), {
          guard: 'less is better',
        }),
        ...(['weir', 'bare'] as const).flatMap((who) => [
          figureOf(`${who}: requests`, eachOf(of[who], 'requestsPerS'), '1/s'),
          figureOf(`${who}: CPU of a request`, eachOf(of[who], 'cpuUs'), 'µs'),
          ...latencyFigures(who, of[who]),
        ]),
        figureOf('refused and sent again', eachOf(of.weir, 'refused'), 'requests'),
        figureOf('peak RSS', [weir.peakRssMiB()], 'MiB', { bar: { atMost: 512 } }),
      ];
      await weir.stop();
      return figures;
    } finally {
      await grounds.stop();
    }
  },
};
