/** What several workers come to together: counts add up, and of facts the worse one counts. */
import { describe, expect, test } from 'vitest';
import type { HealthSnapshot } from '../src/http/health/health-snapshot.ts';
import { createMetrics } from '../src/metrics/metrics.ts';
import { createJournalSyncs } from '../src/metrics/journal-syncs.ts';
import { acceptedIn, addEnded, mergePages, recoveredIn } from '../src/metrics/pages.ts';
import { createBreaker } from '../src/pipeline/breaker.ts';
import { createFlags } from '../src/pipeline/flags.ts';
import { createLedger } from '../src/pipeline/ledger.ts';
import type { Snapshot } from '../src/composition/pages.ts';
import {
  type Groups,
  type WorkerMember,
  healthOf,
  mergeHealthSnapshots,
  metricsOf,
} from '../src/workers/aggregated-pages.ts';
import { createManualClock } from './support/clock.ts';
import { PROJECT, channelOn, envelopeOf } from './support/factory.ts';

const CALM: HealthSnapshot = {
  role: 'all',
  topic: null,
  eventStore: 'ClickHouse',
  facts: { intake: 'open', unhomed: 0, deadLetters: null },
  channel: { events: 0, bytes: 0, reservedBytes: 0, isFull: false },
  accepted: 0,
  breaker: { kind: 'closed', reason: null, openSince: null },
  eventsUp: true,
  postgresUp: true,
  postgresReadOnly: false,
  eventsTrouble: null,
  postgresTrouble: null,
  schema: { postgresReady: true, eventsReady: true, problem: null, drift: [], rebuild: null },
  journal: null,
  journalRefusal: null,
  noRoomSince: null,
  knowsTokens: true,
  progress: {
    landed: null,
    refused: null,
    passed: null,
    failingPasses: null,
    oldestDeadLetterForMs: null,
    pause: null,
  },
  rejecting: [],
  notices: [],
};
const healthSnapshot = (changed: Partial<HealthSnapshot> = {}): HealthSnapshot => ({ ...CALM, ...changed });
const merged = (groups: Partial<Groups>) =>
  mergeHealthSnapshots({ listening: [CALM], silent: [], others: [], acceptedBefore: 0, ...groups });
const holding = (events: number) =>
  healthSnapshot({ accepted: events, channel: { ...CALM.channel, events, bytes: events } });

