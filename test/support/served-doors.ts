/** Front doors in front of a channel, mounted like any others, without stores. */
import { systemClock } from '../../src/runtime/clock.ts';
import { createDoorRouter, listenerFor, placeOf } from '../../src/http/ingest/door-router.ts';
import { doorRoutes } from '../../src/http/ingest/door-operation.ts';
import type { Door } from '../../src/http/ingest/doors/door.ts';
import { createAnswerHeaders } from '../../src/http/answers/common-headers.ts';
import { createIdempotency } from '../../src/http/ingest/idempotency.ts';
import { openApiOf } from '../../src/http/description/openapi.ts';
import { listen } from '../../src/http/listener/server.ts';
import { createFairScheduler } from '../../src/http/request/fair-scheduling.ts';
import { createLog } from '../../src/log/log.ts';
import { createAccept } from '../../src/pipeline/accept.ts';
import { createFlags } from '../../src/pipeline/flags.ts';
import { createLedger } from '../../src/pipeline/ledger.ts';
import { createWaitingRoom } from '../../src/pipeline/waiting-room.ts';
import { readDescription } from './description.ts';
import { PROJECT, channelOn } from './factory.ts';

/** Serves them on a free port; the token `good` is the project's. */
export async function serveDoors(doors: readonly Door[]) {
  const clock = systemClock;
  const channel = channelOn(clock, {
    maxEvents: 10_000,
    maxBytes: 10_000_000,
    batch: { maxEvents: 1_000, maxWaitMs: 1 },
  });
  const waitingRoom = createWaitingRoom({ channel, clock });
  const ledger = createLedger();
  const scheduler = createFairScheduler();
  const flags = createFlags({ intake: 'open' }, () => {});
  const credential = { projectId: PROJECT, kind: 'public', retentionSeconds: null, allowedOrigins: [] } as const;
  const deps = {
    flags,
    channel,
    waitingRoom,
    accept: createAccept({ waitingRoom, journal: null, ledger }, { isRequired: false }),
    watch: { watcher: null },
    journalRefusal: () => null,
    credentials: {
      find: async (token: string) => (token === 'good' ? credential : null),
      anonymous: async () => null,
      admitAnonymous: () => {},
      hasUsable: () => true,
    },
    idempotency: createIdempotency({ clock }),
    rateLimit: null,
    scheduler,
    ledger,
    clock,
    newEventId: () => '0198c0de-0000-7000-8000-000000000000',
  };
  const options = { maxBodyBytes: 1_000_000, maxFutureMs: 0, defaultAck: 'queued' } as const;
  const routes = doors.flatMap((door) => doorRoutes(door, deps, options));
  const observed: string[] = [];
  const log = createLog('silent');
  const doorRouter = createDoorRouter(new Map(routes.map((route) => [placeOf(route.method, route.path), route])), {
    answerHeaders: createAnswerHeaders({ flags, newRequestId: () => 'r-1' }, { allowedOrigins: [] }),
    onRequest: ({ method, route, status }) => void observed.push(`${method} ${route} ${status}`),
    clock,
    log,
  });
  const listener = listenerFor(doorRouter, { others: (_, answer) => answer.writeHead(404).end(), clock });
  const server = await listen({ doorRouter, listener }, { clock, log }, { host: '127.0.0.1', port: 0 });
  const description = readDescription(openApiOf(routes, { version: 'test' }));
  return { url: `http://127.0.0.1:${server.port}`, server, channel, scheduler, flags, observed, description };
}
