/**
 * `GET /internal/metrics`: the Prometheus page, for every client that reaches it, or only with the operator's token.
 */
import { hash, timingSafeEqual } from 'node:crypto';
import type { Handler } from 'hono';
import type { Clock } from '../../runtime/clock.ts';
import { pageOperation } from './health-operations.ts';
import { refuse } from '../answers/refusal-reply.ts';
import type { Route } from '../description/route.ts';
import { sharedAbove } from '../answers/shared-answer.ts';

/** Building a page takes one to three milliseconds: at most a twentieth of the time, even when thousands request it. */
const PAGES_PER_SECOND = 20;

/** `token`: null requires none. */
export function metricsPage(
  makeText: (withProcess: boolean) => Promise<string>,
  { clock, token }: { clock: Pick<Clock, 'elapsed'>; token: string | null },
): Route {
  const whole = sharedAbove(PAGES_PER_SECOND, clock, () => makeText(true));
  const own = sharedAbove(PAGES_PER_SECOND, clock, () => makeText(false));
  const contentType = { 'Content-Type': 'text/plain; version=0.0.4; charset=utf-8' };
  const expected = token === null ? null : digestOf(token);
  const handler: Handler = async (c) => {
    if (expected !== null) {
      const [, given] = /^bearer +(\S+)$/i.exec(c.req.header('authorization') ?? '') ?? [];
      const challenge = given === undefined ? 'invalid_request' : 'invalid_token';
      // Digests have equal length, and comparing them takes constant time.
      const isGood = given !== undefined && timingSafeEqual(digestOf(given), expected);
      if (!isGood)
        return refuse(c, { refused: 'unauthorized', challenge, message: 'this page asks for METRICS_TOKEN' });
    }
    const text = c.req.query('process') === 'false' ? own : whole;
    return c.text(await text(), 200, contentType);
  };
  return { method: 'GET', path: '/internal/metrics', handler, isProbe: true, operation: pageOperation };
}

const digestOf = (text: string) => hash('sha256', text, 'buffer');
