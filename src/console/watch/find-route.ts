/** `GET /events/find`. */
import type { Handler } from 'hono';
import type { ConsoleEnv } from '../env.ts';
import { refuse } from '../refusals.ts';
import { type FindDeps, type FindQuestion, findWay } from './find.ts';
import { filterIn } from './live-route.ts';

/** It reads a lot: others wait for their turn by asking again. */
const MAX_AT_ONCE = 2;
export const MAX_REQUEST_ID = 128;

export function eventsFind(deps: FindDeps): Handler<ConsoleEnv> {
  let running = 0;
  return async (c) => {
    const { requestId, id: sent = '' } = c.req.query();
    const filter = filterIn(c);
    if (typeof filter === 'string') return refuse(c, { refused: 'invalid_request', message: filter });
    const question = questionOf({ ...filter, sent, ...(requestId && { requestId }) });
    if (question === null) {
      return refuse(c, { refused: 'invalid_request', message: 'give one of id, requestId and user' });
    }
    if (running >= MAX_AT_ONCE) {
      return refuse(c, { refused: 'busy', message: 'others look for events at the moment', retryAfterS: 2 });
    }
    running += 1;
    try {
      return c.json(await findWay(deps, question, c.get('operator')));
    } finally {
      running -= 1;
    }
  };
}

function questionOf({
  id,
  sent,
  user,
  requestId,
  projectId = null,
}: {
  readonly id?: string;
  readonly sent: string;
  readonly user?: string;
  readonly requestId?: string;
  readonly projectId?: string | null;
}): FindQuestion | null {
  if ([id, user, requestId].filter((one) => one !== undefined).length !== 1) return null;
  if (id !== undefined) return { by: 'id', id, sent, projectId };
  if (user !== undefined) return { by: 'user', user, projectId };
  return requestId!.length <= MAX_REQUEST_ID ? { by: 'request', requestId: requestId! } : null;
}
