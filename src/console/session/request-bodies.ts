/** What a request's body may be: JSON, and not large. */
import type { MiddlewareHandler } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import type { ConsoleEnv } from '../env.ts';
import { refuse } from '../refusals.ts';

const MAX_BODY_BYTES = 1024 * 1024;
const JSON_TYPE = /^application\/json(?:;|$)/i;

/**
 * Refuses other types: a form of any site can send `text/plain`, and only to send JSON does a browser ask first.
 */
export const onlyJson: MiddlewareHandler<ConsoleEnv> = async (c, next) => {
  const type = c.req.header('Content-Type');
  const hasBody = c.req.header('Transfer-Encoding') !== undefined || Number(c.req.header('Content-Length') ?? 0) > 0;
  if ((hasBody || type !== undefined) && !JSON_TYPE.test(type ?? '')) return refuse(c, { refused: 'not_json' });
  return next();
};

export const boundedBody: MiddlewareHandler<ConsoleEnv> = bodyLimit({
  maxSize: MAX_BODY_BYTES,
  onError: (c) => refuse(c, { refused: 'body_too_large' }),
});
