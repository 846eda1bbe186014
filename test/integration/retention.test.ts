/** Retention on real stores: what the door stamps, what is stamped anew, what ClickHouse then deletes. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ClickHouseClient } from '@clickhouse/client';
import { drizzle } from 'drizzle-orm/node-postgres';
import { migrate } from 'drizzle-orm/node-postgres/migrator';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { parseRetention } from '../../src/cli/retention.ts';
import { rewriteRetention } from '../../src/clickhouse/operations/retention-rewrite.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import type { ProjectId } from '../../src/event/event.ts';
import { rowEncoder, type RowParts } from '../../src/event/row.ts';
import { migratePostgres } from '../../src/postgres/migrations/migrate.ts';
import { type Operator, startOperator } from '../support/operator.ts';
import { openDoor } from '../support/door.ts';
import { commandWeir } from '../support/weir.ts';

let operator: Operator;
beforeAll(async () => {
  operator = await startOperator();
});
afterAll(() => operator.stop());

test('a retention in days is carried over, and processes of the version before go on reading days', async () => {
  await operator.query('create database before');
  const client = new Client({
    connectionString: Object.assign(new URL(operator.env.DATABASE_URL), { pathname: '/before' }).href,
  });
  await client.connect();
  const folder = mkdtempSync(join(tmpdir(), 'weir-drizzle-'));
  try {
    await migrate(drizzle(client), { migrationsFolder: upTo('0001_exposed_ms', folder) });
    await client.query(
      `insert into projects (name, retention_days) values ('kept', null), ('quarter', 90), ('ages', 36500)`,
    );
    expect(await migratePostgres(client)).toContain('0002_retention');
    await client.query(`insert into projects (name, retention_seconds) values ('day and a bit', 86401)`);
    const { rows } = await client.query('select name, retention_seconds, retention_days from projects order by name');
    expect(rows).toEqual([
      { name: 'ages', retention_seconds: '3153600000', retention_days: 36_500 },
      { name: 'day and a bit', retention_seconds: '86401', retention_days: 2 },
      { name: 'kept', retention_seconds: null, retention_days: null },
      { name: 'quarter', retention_seconds: '7776000', retention_days: 90 },
    ]);
    await expect(client.query(`insert into projects (name, retention_days) values ('late', 30)`)).rejects.toThrow();
    await expect(client.query(`insert into projects (name, retention_seconds) values ('no', 0)`)).rejects.toThrow();
  } finally {
    await client.end();
    rmSync(folder, { recursive: true });
  }
});

const HOUR = 3_600;

const PIECES: Omit<RowParts, 'eventId'> = {
  event: '"visit"',
  anonymousId: null,
  userId: '"u1"',
  timestamp: Date.UTC(2026, 0, 1),
  sessionId: null,
  properties: '{}',
  extras: '{}',
};

type Stamp = { readonly receivedAgoS: number; readonly expiresInS: number | null };

/** Events that arrived so long ago and carry that expiry, each group one part; null for never. */
async function land(projectId: string, count: number, { receivedAgoS, expiresInS }: Stamp) {
  const expiry = expiresInS === null ? `toDateTime(4294967295, 'UTC')` : `now() + ${expiresInS}`;
  await command(`INSERT INTO events_raw_v1 (project_id, event_id, event, timestamp, properties, extras, source, received_at, expires_at)
    SELECT '${projectId}', generateUUIDv4(number), 'visit', now64(3), '{}', '{}', 'native', now64(3) - ${receivedAgoS}, ${expiry} FROM numbers(${count})`);
}

const command = (query: string) => operator.stores.clickhouse.command({ query });
const retention = (...args: string[]) => operator.weir('project', 'retention', ...args);

async function idsOf(projectId: string, table = 'events_raw_v1'): Promise<string[]> {
  const rows = await operator.stores.select<{ id: string }>(
    `SELECT toString(event_id) AS id FROM ${table} WHERE project_id = '${projectId}' ORDER BY 1`,
  );
  return rows.map(({ id }) => id);
}

/** Seconds from arrival to expiry, of every event of the project. */
async function retentionsOf(projectId: string): Promise<number[]> {
  const rows = await operator.stores.select<{ s: string }>(
    `SELECT DISTINCT toString(toInt64(toUnixTimestamp(expires_at)) - toUnixTimestamp64Second(received_at)) AS s
     FROM events_raw_v1 WHERE project_id = '${projectId}' ORDER BY 1`,
  );
  return rows.map(({ s }) => Number(s));
}

