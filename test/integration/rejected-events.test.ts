/** Rejected events on real stores: told of, kept within limits and without tokens, and replayed. */
import { randomUUIDv7 } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createLog } from '../../src/log/log.ts';
import type { RejectedEvent } from '../../src/pipeline/rejected-port.ts';
import { createTokens } from '../../src/postgres/accounts/tokens.ts';
import { createPostgres } from '../../src/postgres/connection/pool.ts';
import { createRejectedStore, type RejectedLimits } from '../../src/postgres/rejected-events/rejected-store.ts';
import { claimRuntime } from '../../src/service/runtime-file.ts';
import { type OpenDoor, openDoor } from '../support/door.ts';
import { type Operator, startOperator } from '../support/operator.ts';
import { isolatedUrl } from '../support/stores.ts';
import { commandWeir } from '../support/weir.ts';

const TOKEN = 'wk_import_0123456789abcdef';
const SITE = 'a-shop-of-the-tests.example';
const STRANGER = 'phc_of_somebody_else_0123';
const WITHIN = { timeout: 60_000, interval: 100 };

let operator: Operator;
let project: string;
let own: string;
beforeAll(async () => {
  operator = await startOperator();
  project = await operator.createProject('shop');
  own = await operator.createToken(project);
  for (const imported of [TOKEN, SITE]) await importToken(project, imported);
});
afterAll(() => operator?.stop());
beforeEach(async () => {
  await operator.clear();
  await operator.query('truncate rejected_events');
});

const importToken = (projectId: string, imported: string) =>
  createTokens(operator.stores.postgres.db).create({ projectId, kind: 'public', name: null, imported });

const open = (settings: Record<string, string> = {}) =>
  openDoor(operator.stores, { INGEST_KEEP_REJECTED: '100', ...settings });

async function countNow(projectId = project): Promise<number> {
  const [row] = await operator.query('select count(*)::int as n from rejected_events where project_id = $1', [
    projectId,
  ]);
  return row!['n'] as number;
}

const bearer = { authorization: `Bearer ${TOKEN}` };
type Sent = { path: string; body: unknown; headers?: Record<string, string>; door: string; reason: string };

/** A rejected event of every family, with a token wherever its clients put one. */
const REJECTED: readonly Sent[] = [
  {
    path: '/v1/batch',
    body: { writeKey: TOKEN, batch: [{ type: 'nonsense', writeKey: TOKEN, userId: 'u1' }] },
    door: 'segment',
    reason: 'invalid_field',
  },
  {
    path: '/api/s/track',
    body: { type: 'nope', writeKey: `${TOKEN}:***`, previousKey: TOKEN },
    headers: { 'x-write-key': TOKEN },
    door: 'segment',
    reason: 'invalid_field',
  },
  {
    path: '/e/',
    body: { api_key: TOKEN, event: 'e', properties: { token: TOKEN } },
    door: 'posthog',
    reason: 'missing_field',
  },
  {
    path: '/i/v1/analytics/events',
    body: { batch: [{ event: 'e', properties: { token: STRANGER, distinct_id: 'u1' } }] },
    headers: bearer,
    door: 'posthog',
    reason: 'other_token',
  },
  {
    path: '/2/httpapi',
    body: { api_key: TOKEN, events: [{ api_key: TOKEN, event_properties: { a: 1 } }] },
    door: 'amplitude',
    reason: 'missing_field',
  },
  {
    path: '/track',
    body: [{ properties: { token: TOKEN, distinct_id: 'u1' } }],
    door: 'mixpanel',
    reason: 'missing_field',
  },
  {
    path: `/mp/collect?api_secret=${TOKEN}&measurement_id=G-1`,
    body: { client_id: 'c1', events: [{ params: { a: 1 } }] },
    door: 'ga4',
    reason: 'missing_field',
  },
  {
    path: '/api/event',
    body: { d: SITE, u: 'https://elsewhere.example/' },
    door: 'plausible',
    reason: 'missing_field',
  },
  {
    path: '/api/send',
    body: [
      { type: 'event', payload: { website: SITE, name: 'taken' } },
      { type: 'event', payload: { website: STRANGER, name: 'rejected' } },
    ],
    door: 'umami',
    reason: 'other_token',
  },
  {
    path: '/cloudevents',
    body: { specversion: '0.3', id: '1', source: '/s', type: 't', key: TOKEN },
    headers: bearer,
    door: 'cloudevents',
    reason: 'invalid_field',
  },
  {
    path: '/logs',
    body: `{"msg":"taken"}\n{"token":"${TOKEN}","msg":NaN}\n`,
    headers: bearer,
    door: 'logs',
    reason: 'invalid_json',
  },
  {
    path: '/v1/logs',
    body: { resourceLogs: [{ scopeLogs: [{ scope: { name: TOKEN }, logRecords: [null] }] }] },
    headers: bearer,
    door: 'otlp',
    reason: 'not_an_object',
  },
  {
    path: '/v1/events',
    body: `{"name":"e","token":"${TOKEN}","timestamp":1777897800}\n`,
    headers: bearer,
    door: 'ndjson',
    reason: 'missing_field',
  },
  {
    path: '/events/bulk',
    body: [{ event_name: 'e', user_id: 'u1', timestamp: 'never', token: TOKEN }],
    headers: bearer,
    door: 'product',
    reason: 'invalid_time',
  },
  { path: '/ingest', body: { events: [{ type: TOKEN }] }, headers: bearer, door: 'web', reason: 'invalid_field' },
];

