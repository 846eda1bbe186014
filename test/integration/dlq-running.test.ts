/** Replaying, switching and reconciling while a Weir runs, with real stores. */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { splitRows } from '../../src/event/rows.ts';
import { type Operator, startOperator } from '../support/operator.ts';
import { commandWeir, type Running, startWeir } from '../support/weir.ts';

let operator: Operator;
let running: Running;
let url: string;
let env: Record<string, string>;
beforeAll(async () => {
  operator = await startOperator();
  env = {
    ...operator.env,
    WEIR_DATA_DIR: join(operator.cwd, 'data'),
    PORT: '0',
    NODE_ENV: 'production',
    DLQ_DRAIN_INTERVAL: '100ms',
    INGEST_FLUSH_INTERVAL: '100ms',
  };
  running = startWeir(['serve'], { env, cwd: operator.cwd });
  url = await vi.waitFor(() => /"url":"(http:[^"]+)"/.exec(running.written())![1]!, { timeout: 20_000 });
  await vi.waitFor(async () => expect((await fetch(`${url}/ready`)).status).toBe(200), { timeout: 20_000 });
});
afterAll(async () => {
  running.child.kill('SIGTERM');
  await running.finished;
  await operator.stop();
});

const weir = (...args: string[]) => commandWeir(args, { env, cwd: operator.cwd });
async function send(project: string, count: number) {
  const token = await operator.createToken(project);
  const events = Array.from({ length: count }, () => ({ event: 'paid', timestamp: Date.now(), user_id: 'u' }));
  const answer = await fetch(`${url}/api/v1/ingest/events?ack=stored`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${token}` },
    body: JSON.stringify({ events }),
  });
  expect(answer.status).toBe(202);
}

/** As if they had landed under another id. */
async function insertRows(rows: readonly Buffer[]) {
  await operator.stores.clickhouse.insert({
    table: 'events_raw_v1',
    values: rows.map((row) => ({ ...(JSON.parse(row.toString()) as object), properties: '{}', extras: '{}' })),
    format: 'JSONEachRow',
    clickhouse_settings: { date_time_input_format: 'best_effort' },
  });
}

test('a replayed letter lands, once, and the ledger balances before and after', async () => {
  const project = await operator.createProject('counted');
  await send(project, 7);
  const letter = await operator.writeLetter({ shares: [[project, 3]], quarantined: 'exhausted' });
  const doubtful = await operator.writeLetter({ shares: [[project, 2]], quarantined: 'refused' });
  const ledger = async () => {
    const { code, stdout } = await weir('doctor', '--reconcile', '--json');
    return { code, ...(JSON.parse(stdout) as Record<string, { outcome: string }[] & Record<string, unknown>[]>) };
  };
  const before = await ledger();
  expect(before).toMatchObject({
    code: 0,
    processes: [{ accepted: 7, stored: 7, deadLettered: 0, pending: 0 }],
    stores: { letters: { quarantined: { events: 5 } } },
  });
  expect((await weir('dlq', 'replay', letter.id)).code).toBe(0);
  await expect.poll(() => operator.idsNow(), { timeout: 15_000 }).toEqual([doubtful.id]);
  expect(await operator.hourly(project)).toBe(10);

  // Exported, replayed, and imported although it has landed: ClickHouse knows it.
  const { stdout } = await weir('dlq', 'export', doubtful.id);
  expect((await weir('dlq', 'replay', doubtful.id)).code).toBe(0);
  await expect.poll(() => operator.idsNow(), { timeout: 15_000 }).toEqual([]);
  expect((await operator.put(stdout)).code).toBe(0);
  expect((await weir('dlq', 'replay', doubtful.id)).code).toBe(0);
  await expect.poll(() => operator.idsNow(), { timeout: 15_000 }).toEqual([]);
  expect(await operator.hourly(project)).toBe(12);

  const after = await weir('doctor', '--reconcile');
  expect(after).toMatchObject({ code: 0, stdout: expect.stringMatching(/^ok {4}ledger of http/m) });
  expect(after.stdout).toMatch(/^ok {4}handed over against kept/m);
  const one = await weir('doctor', '--reconcile', '--project', project);
  expect(one).toMatchObject({ code: 0, stdout: expect.stringContaining('both say 12') });
  expect(one.stdout).toMatch(/^ClickHouse +12  rows/m);
});

test('what is left of a letter that had landed is asked about, and does not land twice', async () => {
  const [ours, theirs] = [await operator.createProject('ours'), await operator.createProject('theirs')];
  const letter = await operator.writeLetter({
    shares: [
      [ours, 1],
      [theirs, 3],
    ],
    quarantined: 'exhausted',
    ambiguous: true,
  });
  await operator.query(`update failed_events set last_attempt_at = now() - interval '10 minutes'`);
  await insertRows(splitRows(letter.rows).slice(1, 3));
  expect((await weir('dlq', 'discard', '--project', ours, '--reason', 'x', '--yes')).code).toBe(0);
  expect((await weir('dlq', 'replay', '--all')).code).toBe(0);
  await expect.poll(() => operator.idsNow(), { timeout: 15_000 }).toEqual([]);
  expect([await operator.hourly(ours), await operator.hourly(theirs)]).toEqual([0, 3]);
});

test('letters that a restored Postgres brings back long after they landed, whole or in part, land no second time', async () => {
  const project = await operator.createProject('restored');
  const [whole, part] = [await quarantinedLetter(20), await quarantinedLetter(6)];
  // Saved while nobody doubts them, an hour ago.
  await operator.query(`create table saved as select * from failed_events`);
  await operator.query(`update saved set quarantined_at = null, quarantine_reason = null, attempt_count = 0,
    created_at = now() - interval '1 hour', last_attempt_at = now() - interval '1 hour'`);
  await insertRows(splitRows(part.rows).slice(1, 3));
  await operator.query(`delete from failed_events where id = $1`, [part.id]);
  expect((await weir('dlq', 'replay', whole.id)).code).toBe(0);
  await expect.poll(() => operator.idsNow(), { timeout: 15_000 }).toEqual([]);
  expect(await operator.hourly(project)).toBe(22);

  // Then so many inserts follow that ClickHouse forgets them.
  for (const table of ['events_raw_v1', 'event_counts_hourly', 'event_users', 'identity_links']) {
    await operator.stores.clickhouse.command({
      query: `ALTER TABLE ${table} MODIFY SETTING non_replicated_deduplication_window = 1`,
    });
  }
  for (let i = 0; i < 3; i++) await send(project, 1);

  await operator.query(`insert into failed_events select * from saved`);
  await expect.poll(() => operator.idsNow(), { timeout: 15_000 }).toEqual([]);
  const [rows] = await operator.stores.select<{ n: string; distinct: string }>(
    `SELECT count() AS n, uniqExact(event_id) AS distinct FROM events_raw_v1 WHERE project_id = '${project}'`,
  );
  expect({ ...rows, hourly: await operator.hourly(project) }).toEqual({ n: '29', distinct: '29', hourly: 29 });

  function quarantinedLetter(count: number) {
    return operator.writeLetter({ shares: [[project, count]], quarantined: 'exhausted' });
  }
});

test('a letter that is put back after its rows landed in parts lands no second time, whatever was mended since', async () => {
  const [good, bad] = [await operator.createProject('good'), await operator.createProject('bad')];
  const clickhouse = (query: string) => operator.stores.clickhouse.command({ query });
  await clickhouse(`ALTER TABLE events_raw_v1 ADD CONSTRAINT not_bad CHECK project_id != '${bad}'`);
  const letter = await operator.writeLetter({
    shares: [
      [good, 3],
      [bad, 1],
    ],
    quarantined: 'exhausted',
  });
  const { stdout: file } = await weir('dlq', 'export', letter.id);
  expect((await weir('dlq', 'replay', letter.id)).code).toBe(0);
  const left = () => operator.query('select event_count, quarantine_reason as reason from failed_events');
  await expect.poll(left, { timeout: 30_000 }).toEqual([{ event_count: 1, reason: 'refused' }]);
  expect(await operator.hourly(good)).toBe(3);
  await weir('dlq', 'discard', '--project', bad, '--reason', 'x', '--yes');
  expect(await operator.idsNow()).toEqual([]);
  await clickhouse('ALTER TABLE events_raw_v1 DROP CONSTRAINT not_bad');

  expect((await operator.put(file)).code).toBe(0);
  expect((await weir('dlq', 'replay', letter.id)).code).toBe(0);
  await expect.poll(() => operator.idsNow(), { timeout: 15_000 }).toEqual([]);
  expect([await operator.hourly(good), await operator.hourly(bad)]).toEqual([3, 1]);
});

test('what was deleted behind its back is missing, and that fails', async () => {
  const project = await operator.createProject('robbed');
  await send(project, 4);
  await operator.stores.clickhouse.command({
    query: `ALTER TABLE event_counts_hourly DELETE WHERE project_id = '${project}' SETTINGS mutations_sync = 1`,
  });
  const { code, stdout } = await weir('doctor', '--reconcile', '--project', project);
  expect(code).toBe(1);
  expect(stdout).toContain('FAIL  hourly counts against events: event_counts_hourly has 4 fewer');
});

test('the drain is paused and goes on, and the intake closes and opens, within five seconds', async () => {
  const project = await operator.createProject('switched');
  expect((await weir('dlq', 'pause')).code).toBe(0);
  expect((await weir('intake', 'disable')).code).toBe(0);
  await expect.poll(async () => (await fetch(`${url}/readyz`)).status, { timeout: 5_000 }).toBe(503);
  const letter = await operator.writeLetter({ shares: [[project, 1]] });
  expect((await weir('intake', 'enable')).code).toBe(0);
  await expect.poll(async () => (await fetch(`${url}/readyz`)).status, { timeout: 5_000 }).toBe(200);
  expect(await operator.idsNow()).toEqual([letter.id]);
  expect((await weir('dlq', 'resume')).code).toBe(0);
  await expect.poll(() => operator.idsNow(), { timeout: 10_000 }).toEqual([]);
});