describe('project retention', () => {
  test('shows the retention as people write it', async () => {
    const id = (await operator.weir('project', 'create', 'shown', '--retention', '24h')).stdout.trim();
    expect(await retention(id)).toEqual({ code: 0, stdout: '24h\n', stderr: '' });
    expect(JSON.parse((await retention(id.toUpperCase(), '--json')).stdout)).toEqual({
      id,
      name: 'shown',
      retention: '24h',
      retentionSeconds: 86_400,
    });
    const listed = JSON.parse((await operator.weir('project', 'list', '--json')).stdout) as unknown[];
    expect(listed).toContainEqual(expect.objectContaining({ id, retention: '24h', retentionSeconds: 86_400 }));
    expect((await operator.weir('project', 'list')).stdout).toMatch(new RegExp(`^${id} +shown +24h +any `, 'm'));
  });

  test('a change is for new events, is in the audit, and needs no ClickHouse', async () => {
    await operator.clear();
    const id = await operator.createProject('changed');
    const env = { ...operator.env, CLICKHOUSE_URL: 'http://127.0.0.1:1' };
    const changed = await commandWeir(['project', 'retention', id, '90d', '--actor', 'ada'], {
      env,
      cwd: operator.cwd,
    });
    expect(changed).toMatchObject({
      code: 0,
      stdout: '',
      stderr: expect.stringMatching(/90d.* a minute .*[^]*--existing/),
    });
    expect((await retention(id, '90d', '--json')).stdout).toContain('"changed":false');
    expect((await retention(id, 'none', '--json')).stdout).toContain('"changed":true');
    expect(await operator.auditNow()).toMatchObject([
      { action: 'retention', actor: 'ada', events: 0, detail: { projects: [id], from: null, to: 7_776_000 } },
      { action: 'retention', detail: { from: 7_776_000, to: null } },
    ]);
  });

  test('what the door stamps and what is stamped anew is the same', async () => {
    const short = (await operator.weir('project', 'create', 'short', '--retention', '36h')).stdout.trim();
    const kept = await operator.createProject('kept');
    const door = await openDoor(operator.stores);
    try {
      for (const id of [short, kept]) {
        const events = [1, 2, 3].map((n) => ({ event: `e${n}`, timestamp: 1_700_000_000 + n }));
        const token = await operator.createToken(id);
        const sent = await door.send({ events }, { authorization: `Bearer ${token}` }, '?ack=stored');
        expect(sent.headers.get('weir-ack')).toBe('stored');
      }
    } finally {
      await door.stop();
    }
    expect(await retentionsOf(short)).toEqual([36 * HOUR]);
    expect(await retentionsOf(kept)).not.toEqual([36 * HOUR]);
    expect((await retention(kept, '36h', '--existing')).code).toBe(0);
    expect(await retentionsOf(kept)).toEqual([36 * HOUR]);
    expect((await retention(kept, 'none', '--existing')).code).toBe(0);
    const expiries = await operator.stores.select(
      `SELECT DISTINCT toUnixTimestamp(expires_at) AS at FROM events_raw_v1 WHERE project_id = '${kept}'`,
    );
    expect(expiries).toEqual([{ at: 4_294_967_295 }]);
  });

  test.each(['25567d', '90m'])('at any instant, %s is the same second as at the door', async (text) => {
    const [stamped, anew] = [await operator.createProject('stamped'), await operator.createProject('anew')];
    const retentionSeconds = parseRetention(text);
    const now = Date.now();
    // Whole seconds, the first and the last millisecond of one, and what only fits when it is cut to 2106.
    const instants = [0, 1, 999, 1_000].map((ms) => now - (now % 1_000) + ms);
    instants.push(Date.UTC(2099, 11, 31, 23, 59, 59, 999));
    const rows = [stamped, anew].flatMap((projectId) =>
      instants.map((receivedAt, index) => {
        const origin = { projectId: projectId as ProjectId, source: 'native', receivedAt };
        const encode = rowEncoder({
          ...origin,
          retentionSeconds: projectId === stamped ? retentionSeconds : null,
        });
        return encode({ ...PIECES, eventId: `0198c0de-0000-7000-8000-00000000000${index}` });
      }),
    );
    await operator.stores.clickhouse.insert({
      table: 'events_raw_v1',
      values: rows.map((text) => JSON.parse(text) as unknown),
      format: 'JSONEachRow',
      clickhouse_settings: { date_time_input_format: 'best_effort', input_format_json_read_objects_as_strings: 1 },
    });
    expect((await retention(anew, text, '--existing')).code).toBe(0);
    const expiries = (id: string) =>
      operator.stores.select(
        `SELECT event_id, expires_at FROM events_raw_v1 WHERE project_id = '${id}' ORDER BY event_id`,
      );
    expect(await expiries(anew)).toHaveLength(instants.length);
    expect(await expiries(anew)).toEqual(await expiries(stamped));
  });

  test('shorter: what is too old is deleted at once, after asking; other projects keep every event', async () => {
    await operator.clear();
    const [id, other] = [await operator.createProject('shorter'), await operator.createProject('other')];
    for (const project of [id, other]) {
      await land(project, 4, { receivedAgoS: 30 * HOUR, expiresInS: null });
      await land(project, 3, { receivedAgoS: HOUR, expiresInS: 90 * 24 * HOUR });
    }
    // One part, so that what is deleted lies beside what stays.
    await command('OPTIMIZE TABLE events_raw_v1 FINAL');
    const before = await idsOf(other);

    const tried = await retention(id, '24h', '--existing', '--dry-run', '--json');
    expect(JSON.parse(tried.stdout)).toMatchObject({ retention: '24h', stored: 7, differing: 7, expiring: 4 });
    const said = await retention(id, '24h', '--existing', '--dry-run');
    expect(said.stderr).toMatch(/7 events stored.* 24h, 7 of them.* 4 of those[^]*Nothing was changed/);
    const asked = await retention(id, '24h', '--existing');
    expect(asked).toMatchObject({ code: 1, stderr: expect.stringMatching(/4 of those[^]*--yes/) });
    expect(await retention(id)).toMatchObject({ stdout: 'none\n' });
    expect(await idsOf(id)).toHaveLength(7);

    const done = await retention(id, '24h', '--existing', '--yes', '--json', '--actor', 'ada');
    expect(JSON.parse(done.stdout)).toEqual({
      id,
      name: 'shorter',
      retention: '24h',
      retentionSeconds: 86_400,
      changed: true,
      stored: { changed: 7, expired: 4, left: 0 },
      deadLetters: 0,
    });
    // Not only hidden: nothing merged in between.
    expect(await idsOf(id)).toHaveLength(3);
    expect(await retentionsOf(id)).toEqual([24 * HOUR]);
    expect(await idsOf(other)).toEqual(before);
    expect(await operator.auditNow()).toMatchObject([
      { action: 'retention', actor: 'ada', detail: { projects: [id], from: null, to: 86_400 } },
      { action: 'restamp', actor: 'ada', events: 7, detail: { projects: [id], events: 7, expiring: 4, to: 86_400 } },
    ]);

    const again = await retention(id, '--existing');
    expect(again).toMatchObject({ code: 0, stderr: expect.stringContaining('0 events changed') });
    expect(again.stderr).not.toContain('run ');
  });

  test('longer: ClickHouse forgets the expiry of before, of this project only', async () => {
    const [id, other] = [await operator.createProject('longer'), await operator.createProject('passing')];
    for (const project of [id, other]) await land(project, 3, { receivedAgoS: 10, expiresInS: HOUR });
    const before = [await idsOf(id), await idsOf(other), await retentionsOf(other)];
    // Nothing is deleted, so nobody is asked.
    expect((await retention(id, '90d', '--existing')).code).toBe(0);
    // By this ClickHouse decides about a whole part, without a look at its rows.
    const [part] = await operator.stores.select<{ days: number }>(
      `SELECT toInt32(dateDiff('day', now(), min(delete_ttl_info_max))) AS days FROM system.parts
       WHERE active AND name IN (SELECT DISTINCT _part FROM events_raw_v1 WHERE project_id = '${id}')`,
    );
    expect(part!.days).toBeGreaterThanOrEqual(89);
    await command('OPTIMIZE TABLE events_raw_v1 FINAL');
    expect([await idsOf(id), await idsOf(other), await retentionsOf(other)]).toEqual(before);
  });

  test('what has expired does not come back, removed or not', async () => {
    const id = await operator.createProject('expired');
    await command('SYSTEM STOP TTL MERGES events_raw_v1');
    try {
      await command(`INSERT INTO events_raw_v1 (project_id, event_id, event, timestamp, properties, extras, source, received_at, expires_at)
      SELECT '${id}', generateUUIDv4(number), 'visit', now64(3), '{}', '{}', 'native', now64(3) - 100, now() + if(number < 2, -10, 100) FROM numbers(5)`);
      expect(await idsOf(id)).toHaveLength(5);
      const restamped = await retention(id, '90d', '--existing', '--json');
      expect(JSON.parse(restamped.stdout)).toMatchObject({ stored: { changed: 3, expired: 0, left: 0 } });
      expect(await idsOf(id, 'events')).toHaveLength(3);
    } finally {
      await command('SYSTEM START TTL MERGES events_raw_v1');
    }
  });

  test('a mistake is ended by its correction before it has deleted anything', async () => {
    const id = await operator.createProject('mistake');
    await land(id, 3, { receivedAgoS: 30 * HOUR, expiresInS: null });
    await command('SYSTEM STOP MERGES events_raw_v1');
    const mistake = retention(id, '24h', '--existing', '--yes');
    const open = () =>
      operator.stores.select<{ command: string }>(
        `SELECT command FROM system.mutations WHERE NOT is_done AND position(command, '${id}') > 0`,
      );
    await vi.waitUntil(async () => (await open()).length > 0, { timeout: 20_000, interval: 50 });
    const correction = retention(id, '90d', '--existing');
    try {
      const isOnlyCorrection = (all: { command: string }[]) =>
        all.length === 1 && all[0]!.command.includes(String(90 * 24 * HOUR));
      await vi.waitUntil(async () => isOnlyCorrection(await open()), { timeout: 20_000, interval: 50 });
    } finally {
      await command('SYSTEM START MERGES events_raw_v1');
    }
    expect((await correction).code).toBe(0);
    expect(await mistake).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('set the retention to 90d meanwhile'),
    });
    expect(await idsOf(id, 'events')).toHaveLength(3);
    expect(await retentionsOf(id)).toEqual([90 * 24 * HOUR]);
  });

  test('when ClickHouse cannot do it, it says so and how to go on; the next run finishes', async () => {
    const id = await operator.createProject('stuck');
    await land(id, 2, { receivedAgoS: HOUR, expiresInS: null });
    await command(
      `ALTER TABLE events_raw_v1 ADD COLUMN trap UInt8 MATERIALIZED throwIf(toYear(expires_at) < 2100, 'trap')`,
    );
    try {
      const failed = await retention(id, '24h', '--existing');
      expect(failed).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/cannot change the expiry.*\(code 395\)/),
      });
      expect(failed.stderr).toContain(`weir project retention ${id} --existing`);
      expect(failed.stderr).not.toContain('trap');
    } finally {
      await command(`KILL MUTATION WHERE database = currentDatabase() AND NOT is_done`);
      await command('ALTER TABLE events_raw_v1 DROP COLUMN trap');
    }
    expect((await retention(id, '--existing')).code).toBe(0);
    expect(await retentionsOf(id)).toEqual([24 * HOUR]);
  });

  test('events of before that land meanwhile are counted, and the next run changes them', async () => {
    const id = await operator.createProject('late');
    const late = () => land(id, 1, { receivedAgoS: HOUR, expiresInS: null });
    await late();
    // Whenever the table is being changed, one more lands.
    const client = new Proxy(operator.stores.clickhouse, {
      get(target, name: keyof ClickHouseClient) {
        if (name !== 'command') return target[name].bind(target);
        return async (...args: Parameters<ClickHouseClient['command']>) => {
          const answer = await target.command(...args);
          await late();
          return answer;
        };
      },
    });
    const wish = { projectId: id, retentionSeconds: 24 * HOUR, confirmWanted: () => Promise.resolve() };
    const restamped = await rewriteRetention({ client, clock: systemClock }, wish, () => {});
    expect(restamped).toEqual({ changed: 3, expired: 0, left: 1 });
    const letter = await operator.writeLetter({ shares: [[id, 1]] });
    const again = await retention(id, '24h', '--existing', '--json');
    expect(JSON.parse(again.stdout)).toMatchObject({ stored: { changed: 1, left: 0 }, deadLetters: 1 });
    expect((await retention(id, '--existing')).stderr).toMatch(
      /1 dead letter may hold.*\n.*once they have landed: .*--existing/,
    );
    await operator.query('delete from failed_events where id = $1', [letter.id]);
  });

  test('without ClickHouse --existing changes nothing', async () => {
    const id = await operator.createProject('apart');
    const env = { ...operator.env, CLICKHOUSE_URL: 'http://127.0.0.1:1' };
    const failed = await commandWeir(['project', 'retention', id, '24h', '--existing', '--yes'], {
      env,
      cwd: operator.cwd,
    });
    expect(failed).toMatchObject({ code: 1, stderr: expect.stringContaining('Nothing was changed') });
    expect((await retention(id)).stdout).toBe('none\n');
  });

  test.each([['nonsense'], ['0198c0de-0000-7000-8000-000000000000']])(
    'a project that never was is a failure: %s',
    async (id) => {
      for (const args of [[], ['24h'], ['24h', '--existing', '--yes']]) {
        const failed = await retention(id, ...args);
        expect(failed).toMatchObject({
          code: 1,
          stdout: '',
          stderr: expect.stringContaining(`There is no project ${id}`),
        });
      }
    },
  );
});

/** A copy of the migrations that ends with `last`, as the version had it that came with that one. */
function upTo(last: string, folder: string): string {
  cpSync(join(import.meta.dirname, '../../drizzle'), folder, { recursive: true });
  const path = join(folder, 'meta/_journal.json');
  const journal = JSON.parse(readFileSync(path, 'utf8')) as { entries: { tag: string }[] };
  const end = journal.entries.findIndex(({ tag }) => tag === last) + 1;
  writeFileSync(path, JSON.stringify({ ...journal, entries: journal.entries.slice(0, end) }));
  return folder;
}