/** Weir's own door takes only Weir's own tokens. */
const native = (): Sent => ({
  path: '/api/v1/ingest/events',
  body: { events: [{ event: 'e', token: own }] },
  headers: { authorization: `Bearer ${own}` },
  door: 'native',
  reason: 'missing_field',
});

const post = (door: OpenDoor, { path, body, headers = {} }: Pick<Sent, 'path' | 'body' | 'headers'>) =>
  door.ask(path, { method: 'POST', headers, body: typeof body === 'string' ? body : JSON.stringify(body) });

describe('an event that is rejected', () => {
  test('at any door is counted, told of and kept, and no token is anywhere', async () => {
    const door = await open();
    await door.weir.migrated;
    const all = [...REJECTED, native()];
    for (const sent of all) expect((await post(door, sent)).status, sent.path).toBeLessThan(500);
    await expect.poll(() => countNow(), WITHIN).toBe(all.length);

    const rows = await operator.query(`select *, encode(bytes, 'escape') as event from rejected_events order by id`);
    expect(rows.map(({ door, kind }) => `${door as string} ${kind as string}`).sort()).toEqual(
      all.map(({ door, reason }) => `${door} ${reason}`).sort(),
    );
    const page = (await door.ask('/internal/metrics')).text;
    for (const { door: source, reason } of all) {
      expect(page).toMatch(new RegExp(`^weir_rejected_events_total\\{door="${source}",reason="${reason}"\\} \\d`, 'm'));
    }
    expect(page).toContain(`weir_rejected_events_kept_total ${all.length}`);

    await expect.poll(() => door.health(), WITHIN).toMatchObject({ status: 'ok', reasons: [] });
    const health = await door.health();
    expect((health['rejecting'] as { door: string }[]).map(({ door }) => door).sort()).toEqual(
      [...new Set(all.map(({ door }) => door))].sort(),
    );
    expect((await door.ask('/healthz')).status).toBe(200);

    await door.stop();
    expect(door.logged()).toContain('events of a client were rejected');
    const everything = JSON.stringify(rows) + page + JSON.stringify(health) + door.logged();
    for (const token of [TOKEN, STRANGER, own]) expect(everything).not.toContain(token);
    expect(JSON.stringify(rows)).not.toContain(SITE);
  });

  test('is named by doctor, with what to do', async () => {
    const door = await open();
    await post(door, REJECTED[0]!);
    const dataDir = mkdtempSync(join(tmpdir(), 'weir-doctor-'));
    const { databaseUrl, clickhouseUrl } = operator.stores;
    const claim = claimRuntime(dataDir, process.pid);
    claim.publish({ url: door.url, databaseUrl, clickhouseUrl, clickhouseKey: null, consoleUrl: null });
    const env = { ...operator.env, WEIR_DATA_DIR: dataDir };
    const said = (await commandWeir(['doctor'], { cwd: operator.cwd, env })).stdout;
    expect(said).toMatch(/^WARN {2}rejected events: segment: 1 event since 2\S+ \(invalid_field 1\)$/m);
    expect(said).toContain('INGEST_KEEP_REJECTED');
    const keeping = await commandWeir(['doctor'], { cwd: operator.cwd, env: { ...env, INGEST_KEEP_REJECTED: '5' } });
    expect(keeping.stdout).toContain('weir rejected ls');
    claim.release();
    rmSync(dataDir, { recursive: true, force: true });
    await door.stop();
  });

  test('is not kept where nobody asked for it, and costs the request nothing', async () => {
    const door = await openDoor(operator.stores);
    for (const sent of REJECTED) await post(door, sent);
    await door.stop();
    expect(await countNow()).toBe(0);
  });

  test('is kept at the end of the process, though its second is not over', async () => {
    const door = await open();
    await post(door, REJECTED[0]!);
    await door.stop();
    expect(await countNow()).toBe(1);
  });

  test('is kept once, when a refused request is sent again', async () => {
    const door = await open({ INGEST_EVENT_BUFFER: '1', INGEST_FLUSH_EVENTS: '1' });
    const [bad, good] = [{ event: 'bad' }, { event: 'good', timestamp: 1777897800 }];
    // More than the channel ever holds: nothing of it is answered.
    const refused = await post(door, { ...native(), body: { events: [bad, good, good] } });
    expect(refused.status).toBe(413);
    expect((await post(door, { ...native(), body: { events: [bad] } })).status).toBe(200);
    await door.stop();
    expect(await countNow()).toBe(1);
  });

  test('waits while Postgres is away, and no request does', async () => {
    const door = await open();
    await post(door, REJECTED[0]!);
    await expect.poll(() => countNow(), WITHIN).toBe(1);
    await operator.stores.postgresServer.kill();
    for (let n = 0; n < 3; n += 1) expect((await post(door, REJECTED[0]!)).status).toBe(400);
    await operator.stores.postgresServer.start();
    await expect.poll(() => countNow().catch(() => 0), WITHIN).toBe(4);
    await door.stop();
  });
});

