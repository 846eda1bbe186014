/** Deleting a project, and counting whether everything is where it should be: against a running Weir and real stores. */
import { randomUUIDv7 } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { splitRows } from '../../src/event/rows.ts';
import { type Desk, startDesk } from '../support/desk.ts';
import { writeLetter } from '../support/letters.ts';
import { type Running, runWeir, startWeir } from '../support/weir.ts';

let desk: Desk;
beforeAll(async () => {
  desk = await startDesk();
});
afterAll(() => desk.stop());

const TABLES = ['events_raw_v1', 'event_counts_hourly', 'identity_links'];

async function createProject(name: string) {
  return (await desk.weir('project', 'create', name)).stdout.trim();
}

/** Events that landed, a few of them linking identities. */
async function land(projectId: string, count: number) {
  const rows = Array.from({ length: count }, (_, index) => ({
    project_id: projectId,
    event_id: randomUUIDv7(),
    event: index % 2 === 0 ? '$identify' : 'signed_up',
    anonymous_id: `a${index}`,
    user_id: `u${index}`,
    timestamp: '2026-05-04 12:00:00.000',
    properties: '{}',
    extras: '{}',
    source: 'native',
    received_at: '2026-05-04 12:00:01.000',
  }));
  await desk.stores.clickhouse.insert({ table: 'events_raw_v1', values: rows, format: 'JSONEachRow' });
}

async function rowsOf(projectId: string) {
  const counts: number[] = [];
  for (const table of TABLES) {
    const [row] = await desk.stores.select<{ n: string }>(
      `SELECT toString(count()) AS n FROM ${table} WHERE project_id = '${projectId}'`,
    );
    counts.push(Number(row!.n));
  }
  return counts;
}

describe('project delete', () => {
  test('removes its events, counts, links and dead letters, exactly those, and may be repeated', async () => {
    await desk.clear();
    const doomed = await createProject('doomed');
    const kept = await createProject('kept');
    await land(doomed, 6);
    await land(kept, 4);
    await desk.weir('token', 'create', '--project', doomed);
    const before = await rowsOf(kept);
    const shared = await writeLetter(desk.stores, {
      shares: [
        [doomed, 2],
        [kept, 3],
      ],
    });
    const own = await writeLetter(desk.stores, { shares: [[doomed, 5]], quarantined: 'refused' });

    const asked = await desk.weir('project', 'delete', doomed);
    expect(asked).toMatchObject({ code: 1, stderr: expect.stringContaining('--yes') });
    expect(await rowsOf(doomed)).toEqual([6, 2, 3]);

    const deleted = await desk.weir('project', 'delete', doomed, '--yes', '--actor', 'ada');
    expect(deleted).toMatchObject({ code: 0, stderr: expect.stringContaining('6 events removed') });
    expect(deleted.stderr).toContain('7 events removed out of 2 letters, 1 of them shared');
    expect(await rowsOf(doomed)).toEqual([0, 0, 0]);
    expect(await rowsOf(kept)).toEqual(before);
    const [rest, ...others] = await desk.lettersNow();
    expect(others).toEqual([]);
    expect(rest).toMatchObject({ parent_id: shared.id, event_count: 3, project_ids: [kept] });
    expect(rest!.rows).toEqual(Buffer.concat(splitRows(shared.rows).slice(2)));
    expect(await desk.auditNow()).toMatchObject([
      { letter: own.id, action: 'discard', actor: 'ada', events: 5, detail: { reason: 'project deleted' } },
      { letter: shared.id, action: 'split', events: 5 },
      { action: 'discard', events: 2, detail: { projects: [doomed] } },
      { action: 'forget', events: 6, detail: { projects: [doomed], events: 6 } },
    ]);
    expect((await desk.weir('project', 'list')).stdout).not.toContain(doomed);
    expect((await desk.weir('token', 'list', '--project', doomed)).stdout).toContain('revoked');

    // What was under way arrives late.
    await land(doomed, 2);
    await writeLetter(desk.stores, { shares: [[doomed, 1]] });
    const again = await desk.weir('project', 'delete', doomed, '--yes', '--json');
    expect(JSON.parse(again.stdout)).toMatchObject({
      deleted: doomed,
      deadLetters: { events: 1, left: 0 },
      tables: [{ table: 'events_raw_v1', rows: 2, left: 0 }, { rows: 2 }, { rows: 1 }],
    });
    expect(await rowsOf(doomed)).toEqual([0, 0, 0]);
    expect(await desk.idsNow()).toEqual([rest!['id']]);
  });

  test('finishes what a crash left half done', async () => {
    await desk.clear();
    const id = await createProject('half');
    await land(id, 3);
    await writeLetter(desk.stores, { shares: [[id, 2]] });
    // As if it ended right after the first step, or in the middle of the second.
    await desk.query('update projects set deleted_at = now() where id = $1', [id]);
    await desk.stores.clickhouse.command({ query: `ALTER TABLE events_raw_v1 DELETE WHERE project_id = '${id}'` });
    expect((await desk.weir('project', 'delete', id, '--yes')).code).toBe(0);
    expect(await rowsOf(id)).toEqual([0, 0, 0]);
    expect(await desk.idsNow()).toEqual([]);
  });

  test('--keep-events only ends its tokens', async () => {
    await desk.clear();
    const id = await createProject('archive');
    await land(id, 2);
    const letter = await writeLetter(desk.stores, { shares: [[id, 1]] });
    expect((await desk.weir('project', 'delete', id, '--keep-events', '--yes')).code).toBe(0);
    expect(await rowsOf(id)).toEqual([2, 2, 1]);
    expect(await desk.idsNow()).toEqual([letter.id]);
    expect((await desk.weir('project', 'list')).stdout).not.toContain(id);
    expect((await desk.put((await desk.dlq('export', '--all')).stdout)).stderr).toContain('1 already there');
    const exported = (await desk.dlq('export', '--all')).stdout;
    await desk.clear();
    expect((await desk.put(exported)).stderr).toContain('deleted project');
  });

  test('without ClickHouse nothing is changed, and it says how to end the tokens at once', async () => {
    const id = await createProject('stuck');
    const env = { ...desk.env, CLICKHOUSE_URL: 'http://127.0.0.1:1' };
    const { code, stderr } = await runWeir(['project', 'delete', id, '--yes'], { env, cwd: desk.cwd });
    expect({ code, stderr }).toMatchObject({ code: 1, stderr: expect.stringContaining('--keep-events') });
    expect(await desk.query('select deleted_at from projects where id = $1', [id])).toEqual([{ deleted_at: null }]);
  });

  test('a project that never was is a failure', async () => {
    for (const id of [randomUUIDv7(), 'nonsense']) {
      const { code, stderr } = await desk.weir('project', 'delete', id, '--yes');
      expect({ code, stderr }).toMatchObject({ code: 1, stderr: expect.stringContaining(`There is no project ${id}`) });
    }
  });
});

