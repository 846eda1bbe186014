/** What a request may have to wait for before anything of it is read, and what becomes of it meanwhile. */
import { beforeEach, expect, test } from 'vitest';
import { createIdempotency } from '../src/http/ingest/idempotency.ts';
import { ingest } from '../src/http/ingest/ingest.ts';
import { nativeDoor } from '../src/http/ingest/doors/native.ts';
import type { Reply } from '../src/http/answers/reply.ts';
import { createFairScheduler } from '../src/http/request/fair-scheduling.ts';
import type { DoorRequest } from '../src/http/request/door-request.ts';
import { openJournal } from '../src/journal/journal.ts';
import { createLog } from '../src/log/log.ts';
import { createAccept } from '../src/pipeline/accept.ts';
import { createFlags } from '../src/pipeline/flags.ts';
import { createLedger } from '../src/pipeline/ledger.ts';
import type { Journal } from '../src/pipeline/ports.ts';
import { createWaitingRoom } from '../src/pipeline/waiting-room.ts';
import { createManualClock, settled } from './support/clock.ts';
import { channelOn, DECODE_CONTEXT, envelopeOf, OTHER_PROJECT, PROJECT, randomOf } from './support/factory.ts';
import { createFaultyFiles } from './support/files.ts';

const PATH = '/api/v1/ingest/events';
const TOKEN = `mere_pub_${'0'.repeat(64)}`;
const UNKNOWN = `mere_pub_${'1'.repeat(64)}`;
const CREDENTIAL = { projectId: PROJECT, kind: 'public', retentionSeconds: null, allowedOrigins: [] } as const;

/** Of a hundred events. */
let weir: ReturnType<typeof setup>;
beforeEach(() => {
  weir = setup();
});

/** `keptBy`: without it, events are in memory only. */
function setup(clock = createManualClock(), keptBy: Journal | null = null) {
  const channel = channelOn(clock, {
    maxEvents: 100,
    maxBytes: 100_000,
    projectShare: 1,
    batch: { maxEvents: 50, maxBytes: 50_000 },
  });
  const waitingRoom = createWaitingRoom({ channel, clock });
  const ledger = createLedger();
  const flags = createFlags({ intake: 'open' }, () => {});
  const looked: string[] = [];
  let journal: 'full' | null = null;
  const handle = ingest(
    nativeDoor,
    {
      flags,
      channel,
      waitingRoom,
      accept: createAccept({ waitingRoom, journal: keptBy, ledger }, { isRequired: keptBy !== null }),
      watch: { watcher: null },
      journalRefusal: (bytes) => (keptBy?.isFull(bytes) ? 'full' : journal),
      credentials: {
        find(token: string) {
          looked.push(token);
          return token === TOKEN ? CREDENTIAL : null;
        },
        anonymous: () => null,
        admitAnonymous: () => {},
        hasUsable: () => true,
      },
      idempotency: createIdempotency({ clock }),
      rateLimit: null,
      scheduler: createFairScheduler(),
      ledger,
      clock,
      newEventId: DECODE_CONTEXT.newEventId,
    },
    { maxBodyBytes: 1_000_000, maxFutureMs: 86_400_000, defaultAck: keptBy === null ? 'queued' : 'journaled' },
  );

  /** Sends so many events; what it has been answered so far. */
  function send(count: number, { token = TOKEN, key = '' } = {}) {
    const timestamp = new Date(clock.now()).toISOString();
    const events = Array.from({ length: count }, () => ({ event: 'e', user_id: 'u', timestamp }));
    const bytes = Buffer.from(JSON.stringify({ events }));
    const seen = { reply: null as Reply | null, isRead: false, disconnect: () => {} };
    const unheard = () => {
      throw new Error('the body has arrived');
    };
    const request: DoorRequest = {
      method: 'POST',
      target: PATH,
      headers: { authorization: `Bearer ${token}`, ...(key !== '' && { 'idempotency-key': key }) },
      body: {
        announcedBytes: bytes.length,
        take() {
          seen.isRead = true;
          return bytes;
        },
        listen: unheard,
        pause: unheard,
        resume: unheard,
        leave: unheard,
      },
      onGone(listener) {
        seen.disconnect = listener;
        return () => {
          seen.disconnect = () => {};
        };
      },
    };
    void Promise.resolve(handle(request, PATH, 'r-1')).then((reply) => {
      seen.reply = reply;
    });
    return seen;
  }

  /** Takes places as another project does, which no answer waits for. */
  const fill = (count: number) =>
    channel.offer(envelopeOf(count, { projectId: OTHER_PROJECT }), channel.reserve('known'));

  async function settleOne() {
    const batch = (await channel.take())!;
    channel.settle(batch, 'stored');
    await settled();
  }

  return {
    clock,
    channel,
    flags,
    ledger,
    looked,
    send,
    fill,
    settleOne,
    fillJournal: () => {
      journal = 'full';
    },
  };
}

/** Status, code and `Retry-After` of a refusal. */
function refusalOf(reply: Reply | null) {
  if (reply === null) return null;
  const { code } = JSON.parse(String(reply.body)) as { code: string };
  return [reply.status, code, reply.headers['Retry-After']];
}

