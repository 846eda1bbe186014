/** The debugging path of GA4's Measurement Protocol: says what is wrong with a body, and stores nothing. */
import { refuse } from './answers/refusal-reply.ts';
import { isRefusal } from './answers/refusals.ts';
import { type AppRoute, nodeOf } from './description/route.ts';
import { ga4Messages } from './ingest/doors/ga4.ts';
import type { IngestDeps } from './ingest/ingest.ts';
import { bodyLimits, readBody } from './request/body.ts';
import { nodeBody } from './request/door-request.ts';
import { runInTurns } from './request/fair-scheduling.ts';
import { queryOf } from './request/request-target.ts';

/** Google takes 130 kB. */
const LIMITS = bodyLimits({ maxBytes: 256 * 1024 });

export function ga4Debug(
  { channel, scheduler, clock }: Pick<IngestDeps, 'channel' | 'scheduler' | 'clock'>,
  { maxFutureMs }: { readonly maxFutureMs: number },
): AppRoute {
  return {
    method: 'POST',
    path: '/debug/mp/collect',
    async handler(c) {
      const { incoming } = nodeOf(c);
      const { headers, url = '' } = incoming;
      const head = { method: 'POST', path: c.req.path, target: url, headers, query: () => queryOf(url) } as const;
      // Nobody has to say who he is, and so these bodies share their room with all others of unknown senders.
      const reservation = channel.reserve('unknown');
      try {
        const body = await readBody({ headers, body: nodeBody(incoming) }, reservation, LIMITS);
        if (body === 'aborted') return c.body(null, 400);
        if (isRefusal(body)) return refuse(c, body);
        const { bytes } = body;
        await scheduler.take(bytes.length);
        const checking = ga4Messages(bytes, head, { receivedAt: clock.now(), maxFutureMs });
        return c.json({ validationMessages: await runInTurns(checking, scheduler) });
      } finally {
        reservation.release();
      }
    },
    operation: {
      tag: 'Clients',
      summary: 'Say what is wrong with a body of the Measurement Protocol of Google Analytics 4.',
      schemes: ['none'],
      parameters: [],
      body: {
        description: 'At most 256 KiB. The first 25 events are checked.',
        required: false,
        mediaTypes: ['application/json'],
        schema: { type: 'object' },
        example: { client_id: 'a1', events: [{ name: 'plan_chosen' }] },
      },
      answers: {
        200: {
          description: 'What is wrong; an empty list where nothing is.',
          schema: {
            type: 'object',
            properties: { validationMessages: { type: 'array', items: { type: 'object' } } },
            required: ['validationMessages'],
          },
        },
      },
      refusals: ['body_too_large', 'unsupported_encoding', 'invalid_encoding', 'channel_full', 'internal'],
    },
  };
}
