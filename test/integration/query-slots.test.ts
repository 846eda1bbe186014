/** Questions that go on after nobody wants their answer, and answers that nobody takes: whom they keep out. */
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { createClickHouse } from '../../src/clickhouse/connection/client.ts';
import { createProjectReader } from '../../src/clickhouse/reading/project-reader.ts';
import { createManualClock } from '../support/clock.ts';
import { type OpenDoor, openDoor } from '../support/door.ts';
import { type Stores, startStores } from '../support/stores.ts';

let stores: Stores;
let door: OpenDoor;
let ours: { id: string; token: string };
let others: readonly { id: string; token: string }[];

beforeAll(async () => {
  stores = await startStores();
  door = await openDoor(
    { databaseUrl: stores.databaseUrl, clickhouseUrl: stores.clickhouseUrl },
    { INGEST_FLUSH_INTERVAL: '50ms' },
  );
  await door.weir.migrated;
  ours = await newProject();
  others = [await newProject(), await newProject()];
});
afterAll(async () => {
  await door.stop();
  await stores.stop();
});

async function newProject() {
  const { id } = await door.weir.projects.create({ name: 'shop', retentionSeconds: null, allowedOrigins: [] });
  const created = await door.weir.tokens.create({ projectId: id, kind: 'secret', name: null, imported: null });
  return { id, token: created!.plaintext };
}

const pathOf = (id: string) => `/api/v1/projects/${id}/query`;
const asking = (sql: string, { token } = ours): RequestInit => ({
  method: 'POST',
  headers: { authorization: `Bearer ${token}` },
  body: JSON.stringify({ sql }),
});
const ask = (sql: string, who = ours) => door.ask(pathOf(who.id), asking(sql, who));

/** Works on one row, which nothing stops: seconds, or the longer the busier the machine. `mark`, which no other statement may contain, tells them apart. */
const unstoppable = (mark: string, letters = 30_000) =>
  `SELECT length(replaceRegexpAll(materialize(repeat('a', ${letters})), 'a.*b|a', '')) AS ${mark}`;

/** Those that ask for rows: before, the reader has ClickHouse parse the same text (`EXPLAIN`). */
async function runningCount(mark: string): Promise<number> {
  const [row] = await stores.select<{ running: string }>(
    `SELECT toString(count()) AS running FROM system.processes
     WHERE query_kind = 'Select' AND query LIKE '%${mark}%' AND query NOT LIKE '%processes%'`,
  );
  return Number(row!.running);
}
const untilRunning = (mark: string, count: number) =>
  vi.waitFor(async () => expect(await runningCount(mark)).toBe(count), { timeout: 120_000, interval: 50 });

describe('a question that nothing stops', () => {
  test('abandoned ten times in a row it runs in no more than its project’s slots, and keeps them until it is through', async () => {
    const leavings: Promise<unknown>[] = [];
    let most = 0;
    for (let time = 0; time < 10; time++) {
      const leaving = new AbortController();
      leavings.push(
        fetch(door.url + pathOf(ours.id), {
          ...asking(unstoppable('abandoned_question')),
          signal: leaving.signal,
        }).catch(() => {}),
      );
      if (time < 2)
        await vi.waitFor(async () => expect(await runningCount('abandoned_question')).toBe(time + 1), {
          timeout: 60_000,
        });
      leaving.abort();
      most = Math.max(most, await runningCount('abandoned_question'));
    }
    await Promise.all(leavings);
    expect(most).toBe(2);
    // The project itself has to wait; another one does not.
    expect(await ask('SELECT 1', others[0])).toMatchObject({ status: 200 });
    const own = await vi.waitUntil(
      async () => {
        const answer = await ask('SELECT 1');
        const left = await runningCount('abandoned_question');
        most = Math.max(most, left);
        return answer.status === 200 && { left };
      },
      { timeout: 240_000, interval: 20 },
    );
    expect(own.left).toBeLessThan(2);
    expect(most).toBe(2);
    await untilRunning('abandoned_question', 0);
  }, 360_000);

  test('past the limit the question is refused, and is over only when ClickHouse is through', async () => {
    const client = createClickHouse({ url: stores.clickhouseUrl, database: stores.database, maxConnections: 4 });
    const clock = createManualClock();
    const reader = createProjectReader(
      { client, clock, stopping: new AbortController().signal },
      { database: stores.database },
    );
    const queryId = 'nothing-stops-this';
    const answering = reader.query(ours.id, unstoppable('overdue_question', 100_000), {
      queryId,
      signal: new AbortController().signal,
    });
    await untilRunning('overdue_question', 1);
    await clock.advance(33_000);
    expect(await answering).toEqual({
      kind: 'refused',
      message: expect.stringContaining('took longer than 30 seconds'),
      error: { store: 'clickhouse', code: 159, name: 'TIMEOUT_EXCEEDED' },
    });
    const stopped = reader.stopped(queryId).then(() => 'stopped');
    const aSecond = () => clock.advance(1_000).then(() => runningCount('overdue_question'));
    while ((await Promise.race([stopped, aSecond()])) !== 'stopped');
    expect(await runningCount('overdue_question')).toBe(0);
    await client.close();
  });

  test('a question that was answered, refused or never asked is over at once', async () => {
    const client = createClickHouse({ url: stores.clickhouseUrl, database: stores.database, maxConnections: 4 });
    const reader = createProjectReader(
      { client, clock: createManualClock(), stopping: new AbortController().signal },
      { database: stores.database },
    );
    const signal = new AbortController().signal;
    const answer = await reader.query(ours.id, 'SELECT 1', { queryId: 'answered', signal });
    if (answer.kind !== 'answer') throw new Error('not answered');
    for await (const rows of answer.rows) expect(rows).toEqual(['[1]']);
    expect(await reader.query(ours.id, 'SELECT intDiv(1, 0)', { queryId: 'failed', signal })).toMatchObject({
      kind: 'refused',
    });
    for (const queryId of ['answered', 'failed', 'never asked']) await reader.stopped(queryId);
    await client.close();
  });
});

describe('an answer that nobody takes', () => {
  /** Asks for much and reads nothing. */
  function neverReading(who: { id: string; token: string }) {
    const body = JSON.stringify({
      sql: `SELECT repeat('x', 600) AS unread_answer FROM (SELECT arrayJoin(range(100000)))`,
    });
    const socket = connect(door.port, '127.0.0.1');
    socket.pause();
    socket.on('error', () => {});
    socket.write(
      `POST ${pathOf(who.id)} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${who.token}\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    return socket;
  }

  test('two projects that do so do not keep a third one out; after ten seconds they are cut', async () => {
    const sockets = [ours, ours, others[0]!, others[0]!].map(neverReading);
    await untilRunning('unread_answer', 3);
    expect(await ask('SELECT 1', others[1])).toMatchObject({ status: 200, json: { rows: [[1]] } });
    expect(await runningCount('unread_answer')).toBeGreaterThanOrEqual(3);
    await untilRunning('unread_answer', 0);
    for (const who of [ours, ...others]) expect(await ask('SELECT 1', who)).toMatchObject({ status: 200 });
    expect(door.logged()).toContain('"outcome":"cut short"');
    for (const socket of sockets) socket.destroy();
  });
});
