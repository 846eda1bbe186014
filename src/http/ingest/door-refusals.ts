/** How a front door answers a refusal: in the one error shape of every path, or in its own. */
import { replyTo } from '../answers/refusal-reply.ts';
import { type Refusal, rowOf } from '../answers/refusals.ts';
import type { Reply } from '../answers/reply.ts';
import type { Door, RequestHead } from './doors/door.ts';

export type Refuse = (refusal: Refusal, head: RequestHead) => Reply;

export function refuserOf({ ownRefusals }: Pick<Door, 'ownRefusals'>): Refuse {
  if (ownRefusals === undefined) return replyTo;
  const { contentType = 'application/json' } = ownRefusals;
  return (refusal, head) => {
    const { refused: code, message = rowOf(code).message } = refusal;
    const usual = replyTo(refusal);
    const status = ownRefusals.status?.(code, head) ?? usual.status;
    const body = ownRefusals.body({ code, status, message }, head);
    const type = typeof contentType === 'string' ? contentType : contentType(head);
    return {
      ...usual,
      status,
      headers: { ...usual.headers, 'Content-Type': type },
      body: bodyOf(body),
    };
  };
}

/** What is written of a body: a text and bytes as they are, anything else as JSON. */
export function bodyOf(body: object | string | Buffer): string | Buffer {
  return typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body);
}