describe('healthSnapshot', () => {
  test('of one are its own', () => {
    const own = healthSnapshot({ accepted: 3, journal: { kind: 'ok', bytes: 5, maxBytes: 10, isHeld: false } });
    expect(merged({ listening: [own] })).toEqual(own);
  });

  test('add up what each one has, also of those that do not speak, and what others accepted before', () => {
    const groups = { listening: [holding(1), holding(2)], silent: [holding(4)], others: [holding(8)] };
    const { accepted, channel } = merged({ ...groups, acceptedBefore: 100 });
    expect(accepted).toBe(115);
    expect(channel).toEqual({ events: 15, bytes: 15, reservedBytes: 0, isFull: false });
  });

  test.each([
    [['open', 'draining', 'disabled'], 'draining'],
    [['open', 'disabled'], 'disabled'],
    [['open', 'open'], 'open'],
  ] as const)('intakes %j are %s', (intakes, expected) => {
    const listening = intakes.map((intake) => healthSnapshot({ facts: { ...CALM.facts, intake } }));
    expect(merged({ listening }).facts.intake).toBe(expected);
  });

  test('are about to end when one of them is', () => {
    const leaving = healthSnapshot({ facts: { ...CALM.facts, isLeaving: true } });
    expect(merged({ listening: [CALM, leaving] }).facts.isLeaving).toBe(true);
    expect(merged({ listening: [CALM, CALM] }).facts.isLeaving).toBeUndefined();
  });

  test('unhomed are those of whoever holds them in memory; what is on disk has a home', () => {
    const unhomed = healthSnapshot({ facts: { ...CALM.facts, unhomed: 1 } });
    expect(merged({ listening: [unhomed, CALM], silent: [unhomed], others: [unhomed] }).facts.unhomed).toBe(2);
  });

  test('dead letters are one table: the most that anybody who listens has seen, and the oldest', () => {
    const depth = {
      rows: 1,
      events: 9,
      bytes: 3,
      oldestAt: 50,
      quarantinedRows: 0,
      quarantinedEvents: 0,
      isEstimate: false,
    };
    const listening = [
      healthSnapshot({ facts: { ...CALM.facts, deadLetters: depth } }),
      healthSnapshot({ facts: { ...CALM.facts, deadLetters: { ...depth, rows: 2, events: 8, oldestAt: 40 } } }),
      healthSnapshot({ facts: { ...CALM.facts, deadLetters: { ...depth, oldestAt: null } } }),
    ];
    const stale = healthSnapshot({ facts: { ...CALM.facts, deadLetters: { ...depth, rows: 77 } } });
    const { deadLetters } = merged({ listening, silent: [stale] }).facts;
    expect(deadLetters).toMatchObject({ rows: 2, events: 9, bytes: 3, oldestAt: 40 });
    expect(merged({}).facts.deadLetters).toBeNull();
  });

  test('breakers: the worst one, and of equals the one that has been so for longest', () => {
    const open = (openSince: number) => healthSnapshot({ breaker: { kind: 'open', reason: 'unavailable', openSince } });
    const half = healthSnapshot({ breaker: { kind: 'half-open', reason: 'operator', openSince: 1 } });
    expect(merged({ listening: [CALM, half, open(30), open(20)] }).breaker).toMatchObject({
      kind: 'open',
      openSince: 20,
    });
    expect(merged({ listening: [CALM, half] }).breaker.kind).toBe('half-open');
  });

  test('a store is up when everybody who knows says so', () => {
    const of = (...opinions: (boolean | null)[]) =>
      merged({ listening: opinions.map((eventsUp) => healthSnapshot({ eventsUp })) }).eventsUp;
    expect(of(true, null)).toBe(true);
    expect(of(true, false)).toBe(false);
    expect(of(null, null)).toBeNull();
  });

  test('anybody who listens and would refuse an event counts; whoever does not listen has no say', () => {
    const full = healthSnapshot({
      channel: { ...CALM.channel, isFull: true },
      journalRefusal: 'full',
      knowsTokens: false,
    });
    expect(merged({ listening: [CALM, full] })).toMatchObject({ journalRefusal: 'full', knowsTokens: false });
    expect(merged({ listening: [CALM, full] }).channel.isFull).toBe(true);
    expect(merged({ silent: [full], others: [full] })).toMatchObject({ journalRefusal: null, knowsTokens: true });
    expect(merged({ silent: [full], others: [full] }).channel.isFull).toBe(false);
    const failed = healthSnapshot({ journalRefusal: 'failed' });
    expect(merged({ listening: [full, failed] }).journalRefusal).toBe('failed');
  });

  test('journals: the one in trouble tells, their bytes add up', () => {
    const ok = healthSnapshot({ journal: { kind: 'ok', bytes: 1, maxBytes: 10, isHeld: false } });
    const failing = healthSnapshot({
      journal: { kind: 'failing', reason: 'EIO', bytes: 2, maxBytes: 10, isHeld: false },
    });
    expect(merged({ listening: [ok, failing], others: [ok] }).journal).toEqual({
      kind: 'failing',
      isHeld: false,
      reason: 'EIO',
      bytes: 4,
      maxBytes: 30,
    });
  });

  test('the tables are ready when one has found them so: who has just started has not looked yet', () => {
    const fresh = healthSnapshot({
      schema: { postgresReady: false, eventsReady: false, problem: 'away', drift: [], rebuild: null },
    });
    expect(merged({ listening: [fresh, CALM] }).schema).toEqual(CALM.schema);
    expect(merged({ listening: [fresh, fresh] }).schema).toEqual(fresh.schema);
  });

  describe('of several that get on or do not', () => {
    const NOW = 1_000_000;
    const ago = (agoMs: number) => ({ at: NOW - agoMs, agoMs });
    const refused = (tries: number, first: number, last: number, code: number | null = null) =>
      ({ tries, first: ago(first), last: ago(last), failureClass: 'unknown', code }) as const;
    const of = (...all: Partial<HealthSnapshot['progress']>[]) =>
      merged({ listening: all.map((one) => healthSnapshot({ progress: { ...CALM.progress, ...one } })) }).progress;

    test('what one of them landed has landed, and ends what others were refused before', () => {
      expect(of({ landed: ago(100), refused: refused(5, 90, 80) }, { landed: ago(50) })).toMatchObject({
        landed: ago(50),
        refused: null,
      });
      expect(of({ refused: refused(5, 90, 10) }, { landed: ago(50) })).toMatchObject({ refused: { tries: 5 } });
    });

    test('tries add up, from the first to the last of any, with the cause of the last', () => {
      const progress = of({ refused: refused(5, 90, 80, 1) }, { refused: refused(2, 60, 20, 2) }, {});
      expect(progress.refused).toEqual(refused(7, 90, 20, 2));
    });

    test('passes: the latest that succeeded, and those that have failed for longest', () => {
      const failing = (passes: number, first: number) => ({ passes, first: ago(first), code: '57014' });
      expect(
        of({ passed: ago(9), failingPasses: failing(2, 5) }, { passed: ago(7) }, { failingPasses: failing(3, 8) }),
      ).toMatchObject({ passed: ago(7), failingPasses: { passes: 3 } });
    });

    test('the longest wait of the oldest letter, whoever saw it, and a pause that anybody has read', () => {
      const pause = { since: 5, by: 'ada' };
      expect(of({ oldestDeadLetterForMs: 5 }, { oldestDeadLetterForMs: 9, pause }, {})).toMatchObject({
        oldestDeadLetterForMs: 9,
        pause,
      });
    });
  });

  test('a Postgres that is read-only for one is so for all', () => {
    expect(merged({ listening: [CALM, healthSnapshot({ postgresReadOnly: true })] }).postgresReadOnly).toBe(true);
  });

  test('the same drift is told once', () => {
    const drift = healthSnapshot({ schema: { ...CALM.schema, drift: ['a', 'b'] } });
    expect(merged({ listening: [drift, drift] }).schema.drift).toEqual(['a', 'b']);
  });
});

