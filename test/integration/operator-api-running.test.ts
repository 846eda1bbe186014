/** The operator API beside a running Weir: a replay to its end; and where Postgres stores the events. */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type * as answers from '../../src/console/operator/answers.ts';
import { type Operator, startOperator } from '../support/operator.ts';
import { writeLetter } from '../support/dead-letters.ts';
import { type PostgresStores, startPostgresStores } from '../support/stores.ts';
import { startOperatorApi } from '../support/operator-api.ts';
import { createProjects } from '../../src/postgres/accounts/projects.ts';
import { commandWeir, type Running, startWeir } from '../support/weir.ts';

const LETTERS = 20;
const EVENTS = 5_000;

let shell: Operator;
let running: Running;
let url: string;
let api: ReturnType<typeof startOperatorApi>;

beforeAll(async () => {
  shell = await startOperator();
  const env = {
    ...shell.env,
    WEIR_DATA_DIR: join(shell.cwd, 'data'),
    PORT: '0',
    NODE_ENV: 'production',
    DLQ_DRAIN_INTERVAL: '100ms',
  };
  running = startWeir(['serve'], { env, cwd: shell.cwd });
  url = await vi.waitFor(() => /"url":"(http:[^"]+)"/.exec(running.written())![1]!, { timeout: 60_000 });
  await vi.waitFor(async () => expect((await fetch(`${url}/ready`)).status).toBe(200), { timeout: 60_000 });
  api = startOperatorApi(env, { serviceUrl: url });
});
afterAll(async () => {
  await api?.close();
  running?.child.kill('SIGTERM');
  await running?.finished;
  await shell?.stop();
});

test('a replay of 100 000 events ends when all were tried, its progress never goes back, and the ledger closes', async () => {
  const project = await shell.createProject('replayed');
  for (let n = 0; n < LETTERS; n++) await shell.writeLetter({ shares: [[project, EVENTS]], quarantined: 'refused' });
  // Of one letter two rows cannot be stored: they are refused once more, and nothing else is.
  await shell.writeLetter({ shares: [[project, 5]], unreadable: 2, quarantined: 'refused' });

  const seen: answers.Job['progress'][] = [];
  const begun = await api.ask('POST', '/letters/replay', { selection: { by: 'quarantined' } });
  const job = await api.ended(begun, ({ progress }) => seen.push(progress));
  expect(job).toMatchObject({
    state: 'done',
    result: {
      letters: LETTERS + 1,
      events: LETTERS * EVENTS + 7,
      after: {
        stored: LETTERS,
        discarded: 0,
        divided: 0,
        refused: 1,
        refusedEvents: 2,
        waiting: 0,
        untried: 0,
        why: 'all were tried',
      },
    },
  });
  const replaying = seen.filter(({ step }) => step === 'replaying').map(({ done }) => done);
  expect(replaying).toEqual(replaying.toSorted((a, b) => a - b));
  expect(seen.at(-1)).toEqual({ step: 'replaying', done: LETTERS + 1, total: LETTERS + 1 });
  expect(await shell.hourly(project)).toBe(LETTERS * EVENTS + 5);

  const { json } = await api.ask<answers.Ledger>('GET', '/ledger');
  expect(json.processes).toMatchObject([{ url, accepted: 0, pending: 0, lost: 0 }]);
  expect(json.checks.filter(({ outcome }) => outcome === 'fail')).toEqual([]);
  const { checks } = (await api.ask<answers.Doctor>('GET', '/doctor')).json;
  expect(checks.find(({ name }) => name === 'running Weir')!.detail).toContain(url);
});

test('a replay that is stopped is no longer watched; what was made due stays due', async () => {
  const project = await shell.createProject('stopped');
  for (let n = 0; n < 2; n++) await shell.writeLetter({ shares: [[project, 3]], quarantined: 'refused' });
  const begun = await api.ask<answers.JobStarted>('POST', '/letters/replay', {
    selection: { by: 'project', projectId: project },
    // The second one is due in hours.
    perSecond: 0.001,
  });
  let isStopped = false;
  const job = await api.ended(begun, ({ progress: { step, done } }) => {
    if (isStopped || step !== 'replaying' || done !== 1) return;
    isStopped = true;
    void api.ask('POST', `/jobs/${begun.json.job.id}/stop`);
  });
  expect(job).toMatchObject({ state: 'stopped', progress: { step: 'replaying', done: 1, total: 2 }, result: null });
  expect(await shell.hourly(project)).toBe(3);
  const { letters } = (await api.ask<answers.LetterPage>('GET', `/letters?project=${project}`)).json;
  expect(letters).toMatchObject([{ state: 'waiting', quarantinedAt: null, attemptCount: 0 }]);
});

test('where Postgres stores the events, letters are explained, mended and asked about in its words', async () => {
  const stores: PostgresStores = await startPostgresStores();
  const env = { DATABASE_URL: stores.databaseUrl, EVENT_STORE: 'postgres', WEIR_DATA_DIR: join(shell.cwd, 'other') };
  const other = startOperatorApi(env);
  const run = (sql: string) => stores.postgres.pool.query(sql);
  try {
    const wanted = { name: 'shop', retentionSeconds: null, allowedOrigins: [] };
    const { id: project } = await createProjects(stores.postgres.db).create(wanted);
    await run(`ALTER TABLE analytics.events_raw ADD CONSTRAINT "paid in full" CHECK ((properties ->> 'n')::int > 1)`);
    const { id } = await writeLetter(stores, { shares: [[project, 2]], quarantined: 'refused' });
    const { json } = await other.ask<answers.LetterRows>('GET', `/letters/${id}/rows`);
    expect(json).toMatchObject({ table: 'analytics.events_raw', total: 2, refused: 2, isComplete: true, why: null });
    expect(json.refusals).toMatchObject([{ constraint: 'paid in full', members: ['properties.n'] }]);
    await run(json.refusals[0]!.statement!);
    expect((await other.ask<answers.LetterRows>('GET', `/letters/${id}/rows`)).json.refused).toBe(0);

    await run(`ALTER TABLE analytics.events_raw ADD COLUMN team text CHECK (true)`);
    await run(`ALTER TABLE analytics.events_raw ALTER COLUMN team SET NOT NULL`);
    const lacking = (await other.ask<answers.LetterRows>('GET', `/letters/${id}/rows`)).json;
    expect(lacking.refusals).toMatchObject([{ column: 'team', isOrdinaryRefused: true, members: ['team'] }]);
    await run(lacking.refusals[0]!.statement!);
    expect((await other.ask<answers.LetterRows>('GET', `/letters/${id}/rows`)).json.refused).toBe(0);

    const asked = await other.ask<answers.QueryAnswer>('POST', `/projects/${project}/query`, { sql: 'SELECT 1 AS n' });
    expect(asked.json).toMatchObject({ rows: [[1]] });
    expect((await other.ask<answers.ProjectDetails>('GET', `/projects/${project}`)).json.usage).toEqual([]);
    const { recipes } = (await other.ask<answers.Cookbook>('GET', '/cookbook')).json;
    expect(recipes.length).toBeGreaterThan(10);
    const printed = await commandWeir(['doctor', '--reconcile', '--project', project, '--json'], {
      env,
      cwd: shell.cwd,
    });
    expect((await other.ask('GET', `/ledger?project=${project}`)).json).toEqual(JSON.parse(printed.stdout));
    const checks = (await other.ask<answers.Doctor>('GET', '/doctor')).json.checks.map(({ name }) => name);
    expect(checks).toContain('queries of projects');
  } finally {
    await other.close();
    await stores.stop();
  }
});
