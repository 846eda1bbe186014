/** Answers refusals in the one error shape of every path. */
import type { Context } from 'hono';
import { type Refusal, type RefusalCode, rowOf } from './refusals.ts';
import type { Reply } from './reply.ts';

type TextReply = Reply & { readonly body: string };

/** Of refusals that say no more than their code, which is most of them: under overload there is nothing to make. */
const usual = new Map<RefusalCode, TextReply>();

/** The answer for a refusal, in the one error shape of every path. */
export function replyTo(refusal: Refusal): TextReply {
  const { refused, message, retryAfterS, details, challenge } = refusal;
  if (message !== undefined || retryAfterS !== undefined || details !== undefined || challenge !== undefined) {
    return newReplyTo(refusal);
  }
  const known = usual.get(refused) ?? newReplyTo(refusal);
  usual.set(refused, known);
  return known;
}

function newReplyTo({ refused, message, retryAfterS, details, challenge }: Refusal): TextReply {
  const row = rowOf(refused);
  const wait = retryAfterS ?? row.retryAfterS;
  const headers: Record<string, string> = { 'Content-Type': 'application/json' };
  if (wait !== null) headers['Retry-After'] = String(wait);
  if (row.status === 401) headers['WWW-Authenticate'] = `Bearer realm="weir", error="${challenge ?? 'invalid_token'}"`;
  const body = JSON.stringify({ error: message ?? row.message, code: refused, ...(details && { details }) });
  return { status: row.status, headers, body, refused };
}

/** The key of a refusal in its request's context. */
export const REFUSED = 'refused';

/** The same as a web response. */
export function refuse(c: Context, refusal: Refusal): Response {
  const { headers, body } = replyTo(refusal);
  c.set(REFUSED, refusal.refused);
  return c.body(body, rowOf(refusal.refused).status, headers);
}

/** The same where no request was ever read: it ends the connection and lacks the common headers. */
export function bareReplyTo(refused: RefusalCode): TextReply {
  const reply = replyTo({ refused });
  return { ...reply, headers: { ...reply.headers, 'X-Content-Type-Options': 'nosniff', Connection: 'close' } };
}