let made = 0;
function eventOf(projectId: string, bytes: Buffer | string = 'x', changed: Partial<RejectedEvent> = {}): RejectedEvent {
  return {
    // In the order in which they are made, also within a millisecond.
    id: `0198c0de-0000-7000-8000-${String(++made).padStart(12, '0')}`,
    projectId,
    door: 'segment',
    path: '/v1/batch',
    kind: 'missing_field',
    reason: 'by an old rule',
    bytes: Buffer.from(bytes),
    index: 0,
    receivedAt: Date.UTC(2026, 4, 4, 13),
    facts: { sentAt: null, ip: null, userAgent: null },
    ...changed,
  };
}

function storeOn(db = operator.stores.postgres.db, limits: Partial<RejectedLimits> = {}) {
  const log = createLog('silent');
  return createRejectedStore({ db, log, hasRoom: () => true }, { perProject: 100, keepForMs: 86_400_000, ...limits });
}

describe('the limits hold', () => {
  test.each(['read committed', 'repeatable read'])(
    'whoever writes at once (%s): at every moment, and the newest stay',
    async (level) => {
      const other = await operator.createProject('other');
      const url = isolatedUrl(operator.stores.databaseUrl, level);
      const pools = Array.from({ length: 4 }, () => createPostgres({ url, maxConnections: 2 }, createLog('silent')));
      const [watcher] = pools;
      const over = new AbortController();
      const most: number[] = [];
      const watching = (async () => {
        while (!over.signal.aborted) {
          const { rows } = await watcher!.pool.query<{ n: number }>(
            'select coalesce(max(n), 0)::int as n from (select count(*) as n from rejected_events group by project_id) as counts',
          );
          most.push(rows[0]!.n);
        }
      })();
      await Promise.all(
        pools.map(async ({ db }) => {
          const store = storeOn(db, { perProject: 7 });
          for (let n = 0; n < 15; n += 1) {
            const batch = [project, other, project].map((id) => eventOf(id));
            expect(await store.keep(batch)).toBe('kept');
          }
        }),
      );
      over.abort();
      await watching;
      expect(Math.max(...most)).toBeLessThanOrEqual(7);
      expect([await countNow(project), await countNow(other)]).toEqual([7, 7]);
      const last = [eventOf(project), eventOf(project)];
      await storeOn(undefined, { perProject: 2 }).keep(last);
      const rows = await operator.query('select id from rejected_events where project_id = $1 order by id', [project]);
      expect(rows.map(({ id }) => id)).toEqual(last.map(({ id }) => id));
      await Promise.all(pools.map(({ pool }) => pool.end()));
    },
  );

  test('in bytes, of a project and of all', async () => {
    const store = storeOn(undefined, { bytesPerProject: 1_000, bytesInAll: 2_500 });
    const projects = [project, ...(await Promise.all(['b', 'c', 'd'].map(operator.createProject)))];
    await store.keep(Array.from({ length: 30 }, () => eventOf(project, 'x'.repeat(100))));
    expect(await countNow()).toBe(10);
    for (const id of projects.slice(1))
      await store.keep(Array.from({ length: 10 }, () => eventOf(id, 'x'.repeat(100))));
    expect(await Promise.all(projects.map((id) => countNow(id)))).toEqual([0, 5, 10, 10]);
  });

  test('an event that is given twice is there once, and one that is alone is kept however large', async () => {
    const store = storeOn();
    const event = eventOf(project, 'x'.repeat(1024 * 1024));
    expect(await store.keep([event])).toBe('kept');
    expect(await store.keep([event])).toBe('kept');
    expect(await countNow()).toBe(1);
  });

  test('what is too old goes, by the clock of Postgres, also where nothing is kept any more', async () => {
    await storeOn().keep([eventOf(project), eventOf(project)]);
    const [, old] = await operator.query('select id from rejected_events order by id');
    await operator.query(`update rejected_events set kept_at = now() - interval '25 hours' where id = $1`, [
      old!['id'],
    ]);
    const door = await openDoor(operator.stores, { INGEST_KEEP_REJECTED_FOR: '1d' });
    await expect.poll(() => countNow(), WITHIN).toBe(1);
    await door.stop();
  });

  test('nothing is kept of a deleted project, nor while Postgres has no room for dead letters', async () => {
    const doomed = await operator.createProject('doomed');
    await storeOn().keep([eventOf(doomed)]);
    expect(await countNow(doomed)).toBe(1);
    const deleted = await operator.weir('project', 'delete', doomed, '--yes', '--json');
    expect(JSON.parse(deleted.stdout)).toMatchObject({ rejected: 1 });
    expect(await storeOn().keep([eventOf(doomed), eventOf(project)])).toBe('kept');
    expect([await countNow(doomed), await countNow()]).toEqual([0, 1]);

    const { db } = operator.stores.postgres;
    const limits = { perProject: 10, keepForMs: 1_000 };
    const full = createRejectedStore({ db, log: createLog('silent'), hasRoom: () => false }, limits);
    expect(await full.keep([eventOf(project)])).toBe('refused');
    expect(await countNow()).toBe(1);

    const failing = (code: string) =>
      storeOn({ transaction: () => Promise.reject(Object.assign(new Error('failed'), { code })) } as never);
    // The disk is full; the server has no connection to give.
    expect(await failing('53100').keep([eventOf(project)])).toBe('refused');
    expect(await failing('53300').keep([eventOf(project)])).toBe('away');
  });
});

