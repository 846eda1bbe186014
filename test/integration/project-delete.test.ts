/** Deleting a project on real stores: exactly its rows, wherever they lie, and again after a crash. */
import { randomUUIDv7 } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { splitRows } from '../../src/event/rows.ts';
import { type Operator, startOperator } from '../support/operator.ts';
import { runWeir } from '../support/weir.ts';

let operator: Operator;
beforeAll(async () => {
  operator = await startOperator();
});
afterAll(() => operator.stop());

const TABLES = ['events_raw_v1', 'event_counts_hourly', 'event_copies', 'event_users', 'identity_links'];

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
  await operator.stores.clickhouse.insert({ table: 'events_raw_v1', values: rows, format: 'JSONEachRow' });
  await operator.stores.clickhouse.command({
    query: `INSERT INTO event_copies (project_id, event, hour, copies) SELECT '${projectId}', 'signed_up', now(), 1`,
  });
}

async function rowsOf(projectId: string) {
  const counts: number[] = [];
  for (const table of TABLES) {
    const [row] = await operator.stores.select<{ n: string }>(
      `SELECT toString(count()) AS n FROM ${table} WHERE project_id = '${projectId}'`,
    );
    counts.push(Number(row!.n));
  }
  return counts;
}

describe('project delete', () => {
  test('removes its events, counts, links and dead letters, exactly those, and may be repeated', async () => {
    await operator.clear();
    const doomed = await operator.createProject('doomed');
    const kept = await operator.createProject('kept');
    await land(doomed, 6);
    await land(kept, 4);
    await operator.createToken(doomed);
    const before = await rowsOf(kept);
    const shared = await operator.writeLetter({
      shares: [
        [doomed, 2],
        [kept, 3],
      ],
    });
    const own = await operator.writeLetter({ shares: [[doomed, 5]], quarantined: 'refused' });

    const asked = await operator.weir('project', 'delete', doomed);
    expect(asked).toMatchObject({ code: 1, stderr: expect.stringContaining('--yes') });
    expect(await rowsOf(doomed)).toEqual([6, 2, 1, 4, 3]);

    const deleted = await operator.weir('project', 'delete', doomed, '--yes', '--actor', 'ada');
    expect(deleted).toMatchObject({ code: 0, stderr: expect.stringContaining('6 events removed') });
    expect(deleted.stderr).toContain('7 events removed out of 2 letters, 1 of them shared');
    expect(await rowsOf(doomed)).toEqual([0, 0, 0, 0, 0]);
    expect(await rowsOf(kept)).toEqual(before);
    const [rest, ...others] = await operator.lettersNow();
    expect(others).toEqual([]);
    expect(rest).toMatchObject({ parent_id: shared.id, event_count: 3, project_ids: [kept] });
    expect(rest!.rows).toEqual(Buffer.concat(splitRows(shared.rows).slice(2)));
    expect(await operator.auditNow()).toMatchObject([
      { action: 'project delete', actor: 'ada', events: 0, detail: { projects: [doomed] } },
      { letter: own.id, action: 'discard', actor: 'ada', events: 5, detail: { reason: 'project deleted' } },
      { letter: shared.id, action: 'split', events: 5 },
      { action: 'discard', events: 2, detail: { projects: [doomed] } },
      { action: 'forget', events: 6, detail: { projects: [doomed], events: 6 } },
    ]);
    expect(await operator.query('select count(*)::int as alive from api_tokens where revoked_at is null')).toEqual([
      { alive: 0 },
    ]);
    expect(await operator.query('select name from projects where deleted_at is null')).toEqual([{ name: 'kept' }]);

    // What was under way arrives late.
    await land(doomed, 2);
    await operator.writeLetter({ shares: [[doomed, 1]] });
    const again = await operator.weir('project', 'delete', doomed, '--yes', '--json');
    expect(JSON.parse(again.stdout)).toMatchObject({
      deleted: doomed,
      deadLetters: { events: 1, left: 0 },
      tables: [{ table: 'events_raw_v1', rows: 2, left: 0 }, { rows: 2 }, { rows: 1 }, { rows: 4 }, { rows: 1 }],
    });
    expect(await rowsOf(doomed)).toEqual([0, 0, 0, 0, 0]);
    expect(await operator.idsNow()).toEqual([rest!['id']]);
  });

  test('finishes what a crash left half done', async () => {
    await operator.clear();
    const id = await operator.createProject('half');
    await land(id, 3);
    await operator.writeLetter({ shares: [[id, 2]] });
    // As if it ended right after the first step, or in the middle of the second.
    await operator.query('update projects set deleted_at = now() where id = $1', [id]);
    await operator.stores.clickhouse.command({
      query: `ALTER TABLE events_raw_v1 DELETE WHERE project_id = '${id}'`,
    });
    expect((await operator.weir('project', 'delete', id, '--yes')).code).toBe(0);
    expect(await rowsOf(id)).toEqual([0, 0, 0, 0, 0]);
    expect(await operator.idsNow()).toEqual([]);
  });

  test('--keep-events only ends its tokens', async () => {
    await operator.clear();
    const id = await operator.createProject('archive');
    await land(id, 2);
    const letter = await operator.writeLetter({ shares: [[id, 1]] });
    expect((await operator.weir('project', 'delete', id, '--keep-events', '--yes')).code).toBe(0);
    expect(await rowsOf(id)).toEqual([2, 2, 1, 4, 1]);
    expect(await operator.idsNow()).toEqual([letter.id]);
    expect(await operator.query('select 1 from projects where id = $1 and deleted_at is null', [id])).toEqual([]);
    const exported = (await operator.dlq('export', '--all')).stdout;
    await operator.clear();
    expect((await operator.put(exported)).stderr).toContain('deleted project');
  });

  test('without ClickHouse nothing is changed, and it says how to end the tokens at once', async () => {
    const id = await operator.createProject('stuck');
    const env = { ...operator.env, CLICKHOUSE_URL: 'http://127.0.0.1:1' };
    const { code, stderr } = await runWeir(['project', 'delete', id, '--yes'], { env, cwd: operator.cwd });
    expect({ code, stderr }).toMatchObject({ code: 1, stderr: expect.stringContaining('--keep-events') });
    expect(await operator.query('select deleted_at from projects where id = $1', [id])).toEqual([{ deleted_at: null }]);
  });

  test('a project that never was is a failure', async () => {
    for (const id of [randomUUIDv7(), 'nonsense']) {
      const { code, stderr } = await operator.weir('project', 'delete', id, '--yes');
      expect({ code, stderr }).toMatchObject({ code: 1, stderr: expect.stringContaining(`There is no project ${id}`) });
    }
  });
});