describe('health', () => {
  const member = (worker: number, state: WorkerMember['state'], snapshot: Snapshot | null): WorkerMember => ({
    worker,
    pid: 1,
    state,
    snapshot,
  });
  const snapshot = (of: HealthSnapshot): Snapshot => ({ healthSnapshot: of, metrics: [] });

  test('says who is missing, frozen or starting, and still counts what they had', () => {
    const members = [
      member(1, 'listening', snapshot(holding(1))),
      member(2, 'silent', snapshot(holding(2))),
      member(3, 'missing', snapshot(holding(4))),
      member(4, 'starting', null),
      member(5, 'delivering', snapshot(holding(8))),
    ];
    const { reasons, healthSnapshot: all, workers } = healthOf({ members, ended: [] }, snapshot(CALM));
    expect(reasons).toEqual([
      'worker 2 does not answer',
      'worker 3 has ended and will be restarted',
      'worker 4 is starting',
      'the events that worker 5 left behind are being delivered',
    ]);
    expect(all.accepted).toBe(15);
    expect(workers).toContainEqual({ worker: 2, pid: 1, state: 'silent' });
  });

  test('speaks of the one that was asked when nobody else is heard', () => {
    expect(healthOf({ members: [], ended: [] }, snapshot(holding(3))).healthSnapshot.accepted).toBe(3);
  });
});

/** The page of a worker that took in so many events and stored some of them. */
function worker({ accepted = 0, stored = 0, recovered = 0, isUp = true as boolean | null }) {
  const clock = createManualClock();
  const channel = channelOn(clock);
  if (accepted > stored) channel.offer(envelopeOf(accepted - stored), channel.reserve());
  const metrics = createMetrics(
    {
      channel,
      topic: null,
      flags: createFlags({ intake: 'open' }, () => {}),
      ledger: { ...createLedger(), accepted, stored, recovered },
      keeper: null,
      rejections: { counts: () => new Map([['segment', { missing_field: accepted }]]) },
      breaker: createBreaker({ clock, random: () => 0, onChange: () => {} }),
      eventStore: 'ClickHouse',
      events: { isUp: () => isUp },
      postgres: { isUp: () => isUp, isReadOnly: () => false },
      journal: () => null,
      journalSyncs: createJournalSyncs(),
      progress: () => CALM.progress,
      schema: () => CALM.schema,
      postgresPool: () => ({ connections: 1, idle: 1, waiting: 0 }),
      processPage: async () => [],
      version: 'test',
      hasRoom: () => true,
      now: clock.now,
      foreignViewFailures: () => new Map(),
      droppedLogLines: () => 0,
    },
    { maxEvents: 100, maxBytes: 1_000, projectShare: 0.5 },
  );
  for (let batch = 0; batch < stored; batch++) metrics.insert({ failure: null, events: 1, bytes: 10, elapsedMs: 20 });
  metrics.usage(PROJECT, stored);
  const request = { method: 'POST', route: '/path', kind: 'ingest', status: 202, elapsedMs: 3, refused: null } as const;
  metrics.request(request);
  return metrics;
}

const lineOf = (page: string, name: string) => page.split('\n').find((line) => line.startsWith(`${name} `));
const eventsLine = (page: string, result: string) => lineOf(page, `weir_events_total{result="${result}"}`);

