/** Replaying, switching and reconciling while a Weir runs, with real stores. */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { splitRows } from '../../src/event/rows.ts';
import { type Desk, startDesk } from '../support/desk.ts';
import { commandWeir, type Running, startWeir } from '../support/weir.ts';

let desk: Desk;
let running: Running;
let url: string;
let env: Record<string, string>;
beforeAll(async () => {
  desk = await startDesk();
  env = {
    ...desk.env,
    WEIR_DATA_DIR: join(desk.cwd, 'data'),
    PORT: '0',
    NODE_ENV: 'production',
    DLQ_DRAIN_INTERVAL: '100ms',
    INGEST_FLUSH_INTERVAL: '100ms',
  };
  running = startWeir(['serve'], { env, cwd: desk.cwd });
  url = await vi.waitFor(() => /"url":"(http:[^"]+)"/.exec(running.written())![1]!, { timeout: 20_000 });
  await vi.waitFor(async () => expect((await fetch(`${url}/ready`)).status).toBe(200), { timeout: 20_000 });
});
afterAll(async () => {
  running.child.kill('SIGTERM');
  await running.finished;
  await desk.stop();
});

const weir = (...args: string[]) => commandWeir(args, { env, cwd: desk.cwd });
async function send(project: string, count: number) {
  const token = await desk.createToken(project);
  const events = Array.from({ length: count }, () => ({ event: 'paid', timestamp: Date.now(), user_id: 'u' }));
  const answer = await fetch(`${url}/api/v1/ingest/events?ack=stored`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${token}` },
    body: JSON.stringify({ events }),
  });
  expect(answer.status).toBe(202);
}

test('a replayed letter lands, once, and the ledger balances before and after', async () => {
  const project = await desk.createProject('counted');
  await send(project, 7);
  const letter = await desk.writeLetter({ shares: [[project, 3]], quarantined: 'exhausted' });
  const doubtful = await desk.writeLetter({ shares: [[project, 2]], quarantined: 'refused' });
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
  await expect.poll(() => desk.idsNow(), { timeout: 15_000 }).toEqual([doubtful.id]);
  expect(await desk.hourly(project)).toBe(10);

  // Exported, replayed, and imported although it has landed: ClickHouse knows it.
  const { stdout } = await weir('dlq', 'export', doubtful.id);
  expect((await weir('dlq', 'replay', doubtful.id)).code).toBe(0);
  await expect.poll(() => desk.idsNow(), { timeout: 15_000 }).toEqual([]);
  expect((await desk.put(stdout)).code).toBe(0);
  expect((await weir('dlq', 'replay', doubtful.id)).code).toBe(0);
  await expect.poll(() => desk.idsNow(), { timeout: 15_000 }).toEqual([]);
  expect(await desk.hourly(project)).toBe(12);

  const after = await weir('doctor', '--reconcile');
  expect(after).toMatchObject({ code: 0, stdout: expect.stringMatching(/^ok {4}ledger of http/m) });
  expect(after.stdout).toMatch(/^ok {4}handed over against kept/m);
  const one = await weir('doctor', '--reconcile', '--project', project);
  expect(one).toMatchObject({ code: 0, stdout: expect.stringContaining('both say 12') });
  expect(one.stdout).toMatch(/^ClickHouse +12  rows/m);
});

test('what is left of a letter that had landed is asked about, and does not land twice', async () => {
  const [ours, theirs] = [await desk.createProject('ours'), await desk.createProject('theirs')];
  const letter = await desk.writeLetter({
    shares: [
      [ours, 1],
      [theirs, 3],
    ],
    quarantined: 'exhausted',
    ambiguous: true,
  });
  await desk.query(`update failed_events set last_attempt_at = now() - interval '10 minutes'`);
  const landed = splitRows(letter.rows)
    .slice(1, 3)
    .map((row) => JSON.parse(row.toString()) as object);
  await desk.stores.clickhouse.insert({
    table: 'events_raw_v1',
    values: landed.map((row) => ({ ...row, properties: '{}', extras: '{}' })),
    format: 'JSONEachRow',
    clickhouse_settings: { date_time_input_format: 'best_effort' },
  });
  expect((await weir('dlq', 'discard', '--project', ours, '--reason', 'x', '--yes')).code).toBe(0);
  expect((await weir('dlq', 'replay', '--all')).code).toBe(0);
  await expect.poll(() => desk.idsNow(), { timeout: 15_000 }).toEqual([]);
  expect([await desk.hourly(ours), await desk.hourly(theirs)]).toEqual([0, 3]);
});

test('what was deleted behind its back is missing, and that fails', async () => {
  const project = await desk.createProject('robbed');
  await send(project, 4);
  await desk.stores.clickhouse.command({
    query: `ALTER TABLE event_counts_hourly DELETE WHERE project_id = '${project}' SETTINGS mutations_sync = 1`,
  });
  const { code, stdout } = await weir('doctor', '--reconcile', '--project', project);
  expect(code).toBe(1);
  expect(stdout).toContain('FAIL  hourly counts against events: event_counts_hourly has 4 fewer');
});

test('the drain is paused and goes on, and the intake closes and opens, within five seconds', async () => {
  const project = await desk.createProject('switched');
  expect((await weir('dlq', 'pause')).code).toBe(0);
  expect((await weir('intake', 'disable')).code).toBe(0);
  await expect.poll(async () => (await fetch(`${url}/readyz`)).status, { timeout: 5_000 }).toBe(503);
  const letter = await desk.writeLetter({ shares: [[project, 1]] });
  expect((await weir('intake', 'enable')).code).toBe(0);
  await expect.poll(async () => (await fetch(`${url}/readyz`)).status, { timeout: 5_000 }).toBe(200);
  expect(await desk.idsNow()).toEqual([letter.id]);
  expect((await weir('dlq', 'resume')).code).toBe(0);
  await expect.poll(() => desk.idsNow(), { timeout: 10_000 }).toEqual([]);
});