describe('with a running Weir', () => {
  let running: Running;
  let url: string;
  let env: Record<string, string>;
  beforeAll(async () => {
    await desk.clear();
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
  });

  const weir = (...args: string[]) => runWeir(args, { env, cwd: desk.cwd });
  async function send(project: string, count: number) {
    const token = (await weir('token', 'create', '--project', project)).stdout.trim();
    const events = Array.from({ length: count }, () => ({ event: 'paid', timestamp: Date.now(), user_id: 'u' }));
    const answer = await fetch(`${url}/api/v1/ingest/events?ack=stored`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${token}` },
      body: JSON.stringify({ events }),
    });
    expect(answer.status).toBe(202);
  }

  test('a replayed letter lands, once, and the ledger balances before and after', async () => {
    const project = await createProject('counted');
    await send(project, 7);
    const letter = await writeLetter(desk.stores, { shares: [[project, 3]], quarantined: 'exhausted' });
    const doubtful = await writeLetter(desk.stores, { shares: [[project, 2]], quarantined: 'refused' });
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
    expect(await rowsOf(project)).toMatchObject([10, expect.any(Number), 0]);

    // Exported, replayed, and imported although it has landed: asked about, and not sent again.
    const { stdout } = await weir('dlq', 'export', doubtful.id);
    expect((await weir('dlq', 'replay', doubtful.id)).code).toBe(0);
    await expect.poll(() => desk.idsNow(), { timeout: 15_000 }).toEqual([]);
    expect((await desk.put(stdout)).code).toBe(0);
    expect((await weir('dlq', 'replay', doubtful.id)).code).toBe(0);
    await expect.poll(() => desk.idsNow(), { timeout: 15_000 }).toEqual([]);
    expect(
      (await desk.stores.select(`SELECT sum(events) AS n FROM event_counts_hourly WHERE project_id = '${project}'`))[0],
    ).toEqual({ n: '12' });

    const after = await weir('doctor', '--reconcile');
    expect(after).toMatchObject({ code: 0, stdout: expect.stringMatching(/^ok {4}ledger of http/m) });
    expect(after.stdout).toMatch(/^ok {4}handed over against kept/m);
    const one = await weir('doctor', '--reconcile', '--project', project);
    expect(one).toMatchObject({ code: 0, stdout: expect.stringContaining('both say 12') });
    expect(one.stdout).toMatch(/^ClickHouse +12  rows/m);
  });

  test('what is left of a letter that had landed is asked about, and does not land twice', async () => {
    const [ours, theirs] = [await createProject('ours'), await createProject('theirs')];
    const letter = await writeLetter(desk.stores, {
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
    const sum = `SELECT project_id AS project, sum(events) AS n FROM event_counts_hourly
      WHERE project_id IN ('${ours}', '${theirs}') GROUP BY project_id`;
    expect(await desk.stores.select(sum)).toEqual([{ project: theirs, n: '3' }]);
  });

  test('what was deleted behind its back is missing, and that fails', async () => {
    const project = await createProject('robbed');
    await send(project, 4);
    await desk.stores.clickhouse.command({
      query: `ALTER TABLE event_counts_hourly DELETE WHERE project_id = '${project}' SETTINGS mutations_sync = 1`,
    });
    const { code, stdout } = await weir('doctor', '--reconcile', '--project', project);
    expect(code).toBe(1);
    expect(stdout).toContain('FAIL  hourly counts against events: event_counts_hourly has 4 fewer');
    await weir('project', 'delete', project, '--yes');
  });

  test('the drain is paused and goes on, and the intake closes and opens, within five seconds', async () => {
    const project = await createProject('switched');
    expect((await weir('dlq', 'pause')).code).toBe(0);
    expect((await weir('intake', 'disable')).code).toBe(0);
    await expect.poll(async () => (await fetch(`${url}/readyz`)).status, { timeout: 5_000 }).toBe(503);
    const letter = await writeLetter(desk.stores, { shares: [[project, 1]] });
    expect((await weir('intake', 'enable')).code).toBe(0);
    await expect.poll(async () => (await fetch(`${url}/readyz`)).status, { timeout: 5_000 }).toBe(200);
    expect(await desk.idsNow()).toEqual([letter.id]);
    expect((await weir('dlq', 'resume')).code).toBe(0);
    await expect.poll(() => desk.idsNow(), { timeout: 10_000 }).toEqual([]);
  });
});