test('doors that reject events are added up over all workers, the busiest first', () => {
  const door = { door: 'segment', since: 20, last: 30, rejected: 3, reasons: { missing_field: 3 } } as const;
  const segment = { ...door, since: 10, last: 25, rejected: 4, reasons: { missing_field: 1, too_large: 3 } };
  const posthog = { ...door, door: 'posthog', rejected: 9 };
  const { rejecting } = merged({
    listening: [healthSnapshot({ rejecting: [door] })],
    silent: [healthSnapshot({ rejecting: [segment] })],
    others: [healthSnapshot({ rejecting: [posthog] })],
  });
  expect(rejecting).toEqual([
    posthog,
    { door: 'segment', since: 10, last: 30, rejected: 7, reasons: { missing_field: 4, too_large: 3 } },
  ]);
});

describe('the metrics page', () => {
  test('of one worker says the same as the page of a process that is alone', async () => {
    const metrics = worker({ accepted: 5, stored: 3 });
    const lines = (page: string) =>
      page
        .split('\n')
        .filter((line) => line !== '')
        .sort();
    expect(lines(await mergePages([await metrics.page()], []))).toEqual(lines(await metrics.text(true)));
  });

  test('adds counters, gauges and histograms up, and takes facts from the worse', async () => {
    const pages = [await worker({ accepted: 5, stored: 3 }).page(), await worker({ accepted: 4, isUp: false }).page()];
    const page = await mergePages(pages, []);
    expect(eventsLine(page, 'accepted')).toBe('weir_events_total{result="accepted"} 9');
    expect(lineOf(page, 'weir_pending_events')).toBe('weir_pending_events 6');
    expect(lineOf(page, 'weir_pending_events_limit')).toBe('weir_pending_events_limit 200');
    expect(lineOf(page, 'weir_insert_seconds_bucket{le="0.03"}')).toBe('weir_insert_seconds_bucket{le="0.03"} 3');
    expect(lineOf(page, 'weir_insert_seconds_count')).toBe('weir_insert_seconds_count 3');
    expect(lineOf(page, 'weir_clickhouse_up')).toBe('weir_clickhouse_up 0');
    expect(page).toContain('weir_http_requests_total{method="POST",route="/path",status="202"} 2');
    expect(page).toContain('weir_rejected_events_total{door="segment",reason="missing_field"} 9');
  });

  test('a worker that does not know yet whether a store answers does not say that it does not', async () => {
    const page = await mergePages([await worker({}).page(), await worker({ isUp: null }).page()], []);
    expect(lineOf(page, 'weir_clickhouse_up')).toBe('weir_clickhouse_up 1');
  });

  test('of one that does not speak for itself, counts stay and facts go', async () => {
    const absent = await worker({ accepted: 4, isUp: false }).page();
    const page = await mergePages([await worker({ accepted: 1 }).page()], [absent]);
    expect(lineOf(page, 'weir_clickhouse_up')).toBe('weir_clickhouse_up 1');
    expect(lineOf(page, 'weir_pending_events')).toBe('weir_pending_events 5');
  });

  test.each([
    { name: 'everything it had pending is found again', recovered: 4, accepted: 10, stored: 6 },
    { name: 'some of it had landed after it was last heard', recovered: 1, accepted: 10, stored: 9 },
    { name: 'it had taken more since', recovered: 7, accepted: 13, stored: 6 },
  ])('a worker is replaced: counters do not fall and the ledger closes when $name', async (expected) => {
    const last = await worker({ accepted: 10, stored: 6 }).page();
    const { recovered } = expected;
    const next = worker({ accepted: recovered, recovered });
    expect(recoveredIn(await next.page())).toBe(recovered);
    const ended = await addEnded([], last, recovered);
    const page = await metricsOf({ members: [], ended }, { healthSnapshot: CALM, metrics: await next.page() });
    expect(eventsLine(page, 'accepted')).toBe(`weir_events_total{result="accepted"} ${expected.accepted}`);
    expect(eventsLine(page, 'stored')).toBe(`weir_events_total{result="stored"} ${expected.stored}`);
    expect(lineOf(page, 'weir_pending_events')).toBe(`weir_pending_events ${recovered}`);
    expect(lineOf(page, 'weir_pending_events_limit')).toBe('weir_pending_events_limit 100');
    expect(expected.accepted).toBe(expected.stored + recovered);
  });

  test('those that have ended are kept as one, however many they are', async () => {
    let ended = await addEnded([], await worker({ accepted: 2, stored: 2 }).page(), 0);
    for (let more = 0; more < 3; more++)
      ended = await addEnded(ended, await worker({ accepted: 1, stored: 1 }).page(), 0);
    expect(acceptedIn(ended)).toBe(5);
    expect(new Set(ended.map(({ name }) => name)).size).toBe(ended.length);
  });
});