test('where there is no room nothing is looked up or read, until there is some', async () => {
  weir.fill(50);
  weir.fill(50);
  const [known, unknown] = [weir.send(1), weir.send(1, { token: UNKNOWN })];
  await settled();
  expect([known.reply, known.isRead, unknown.reply, unknown.isRead, weir.looked]).toEqual([
    null,
    false,
    null,
    false,
    [],
  ]);
  await weir.settleOne();
  await weir.clock.advance(50);
  expect([known.reply?.status, unknown.reply?.status]).toEqual([202, 401]);
  expect(weir.ledger.accepted).toBe(1);
});

test('nobody comes in before those that wait, and all of them while there is room', async () => {
  const before = [weir.send(40), weir.send(40)];
  weir.fill(20);
  await settled();
  expect(before.map(({ reply }) => reply?.status)).toEqual([202, 202]);
  const waiting = Array.from({ length: 12 }, () => weir.send(1));
  await weir.settleOne();
  const isRead = () => [...waiting, late].filter((request) => request.isRead).length;
  const late = weir.send(1);
  const inFirst = isRead();
  // As many as would find room if they were like those before.
  expect([inFirst > 0, inFirst < 12, late.isRead]).toEqual([true, true, false]);
  await weir.clock.advance(10);
  expect([isRead(), late.reply?.status]).toEqual([13, 202]);
});

test('events were received when their request came, not when there was room', async () => {
  const arrivedAt = weir.clock.now();
  weir.fill(50);
  weir.fill(50);
  weir.send(1);
  await weir.clock.advance(40);
  await weir.settleOne();
  await weir.settleOne();
  await weir.clock.advance(2_000);
  const batch = await weir.channel.take();
  const [row] = Buffer.concat(batch!.chunks).toString().split('\n');
  expect(row).toContain(`"received_at":"${new Date(arrivedAt).toISOString()}"`);
});

test('what had no room for a second is refused, with a second to wait', async () => {
  weir.fill(50);
  weir.fill(50);
  const request = weir.send(1);
  await weir.clock.advance(1_050);
  expect(refusalOf(request.reply)).toEqual([503, 'channel_full', '1']);
  expect(request.isRead).toBe(false);
});

test('events that were read and find no room wait too, and are accepted once or refused', async () => {
  weir.fill(50);
  weir.fill(40);
  const [first, second] = [weir.send(20, { key: 'first' }), weir.send(20, { key: 'second' })];
  await settled();
  expect([first.reply, first.isRead, second.reply, second.isRead]).toEqual([null, true, null, false]);
  await weir.settleOne();
  await weir.clock.advance(50);
  expect([first.reply?.status, second.reply?.status, weir.ledger.accepted]).toEqual([202, 202, 40]);

  weir.fill(15);
  const third = weir.send(10, { key: 'third' });
  await weir.clock.advance(1_050);
  expect([third.isRead, refusalOf(third.reply)]).toEqual([true, [503, 'channel_full', '1']]);
  expect(weir.ledger.accepted).toBe(40);
  // The key was not used: nothing was accepted.
  await weir.settleOne();
  const again = weir.send(10, { key: 'third' });
  await settled();
  expect([again.reply?.status, weir.ledger.accepted]).toEqual([202, 50]);
});

test('a shutdown and the kill switch answer those that wait', async () => {
  weir.fill(50);
  weir.fill(50);
  const request = weir.send(1);
  weir.flags.setIntake('disabled');
  await weir.clock.advance(50);
  expect(refusalOf(request.reply)).toEqual([503, 'ingest_disabled', '300']);

  weir.flags.setIntake('open');
  const last = weir.send(1);
  weir.flags.beginDraining();
  await weir.clock.advance(50);
  expect(refusalOf(last.reply)).toEqual([503, 'shutting_down', '1']);
});

test('a client that leaves while it waits has sent nothing', async () => {
  weir.fill(50);
  weir.fill(50);
  const request = weir.send(1);
  request.disconnect();
  await weir.settleOne();
  await weir.clock.advance(2_000);
  expect([request.isRead, weir.ledger.accepted]).toEqual([false, 0]);
});

test('nobody waits for the journal, or for an intake that is closed', async () => {
  weir.fillJournal();
  const unwritten = weir.send(1);
  await settled();
  expect(refusalOf(unwritten.reply)).toEqual([503, 'channel_full', '1']);

  weir.fill(50);
  weir.fill(50);
  weir.flags.setIntake('disabled');
  const shut = weir.send(1);
  await settled();
  expect(refusalOf(shut.reply)).toEqual([503, 'ingest_disabled', '300']);
});

test('what is larger as rows than as a body is refused by a full journal as it would be before it was read', async () => {
  const clock = createManualClock();
  const files = createFaultyFiles(randomOf(1));
  const limits = { maxBytes: 60_000, segmentBytes: 10_000, maxKeys: 10, maxKeyBytes: 1_000 };
  const { journal } = await openJournal({ dir: 'journal', files, clock, log: createLog('silent') }, limits);
  const { channel, ledger, send } = setup(clock, journal);
  const request = send(100);
  await clock.advance(100);
  expect([request.isRead, request.reply?.status]).toEqual([true, 503]);
  expect(request.reply?.headers).toMatchObject({ 'Retry-After': '1' });
  expect(String(request.reply?.body)).toContain('the journal is full at the moment');
  expect([ledger.accepted, channel.usage().events]).toEqual([0, 0]);

  const small = send(1);
  await clock.advance(100);
  expect(small.reply?.status).toBe(202);
});