describe('the commands', () => {
  const rejected = (...args: string[]) => operator.weir('rejected', ...args);
  async function json<T = Record<string, unknown>>(...args: string[]): Promise<T> {
    const { code, stdout, stderr } = await rejected(...args, '--json');
    expect({ code, stderr }).toMatchObject({ code: 0 });
    return JSON.parse(stdout) as T;
  }
  const good = (id: string, more = '') =>
    `{"type":"track","event":"Mended","messageId":"${id}","userId":"u1","timestamp":"2026-05-04T12:30:00.000Z","properties":{"secret":"hidden-value"}${more}}`;

  test('list, narrow and show, with values only on request', async () => {
    const other = await operator.createProject('other');
    const [one, two, three] = [
      eventOf(project, good('m-1')),
      eventOf(project, '{"event":', {
        door: 'posthog',
        path: '/e',
        kind: 'invalid_json',
        reason: 'invalid JSON at byte 9',
      }),
      eventOf(other, '{}'),
    ];
    await storeOn().keep([one, two, three]);
    const listed = await json<{ events: { id: string }[]; more: number }>('ls', '--limit', '2');
    expect([listed.events.map(({ id }) => id), listed.more]).toEqual([[three.id, two.id], 1]);
    const idsOf = async (...args: string[]) =>
      (await json<{ events: { id: string }[] }>('ls', ...args)).events.map(({ id }) => id);
    expect(await idsOf('--project', other)).toEqual([three.id]);
    expect(await idsOf('--door', 'posthog')).toEqual([two.id]);
    expect(await idsOf('--reason', 'missing_field', '--project', project)).toEqual([one.id]);
    const text = await rejected('ls');
    expect(text.stdout).toMatch(
      new RegExp(`^${two.id}  2026-05-04T13:00:00.000Z  ${project}  posthog +invalid_json +9 +invalid JSON`, 'm'),
    );
    expect(await rejected('ls', '--reason', 'nonsense')).toMatchObject({ code: 2 });
    expect((await rejected('ls', '--door', 'umami')).stderr).toContain('No such rejected events are kept');

    const hidden = await rejected('show', one.id);
    expect(hidden.stdout).toContain('"properties":{"secret":"<string>"}');
    expect(hidden.stdout).not.toContain('hidden-value');
    // Names that Weir's own rows have mean nothing in what a client sent.
    const [four] = [eventOf(project, '{"event_id":"hidden@example.com","source":"hidden","project_id":"hidden"}')];
    await storeOn().keep([four]);
    expect((await rejected('show', four.id)).stdout).not.toContain('hidden');
    expect((await rejected('show', one.id, '--unsafe')).stdout).toContain(good('m-1'));
    expect(await json('show', one.id, '--unsafe')).toMatchObject({
      id: one.id,
      kind: 'missing_field',
      event: { event: 'Mended' },
    });
    expect((await rejected('show', two.id)).stdout).toContain('9 bytes that are no JSON');
    expect(await rejected('show', randomUUIDv7())).toMatchObject({ code: 1 });
  });

  test('a dry run changes nothing; a replay stores what is accepted today, once, and keeps the rest with its reason', async () => {
    const id = randomUUIDv7();
    const nameless = eventOf(project, '{"type":"track","userId":"u1"}');
    const timeless = eventOf(project, '{"type":"track","event":"Timeless","userId":"u2"}');
    const elsewhere = eventOf(project, '{"event":"e","writeKey":"*** (another)"}');
    await storeOn().keep([eventOf(project, good(id)), nameless, timeless, elsewhere]);

    const trial = await json('replay', '--door', 'segment', '--dry-run');
    expect(trial).toMatchObject({ accepted: 2, dryRun: true, passedOver: 0 });
    expect([await countNow(), await operator.idsNow()]).toEqual([4, []]);

    const done = await json('replay', '--all');
    expect(done).toMatchObject({
      accepted: 2,
      rejected: { 'event required': 1, 'token differs from the request’s': 1 },
      passedOver: 0,
    });
    const rows = await operator.query('select id, kind, reason from rejected_events order by id');
    expect(rows).toEqual([
      { id: nameless.id, kind: 'missing_field', reason: 'event required' },
      { id: elsewhere.id, kind: 'other_token', reason: 'token differs from the request’s' },
    ]);
    const [letter] = await operator.lettersNow();
    expect(letter).toMatchObject({ event_count: 2, ambiguous: true, project_ids: [project] });
    expect(await operator.auditNow()).toMatchObject([{ action: 'import', events: 2, detail: { rejected: true } }]);
    expect(await json('replay', '--all')).toMatchObject({ accepted: 0 });
    expect(await operator.idsNow()).toHaveLength(1);

    const door = await openDoor(operator.stores);
    await expect.poll(() => operator.idsNow(), WITHIN).toEqual([]);
    const stored = await operator.stores.select(
      `SELECT toString(event_id) AS id, event, user_id, toString(toUnixTimestamp64Milli(timestamp)) AS at, toString(toUnixTimestamp64Milli(received_at)) AS received
       FROM events_raw_v1 WHERE project_id = '${project}' AND event IN ('Mended', 'Timeless') ORDER BY event`,
    );
    const received = String(Date.UTC(2026, 4, 4, 13));
    expect(stored).toEqual([
      { id, event: 'Mended', user_id: 'u1', at: String(Date.UTC(2026, 4, 4, 12, 30)), received },
      // It has no id and no time of its own.
      { id: timeless.id, event: 'Timeless', user_id: 'u2', at: received, received },
    ]);

    // A Postgres that was restored has them again; meanwhile the client has sent one anew.
    const unseen = eventOf(project, good(randomUUIDv7()));
    await storeOn().keep([eventOf(project, good(id)), timeless, unseen]);
    expect(await json('replay', '--all')).toMatchObject({ accepted: 3 });
    await expect.poll(() => operator.idsNow(), WITHIN).toEqual([]);
    await door.stop();
    const [{ n } = { n: '' }] = await operator.stores.select<{ n: string }>(
      `SELECT toString(sum(events)) AS n FROM event_counts_hourly WHERE project_id = '${project}' AND event IN ('Mended', 'Timeless')`,
    );
    expect(n).toBe('3');
  });

  test('two replays at once store an event once, and many take several steps', async () => {
    const events = Array.from({ length: 450 }, (_, n) => eventOf(project, good(`many-${n}`)));
    const store = storeOn(undefined, { perProject: 1_000 });
    for (let from = 0; from < events.length; from += 150) await store.keep(events.slice(from, from + 150));
    const both = await Promise.all([json('replay', '--all'), json('replay', '--project', project)]);
    expect(both.reduce((sum, { accepted }) => sum + (accepted as number), 0)).toBe(450);
    const letters = await operator.lettersNow();
    const ids = letters.flatMap(({ rows }) => rows.toString().match(/"event_id":"[^"]+"/g) ?? []);
    expect([ids.length, new Set(ids).size, await countNow()]).toEqual([450, 450, 0]);
  });

  test('events are selected in so many words, and ids have to exist', async () => {
    const event = eventOf(project, good('m-2'));
    await storeOn().keep([event, eventOf(project, good('m-3'))]);
    expect((await rejected('replay')).code).toBe(2);
    expect((await rejected('replay', '--all', '--door', 'segment')).code).toBe(2);
    const missing = await rejected('replay', event.id, randomUUIDv7());
    expect(missing).toMatchObject({ code: 1, stderr: expect.stringContaining('Nothing was changed') as string });
    expect(await json('replay', event.id)).toMatchObject({ accepted: 1 });
    expect(await countNow()).toBe(1);
  });
});
