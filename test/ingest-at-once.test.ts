/** A request whose credential is at hand goes its whole way at once, without a turn of the event loop. */
import { expect, test } from 'vitest';
import { createIdempotency } from '../src/http/ingest/idempotency.ts';
import { ingest } from '../src/http/ingest/ingest.ts';
import { mixpanelDoors } from '../src/http/ingest/doors/mixpanel.ts';
import { createFairScheduler } from '../src/http/request/fair-scheduling.ts';
import type { DoorRequest } from '../src/http/request/door-request.ts';
import { createAccept } from '../src/pipeline/accept.ts';
import { createFlags } from '../src/pipeline/flags.ts';
import { createLedger } from '../src/pipeline/ledger.ts';
import { createWaitingRoom } from '../src/pipeline/waiting-room.ts';
import { systemClock } from '../src/runtime/clock.ts';
import { channelOn, DECODE_CONTEXT, PROJECT } from './support/factory.ts';

const CREDENTIAL = { projectId: PROJECT, kind: 'public', retentionSeconds: null, allowedOrigins: [] } as const;
const channel = channelOn(systemClock, {
  maxEvents: 10,
  maxBytes: 1_000_000,
  batch: { maxEvents: 10, maxBytes: 1_000_000, maxWaitMs: 1 },
});
const waitingRoom = createWaitingRoom({ channel, clock: systemClock });
const ledger = createLedger();

const handle = ingest(
  mixpanelDoors[0]!,
  {
    flags: createFlags({ intake: 'open' }, () => {}),
    channel,
    waitingRoom,
    accept: createAccept({ waitingRoom, journal: null, ledger }, { isRequired: false }),
    watch: { watcher: null },
    journalRefusal: () => null,
    credentials: {
      find: (token: string) => (token === 'known' ? CREDENTIAL : null),
      anonymous: () => null,
      admitAnonymous: () => {},
      hasUsable: () => true,
    },
    idempotency: createIdempotency({ clock: systemClock }),
    rateLimit: null,
    scheduler: createFairScheduler(),
    ledger,
    clock: systemClock,
    newEventId: DECODE_CONTEXT.newEventId,
  },
  { maxBodyBytes: 1_000_000, maxFutureMs: 1_000, defaultAck: 'queued' },
);

function request(body: string): DoorRequest {
  const bytes = Buffer.from(body);
  const unheard = () => {
    throw new Error('the body has arrived');
  };
  return {
    method: 'POST',
    target: '/track',
    headers: {},
    body: {
      announcedBytes: bytes.length,
      take: () => bytes,
      listen: unheard,
      pause: unheard,
      resume: unheard,
      leave: unheard,
    },
    onGone: () => () => {},
  };
}

const tracked = (token: string) => request(`[{"event":"E","properties":{"token":"${token}"}}]`);

test('its events are taken, with a known token in the body', () => {
  void handle(tracked('known'), '/track', 'r-1');
  expect(ledger.accepted).toBe(1);
});

test('it is refused, with an unknown one', () => {
  expect(handle(tracked('unknown'), '/track', 'r-2')).toMatchObject({ status: 401 });
});
