/** `GET /live`: events as they are accepted, as server-sent events. */
import type { Context, Handler } from 'hono';
import { isUuid, readUuid, uuidOf } from '../../event/uuid.ts';
import type { EventFilter } from '../../watch/messages.ts';
import type { ConsoleEnv } from '../env.ts';
import { refuse } from '../refusals.ts';
import { type LiveHub, MAX_STREAMS } from './live-hub.ts';

/** As long as a text of an event may be. */
export const MAX_TEXT = 1_000;

const HEADERS = { 'Content-Type': 'text/event-stream; charset=utf-8', 'X-Accel-Buffering': 'no' };

export function live(hub: Pick<LiveHub, 'open'>): Handler<ConsoleEnv> {
  return (c) => {
    const filter = filterIn(c);
    if (typeof filter === 'string') return refuse(c, { refused: 'invalid_request', message: filter });
    // Nobody reads what would follow: no place is taken for it.
    if (c.req.method === 'HEAD') return c.body(null, 200, HEADERS);
    const stream = hub.open(filter, {
      showsEvents: c.get('operator').showsEvents,
      onStuck: () => c.env.incoming.socket.destroy(),
    });
    if (stream === null) {
      return refuse(c, { refused: 'busy', message: `${MAX_STREAMS} pages look at live events already; close one` });
    }
    const encoder = new TextEncoder();
    const body = new ReadableStream<Uint8Array>({
      async pull(controller) {
        const frame = await stream.next();
        if (frame === null) controller.close();
        else controller.enqueue(encoder.encode(frame));
      },
      cancel: () => stream.end(null),
    });
    return c.body(body, 200, HEADERS);
  };
}

/** What the query of a request asks for, or what is wrong with it. */
export function filterIn(c: Context<ConsoleEnv>): EventFilter | string {
  const { project, event, id, user } = c.req.query();
  if (project && !isUuid(project)) return 'project must be a UUID';
  for (const [name, value] of Object.entries({ event, id, user })) {
    if (value !== undefined && value.length > MAX_TEXT) return `${name} has at most ${MAX_TEXT} characters`;
  }
  return {
    ...(project && { projectId: project.toLowerCase() }),
    ...(event && { event }),
    // Another id than a UUID is stored as the UUID that is made of it.
    ...(id && { id: readUuid(id) ?? uuidOf(id) }),
    ...(user && { user }),
  };
}
