/** The operator API of the console against real stores: what it answers and changes, compared with the commands. */
import { Validator } from '@seriousme/openapi-schema-validator';
import { randomUUIDv7 } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { READING_POSTS, describedRoutes } from '../../src/console/operator/operator-routes.ts';
import type * as answers from '../../src/console/operator/answers.ts';
import { describeConsole } from '../../src/console/operator/openapi.ts';
import { InsertFailure } from '../../src/pipeline/ports.ts';
import { readDescription } from '../support/description.ts';
import { type Operator as Shell, startOperator } from '../support/operator.ts';
import { type Answered, OTHERS, startOperatorApi } from '../support/operator-api.ts';

let shell: Shell;
let api: ReturnType<typeof startOperatorApi>;
const [PROJECT, OTHER] = [randomUUIDv7(), randomUUIDv7()];
const NOWHERE = randomUUIDv7();

/** Nothing is asked of the parts: only what the routes say of themselves. */
const nothing: never = new Proxy(() => nothing, { get: () => nothing }) as never;
const routes = describedRoutes(nothing);
const document = describeConsole(routes, { version: '1.2.3' });
const description = readDescription(JSON.parse(JSON.stringify(document)));
const BASE = '/api/v1/operator';
/** Every answer of this file is held against the description. */
const problems: unknown[] = [];

beforeAll(async () => {
  shell = await startOperator();
  api = startOperatorApi({ ...shell.env, WEIR_DATA_DIR: join(shell.cwd, '.weir') }, { onAnswer: hold });
});
afterAll(async () => {
  await api?.close();
  await shell?.stop();
});
beforeEach(() => shell.clear());

function hold(method: string, path: string, answer: Answered): void {
  const [bare] = path.split('?') as [string];
  const ofMethod = description.operations.filter((one) => one.method === method);
  const fits = ({ path: pattern }: { path: string }) =>
    new RegExp(`^${pattern.replaceAll(/\{\w+\}/g, '[^/]+')}$`).test(`${BASE}${bare}`);
  const exact = ofMethod.find((one) => one.path === `${BASE}${bare}`) ?? ofMethod.find(fits);
  if (exact === undefined) return;
  const wrong = description.problemsWithAnswer(exact, answer);
  if (wrong.length > 0) problems.push({ method, path, wrong, text: answer.text.slice(0, 500) });
}

const get = <T>(path: string) => api.ask<T>('GET', path);
const post = <T>(path: string, body: unknown = {}) => api.ask<T>('POST', path, body);
const put = <T>(path: string, body: unknown = {}) => api.ask<T>('PUT', path, body);

describe('dead letters', () => {
  test('are listed, grouped, counted and shown as the commands do', async () => {
    const one = await shell.writeLetter({ shares: [[PROJECT, 3]] });
    await shell.writeLetter({ shares: [[OTHER, 2]], failure: dataFailureOf(117), quarantined: 'refused 20 times' });
    await shell.writeLetter({
      shares: [
        [PROJECT, 1],
        [OTHER, 1],
      ],
      quarantined: 'refused 20 times',
    });

    const { letters } = await shell.json<{ letters: unknown[] }>('ls');
    expect((await get<answers.LetterPage>('/letters')).json).toEqual({ letters, next: null });
    const { groups, more } = await shell.json<{ groups: object[]; more: number }>('groups');
    const counted = groups.map((group) => ({ ...group, isEstimate: false }));
    expect((await get('/letters/groups')).json).toEqual({ groups: counted, more });
    expect((await get('/letters/stats')).json).toEqual({ ...(await shell.json<object>('stats')), isEstimate: false });
    expect((await get(`/letters/${one.id}`)).json).toEqual(await shell.json('show', one.id, '--unsafe'));
    const hidden = await api.as({ showsEvents: false }).ask('GET', `/letters/${one.id}`);
    expect(hidden.json).toEqual(await shell.json('show', one.id));
    expect(hidden.text).not.toContain('hidden-');

    for (const [query, args] of [
      ['state=quarantined', ['--quarantined']],
      ['state=waiting', ['--waiting']],
      [`project=${PROJECT}`, ['--project', PROJECT]],
      [`project=${OTHER}&state=quarantined`, ['--project', OTHER, '--quarantined']],
    ] as const) {
      const expected = await shell.json<{ letters: unknown[] }>('ls', ...args);
      expect((await get<answers.LetterPage>(`/letters?${query}`)).json.letters, query).toEqual(expected.letters);
    }
  });

  test('are paged by key, each once, in the order of their age', async () => {
    await shell.query(MANY, [7, `{${PROJECT}}`]);
    const ids: string[] = [];
    for (let after: string | null = ''; after !== null;) {
      const { json }: Answered<answers.LetterPage> = await get(`/letters?limit=2${after && `&after=${after}`}`);
      expect(json.letters.length).toBeLessThanOrEqual(2);
      ids.push(...json.letters.map(({ id }) => id));
      after = json.next;
    }
    const expected = await shell.query('select id from failed_events order by created_at, id');
    expect(ids).toEqual(expected.map(({ id }) => id));
  });

  test('a replay does not call stored what somebody discards or divides meanwhile', async () => {
    const write = (shares: [string, number][], quarantined = 'refused') => shell.writeLetter({ shares, quarantined });
    // More than ten are discarded in one step, whose audit entry names none of them.
    const group = await Promise.all(Array.from({ length: 12 }, () => write([[PROJECT, 1]])));
    const one = await write([[PROJECT, 1]]);
    const [chosen, returned, landed, untried] = await Promise.all(
      [3, 1, 1, 1].map((events) => write([[OTHER, events]])),
    );
    const shared = await write([
      [PROJECT, 1],
      [OTHER, 1],
    ]);
    const file = (await shell.succeed('export', returned!.id)).stdout;
    const begun = await post<answers.JobStarted>('/letters/replay', { selection: { by: 'all' } });
    let isFirst = true;
    const job = await api.ended(begun, ({ progress }) => {
      if (progress.step !== 'replaying' || !isFirst) return;
      isFirst = false;
      void meanwhile();
    });
    const after = { stored: 2, discarded: 13, divided: 2, refused: 0, refusedEvents: 0, waiting: 0, untried: 1 };
    expect(job.result['after']).toEqual({ ...after, why: 'the drain is paused' });

    async function meanwhile() {
      const discard = async (ids: string[]) =>
        api.ended(await post('/letters/discard', { selection: { by: 'ids', ids }, reason: 'not wanted' }));
      await discard(group.map(({ id }) => id));
      await discard([one.id, returned!.id]);
      // Parts of these are quarantined once more, or were never tried.
      await post(`/letters/${chosen!.id}/replay-rows`, { only: '1' });
      await api.ended(
        await post('/letters/discard', { selection: { by: 'project', projectId: PROJECT }, reason: 'x' }),
      );
      await shell.query(
        `update failed_events set quarantined_at = now(), quarantine_reason = 'x' where parent_id = $1`,
        [chosen!.id],
      );
      // What was put back and landed then is stored, as is what landed at once.
      await shell.put(file);
      await shell.query('delete from failed_events where id = any($1)', [[returned!.id, landed!.id]]);
      expect(await shell.idsNow()).toContain(untried!.id);
      expect(await shell.idsNow()).not.toContain(shared.id);
      await put('/drain', { position: 'paused' });
    }
  });

  test('a replay, a discard and a dry run are jobs whose results are those of the commands, and are in the audit', async () => {
    const first = await shell.writeLetter({ shares: [[PROJECT, 3]], unreadable: 1, quarantined: 'refused' });
    const second = await shell.writeLetter({ shares: [[OTHER, 2]], quarantined: 'refused' });
    const selection = { by: 'ids', ids: [first.id] };
    const count = await post<answers.LetterCount>('/letters/count', { selection });
    expect(count.json).toMatchObject({ letters: 1, events: 4, quarantined: { letters: 1 } });

    const tried = await api.ended(await post('/letters/try', { selection }));
    expect(tried).toMatchObject({ state: 'done', kind: 'try', by: 'ada' });
    expect(tried.result).toEqual(await shell.json('replay', first.id, '--dry-run'));

    await put('/drain', { position: 'paused' });
    const replayed = await api.ended(await post('/letters/replay', { selection }));
    expect(replayed.result).toMatchObject({ letters: 1, events: 4, replaying: 0, drain: 'paused' });
    expect(replayed.result).toMatchObject({ after: { untried: 1, why: 'the drain is paused' } });

    const discarded = await api.ended(
      await api
        .as({ name: 'bob' })
        .ask('POST', '/letters/discard', { selection: { by: 'ids', ids: [second.id] }, reason: 'test' }),
    );
    expect(discarded.result).toEqual({ letters: 1, events: 2, shared: 0, doubtful: 0, unreadable: [], left: 0 });
    const audit = (await get<answers.AuditPage>('/letters/audit')).json.entries;
    expect(audit).toEqual((await shell.json<{ entries: unknown[] }>('audit')).entries);
    expect(audit.map(({ action, actor }) => `${actor}: ${action}`)).toEqual([
      'bob: discard',
      'ada: replay',
      'ada: drain paused',
    ]);
    const own = await get<answers.AuditPage>(`/letters/audit?letter=${second.id}&limit=1`);
    expect(own.json).toMatchObject({ entries: [{ letterId: second.id, detail: { reason: 'test' } }], next: null });
    const { jobs } = (await get<answers.JobPage>('/jobs')).json;
    // Pages ask for the list again and again: what came of each is asked for once.
    expect(jobs.every((job) => !('result' in job))).toBe(true);
    expect(jobs.slice(0, 3).map(({ kind }) => kind)).toEqual(['discard', 'replay', 'try']);
  });

  test('some rows of a letter become due in a letter of their own', async () => {
    const { id } = await shell.writeLetter({ shares: [[PROJECT, 3]], quarantined: 'refused' });
    const { json } = await post<{ letterId: string }>(`/letters/${id}/replay-rows`, { only: '1,3' });
    expect(json).toMatchObject({ events: 2, left: 1 });
    expect(await shell.idsNow()).toContain(json.letterId);
    expect((await post(`/letters/${json.letterId}/replay-rows`, { only: 'x' })).status).toBe(400);
  });

  test('an export is the file of the command', async () => {
    await shell.writeLetter({
      shares: [
        [PROJECT, 3],
        [OTHER, 1],
      ],
    });
    await shell.writeLetter({ shares: [[OTHER, 2]] });
    const exported = await get('/letters/export?all=true');
    expect(exported.text).toBe((await shell.succeed('export', '--all')).stdout);
    expect(exported.headers.get('content-disposition')).toContain('attachment');
    expect((await get(`/letters/export?project=${OTHER}`)).text).toBe(
      (await shell.succeed('export', '--project', OTHER)).stdout,
    );
    expect((await get('/letters/export')).status).toBe(400);
    expect((await get(`/letters/export?all=true&group=x`)).status).toBe(400);
    expect((await api.as({ showsEvents: false }).ask('GET', '/letters/export?all=true')).status).toBe(403);
  });

  test('rows stand beside the columns, with what does not fit and the statement that mends it', async () => {
    const table = `${shell.stores.database}.events_raw_v1`;
    await shell.stores.clickhouse.command({
      query: `ALTER TABLE ${table} ADD CONSTRAINT paid CHECK JSONExtractFloat(properties, 'amount') >= 0`,
    });
    try {
      const { id } = await shell.writeLetter({
        shares: [[PROJECT, 2]],
        unreadable: 1,
        properties: '{"amount":-1,"note":"<b>hidden-note</b>"}',
      });
      const { json } = await get<answers.LetterRows>(`/letters/${id}/rows`);
      expect(json).toMatchObject({ total: 3, refused: 3, isComplete: true, why: null, next: null });
      expect(json.columns).toContainEqual({ name: 'timestamp', type: "DateTime64(3, 'UTC')", isCarried: true });
      const [unread, paid] = ['reading', 'storing'].map((when) => json.refusals.find((one) => one.when === when)!);
      expect(unread).toMatchObject({ column: 'timestamp', members: ['timestamp'], statement: null });
      expect(paid).toMatchObject({ constraint: 'paid', members: ['properties.amount'] });
      expect(json.rows.filter(({ refusal }) => json.refusals[refusal!] === undefined)).toEqual([]);
      const hidden = await api.as({ showsEvents: false }).ask('GET', `/letters/${id}/rows`);
      expect(hidden.text).not.toContain('hidden-');

      await shell.stores.clickhouse.command({ query: paid!.statement! });
      const mended = await get<answers.LetterRows>(`/letters/${id}/rows?refused=true`);
      expect(mended.json).toMatchObject({ refused: 1, rows: [{ place: 2 }] });
    } finally {
      await shell.stores.clickhouse.command({ query: `ALTER TABLE ${table} DROP CONSTRAINT IF EXISTS paid` });
    }
  });

  test('of a column whose type somebody changed the statement puts it back', async () => {
    const table = `${shell.stores.database}.events_raw_v1`;
    const { id } = await shell.writeLetter({ shares: [[PROJECT, 1]] });
    await shell.stores.clickhouse.command({ query: `ALTER TABLE ${table} MODIFY COLUMN session_id Nullable(UUID)` });
    try {
      await shell.query(`update failed_events set payload = payload`);
      const bad = await shell.writeLetter({ shares: [[PROJECT, 1]], sessionId: '"no uuid"' });
      const { json } = await get<answers.LetterRows>(`/letters/${bad.id}/rows`);
      expect(json.drift).toHaveLength(1);
      expect(json.refusals).toMatchObject([{ column: 'session_id', statement: json.drift[0]!.remedy }]);
      await shell.stores.clickhouse.command({ query: json.refusals[0]!.statement! });
      expect((await get<answers.LetterRows>(`/letters/${bad.id}/rows`)).json.refused).toBe(0);
    } finally {
      await shell.stores.clickhouse.command({
        query: `ALTER TABLE ${table} MODIFY COLUMN session_id Nullable(String)`,
      });
    }
    expect((await get<answers.LetterRows>(`/letters/${id}/rows?limit=1&after=7`)).json).toMatchObject({
      rows: [],
      next: null,
    });
  });
});

describe('two operators at once', () => {
  test('change each letter once, and each sees what was done', async () => {
    // A project that is known without letters, too: one of the two may begin when the other has ended.
    const { json } = await post<answers.Project>('/projects', { name: `shared ${randomUUIDv7()}` });
    const selection = { by: 'project', projectId: json.id };
    await shell.query(MANY, [3_000, `{${json.id}}`]);
    await put('/drain', { position: 'paused' });
    const [ada, bob] = [api, api.as({ name: 'bob' })];
    const begun = await Promise.all([
      ada.ask('POST', '/letters/discard', { selection, reason: 'one' }),
      bob.ask('POST', '/letters/discard', { selection, reason: 'two' }),
    ]);
    const done = await Promise.all(begun.map((one) => api.ended(one)));
    expect(done.reduce((sum, { result }) => sum + Number(result['letters']), 0)).toBe(3_000);
    expect(done.map(({ result }) => result['left'])).toEqual([0, 0]);
    const [sum] = await shell.query(
      `select sum(event_count)::int as events from failed_events_audit where action = 'discard'`,
    );
    expect(sum).toEqual({ events: 15_000 });
    expect(new Set(done.map(({ by }) => by))).toEqual(new Set(['ada', 'bob']));
  });
});

test('a discard touches no more than was counted, whatever comes while somebody says why', async () => {
  const counted = ['quarantined', 'group', 'project'] as const;
  const letter = { shares: [[PROJECT, 2]], quarantined: 'refused' } as const;
  for (const by of counted) {
    await shell.clear();
    const waiting = await shell.writeLetter({ shares: [[PROJECT, 2]] });
    await shell.writeLetter(letter);
    const [{ group }] = (await shell.query('select error_fingerprint as group from failed_events limit 1')) as [
      { group: string },
    ];
    const selection = { by, ...(by === 'group' && { group }), ...(by === 'project' && { projectId: PROJECT }) };
    const count = await post<answers.LetterCount>('/letters/count', { selection });
    const later = await shell.writeLetter(letter);
    // It was there before, but not among what was counted.
    if (by === 'quarantined') {
      await shell.query(`update failed_events set quarantined_at = now(), quarantine_reason = 'x' where id = $1`, [
        waiting.id,
      ]);
    }
    const { asOf } = count.json;
    const done = await api.ended(await post('/letters/discard', { selection, reason: 'test', asOf }));
    expect(done.result).toMatchObject({ letters: count.json.letters, events: count.json.events, left: 0 });
    expect(await shell.idsNow()).toEqual([...(by === 'quarantined' ? [waiting.id] : []), later.id].toSorted());
  }
});

test('a dry run of many letters keeps the reasons that somebody reads, and counts the others', async () => {
  const bad = { shares: [[PROJECT, 1]], unreadable: 30, quarantined: 'refused' } as const;
  for (let letter = 0; letter < 6; letter += 1) await shell.writeLetter(bad);
  const { result } = await api.ended(await post('/letters/try', { selection: { by: 'quarantined' } }));
  const letters = result['letters'] as readonly { refused: number; reasons: readonly unknown[] }[];
  expect(letters.map(({ refused }) => refused)).toEqual([30, 30, 30, 30, 30, 30]);
  expect(letters.map(({ reasons }) => reasons.length)).toEqual([20, 20, 20, 20, 20, 0]);
});

describe('jobs', () => {
  test('one that is stopped ends after its step; what it did stays, and the rest is as it was', async () => {
    await shell.query(MANY, [6_000, `{${PROJECT}}`]);
    const begun = await post<answers.JobStarted>('/letters/discard', {
      selection: { by: 'group', group: 'g' },
      reason: 'x',
    });
    const { id } = begun.json.job;
    await post(`/jobs/${id}/stop`);
    const job = await api.ended(begun);
    expect(job.state).toBe('stopped');
    const [{ n }] = (await shell.query('select count(*)::int as n from failed_events')) as [{ n: number }];
    const [{ gone }] = (await shell.query(
      `select coalesce(sum(event_count), 0)::int / 5 as gone from failed_events_audit where action = 'discard'`,
    )) as [{ gone: number }];
    expect(n + gone).toBe(6_000);
    expect(n).toBeGreaterThan(0);
    expect((await post(`/jobs/${NOWHERE}/stop`)).status).toBe(404);
    expect((await get(`/jobs/${NOWHERE}`)).status).toBe(404);
  });

  test('more than a few at once are refused', async () => {
    const { id } = await shell.writeLetter({ shares: [[PROJECT, 1]] });
    const wanted = { selection: { by: 'ids', ids: [id] }, perSecond: 0.001 };
    // The letter is due and nobody replays it: each of these jobs waits.
    await put('/drain', { position: 'running' });
    const begun = await Promise.all(
      Array.from({ length: 6 }, () => post<answers.JobStarted>('/letters/replay', wanted)),
    );
    const refused = begun.filter(({ status }) => status === 409);
    expect(refused.length).toBe(2);
    expect(refused[0]!.text).toContain('jobs are running already');
    for (const { status, json } of begun) if (status === 202) await post(`/jobs/${json.job.id}/stop`);
    await Promise.all(begun.filter(({ status }) => status === 202).map((one) => api.ended(one)));
  });
});

test('the switches move once, with the name of who moved them', async () => {
  expect((await put('/intake', { position: 'disabled' })).json).toEqual({ intake: 'disabled', changed: true });
  expect((await put('/intake', { position: 'disabled' })).json).toEqual({ intake: 'disabled', changed: false });
  const { stdout } = await shell.weir('intake', 'status', '--json');
  expect((await get('/intake')).json).toEqual(JSON.parse(stdout));
  expect((await get('/intake')).json).toMatchObject({ by: 'ada' });
  expect((await put('/drain', { position: 'paused' })).json).toEqual({ drain: 'paused', changed: true });
  expect((await get('/drain')).json).toMatchObject({ position: 'paused', by: 'ada' });
});

describe('projects', () => {
  test('from creation to deletion, each change in the audit', async () => {
    const name = '<script>alert(1)</script>';
    const created = await post<answers.Project>('/projects', {
      name,
      retention: '90d',
      allowedOrigins: ['https://a.example'],
    });
    expect(created).toMatchObject({ status: 201, json: { name, retention: '90d', retentionSeconds: 7_776_000 } });
    expect(created.headers.get('content-type')).toContain('application/json');
    const { id } = created.json;
    const listed = JSON.parse((await shell.weir('project', 'list', '--json')).stdout) as unknown[];
    expect((await get<answers.ProjectPage>('/projects?limit=500')).json.projects).toEqual(listed);

    const token = await post<answers.NewToken>(`/projects/${id}/tokens`, { kind: 'public', name: '"><img src=x>' });
    expect(token.json.token).toMatch(/^mere_pub_/);
    const imported = await post<answers.NewToken>(`/projects/${id}/tokens`, { kind: 'secret', import: 'short-key' });
    expect(imported).toMatchObject({ status: 201, json: { isGuessable: true } });
    expect(imported.json.token).toBeUndefined();
    const tokens = await get<answers.TokenPage>(`/projects/${id}/tokens`);
    expect(tokens.json.tokens).toEqual(
      JSON.parse((await shell.weir('token', 'list', '--project', id, '--json')).stdout),
    );
    const page = await get<answers.TokenPage>(`/projects/${id}/tokens?limit=1`);
    expect((await get<answers.TokenPage>(`/projects/${id}/tokens?limit=1&after=${page.json.next}`)).json).toMatchObject(
      {
        tokens: [{ id: imported.json.id }],
        next: null,
      },
    );
    expect((await api.ask('DELETE', `/tokens/${token.json.id}`)).json).toEqual({ revoked: token.json.id });
    expect((await api.ask('DELETE', `/tokens/${token.json.id}`)).status).toBe(404);

    const origins = ['https://shop.example.com', 'https://*.shop.example.com'];
    const set = await shell.weir('project', 'origins', id, ...origins, '--actor', 'ada', '--json');
    expect(JSON.parse(set.stdout)).toEqual({ id, name, allowedOrigins: origins, changed: true });
    expect((await shell.weir('project', 'origins', id)).stdout).toBe(`${origins.join('\n')}\n`);
    expect((await get<answers.ProjectDetails>(`/projects/${id}`)).json).toMatchObject({ allowedOrigins: origins });
    expect((await put(`/projects/${id}/origins`, { allowedOrigins: origins })).json).toMatchObject({ changed: false });
    expect((await put(`/projects/${id}/origins`, { allowedOrigins: [] })).json).toEqual({
      id,
      allowedOrigins: [],
      changed: true,
    });
    expect((await put(`/projects/${id}/retention`, { retention: '24h' })).json).toMatchObject({
      retention: '24h',
      changed: true,
    });
    const effect = await get<answers.RetentionEffect>(`/projects/${id}/retention?to=none`);
    expect(effect.json).toMatchObject({ retention: 'none', stored: 0, differing: 0, expiring: 0 });
    const changed = await api.ended(await put(`/projects/${id}/retention`, { retention: 'none', existing: true }));
    expect(changed.result).toMatchObject({ retention: 'none', changed: true, stored: { changed: 0 }, deadLetters: 0 });
    const details = await get<answers.ProjectDetails>(`/projects/${id}`);
    expect(details.json).toMatchObject({ name, usage: [], why: null, allowedOrigins: [], moreTokens: false });

    const deleted = await api.ended(await api.ask('DELETE', `/projects/${id}`));
    expect(deleted).toMatchObject({ state: 'done', result: { deleted: id, deadLetters: { left: 0 } } });
    expect((await get(`/projects/${id}`)).status).toBe(404);
    const audit = await shell.query('select actor, action from failed_events_audit order by id');
    expect(audit.map(({ actor, action }) => `${String(actor)}: ${String(action)}`)).toEqual(
      [
        'project create',
        'token create',
        'token create',
        'token revoke',
        'origins',
        'origins',
        'retention',
        'retention',
        'project delete',
      ].map((action) => `ada: ${action}`),
    );
  });

  test('may end and leave its events', async () => {
    const id = await shell.createProject('archive');
    expect((await api.ask('DELETE', `/projects/${id}?keepEvents=true`)).json).toEqual({
      deleted: id,
      keptEvents: true,
    });
  });
});

describe('rejected events', () => {
  const keep = (project: string, reason: string, bytes: string) =>
    shell.query(
      `insert into rejected_events (id, project_id, door, path, kind, reason, bytes, size, position, facts, received_at)
       values ($1, $2, 'native', '/api/v1/ingest/events', 'missing_field', $3, $4, $5, 0, '{"sentAt":null,"ip":null,"userAgent":null}', now())`,
      [randomUUIDv7(), project, reason, Buffer.from(bytes), bytes.length],
    );

  test('are listed, shown and replayed as the commands do', async () => {
    const project = await shell.createProject('rejecting');
    await keep(project, '<script>alert(1)</script> required', '{"secret":"hidden-value"}');
    await keep(project, 'timestamp required', '{"event":"paid","anonymous_id":"a","timestamp":"2026-05-04T09:00:00Z"}');
    await keep(project, 'event required', '{"timestamp":"2026-05-04T09:00:00Z"}');
    const listed = JSON.parse(
      (await shell.weir('rejected', 'ls', '--project', project, '--json')).stdout,
    ) as answers.RejectedPage;
    const all = await get<answers.RejectedPage>(`/rejected?project=${project}`);
    expect(all.json).toEqual({ events: listed.events, next: null });
    expect(all.json.events).toHaveLength(3);

    const ids: string[] = [];
    for (let after: string | null = ''; after !== null;) {
      const filter: string = `project=${project}&door=native&kind=missing_field&limit=1${after && `&after=${after}`}`;
      const { json }: Answered<answers.RejectedPage> = await get(`/rejected?${filter}`);
      ids.push(...json.events.map(({ id }) => id));
      after = json.next;
    }
    expect(ids).toEqual(listed.events.map(({ id }) => id));
    expect((await get<answers.RejectedPage>(`/rejected?project=${project}&kind=too_deep`)).json.events).toEqual([]);

    // Those of one moment are in no order.
    const secret = listed.events.find(({ reason }) => reason.startsWith('<script>'))!.id;
    const hidden = await api.as({ showsEvents: false }).ask('GET', `/rejected/${secret}`);
    expect(hidden.json).toEqual(JSON.parse((await shell.weir('rejected', 'show', secret, '--json')).stdout));
    expect(hidden.text).not.toContain('hidden-value');
    expect((await get(`/rejected/${secret}`)).text).toContain('hidden-value');

    const selection = { projectId: project };
    const dryRun = await shell.weir('rejected', 'replay', '--project', project, '--dry-run', '--json');
    const tried = await api.ended(await post('/rejected/replay', { selection, dryRun: true }));
    expect(tried.result).toEqual(JSON.parse(dryRun.stdout));
    expect(tried.result).toMatchObject({ accepted: 1, dryRun: true });
    const replayed = await api.ended(await post('/rejected/replay', { selection }));
    expect(replayed.result).toMatchObject({ accepted: 1, passedOver: 0, dryRun: false });
    expect(replayed.progress).toEqual({ step: 'decoding', done: 3, total: 3 });
    expect(await shell.auditNow()).toMatchObject([{ action: 'import', actor: 'ada', detail: { rejected: true } }]);
  });
});

describe('asking', () => {
  test('answers SQL as the project endpoint does, and hides it from whoever may not see events', async () => {
    const id = await shell.createProject('asked');
    const sql = `SELECT 1 AS n, '=1+1' AS text, 'a "b"' AS quoted, NULL AS none`;
    const json = await post<answers.QueryAnswer>(`/projects/${id}/query`, { sql });
    expect(json.json).toMatchObject({ rows: [[1, '=1+1', 'a "b"', null]], stats: { rows: 1, truncated: false } });
    expect(await post(`/projects/${id}/query`, { sql: 'SELEKT' })).toMatchObject({
      status: 400,
      json: { code: 'query_refused' },
    });
    expect((await post(`/projects/${NOWHERE}/query`, { sql })).status).toBe(404);
    expect((await api.as({ showsEvents: false }).ask('POST', `/projects/${id}/query`, { sql })).status).toBe(403);

    await shell.stores.clickhouse.command({
      query: `INSERT INTO events_raw_v1 (project_id, event_id, event, anonymous_id, timestamp, received_at)
        VALUES ('${id}', generateUUIDv4(), 'asked about', 'a1', now64(3), now64(3))`,
    });
    const schema = await get<answers.ProjectSchema>(`/projects/${id}/schema`);
    expect(schema.json.tables.map(({ name }) => name)).toContain('events');
    expect(schema.json.events).toEqual(['asked about']);
    const hidden = await api.as({ showsEvents: false }).ask('GET', `/projects/${id}/schema`);
    expect(hidden.json).toEqual({ ...schema.json, events: [] });
    const { recipes } = (await get<answers.Cookbook>('/cookbook')).json;
    expect(recipes.length).toBeGreaterThan(20);
    expect(recipes).toContainEqual(expect.objectContaining({ chapter: 'Activity', title: 'Top events' }));
    const answered = await post<answers.QueryAnswer>(`/projects/${id}/query`, {
      sql: recipes.find(({ title }) => title === 'Top events')!.sql,
    });
    expect(answered.status).toBe(200);
  });
});

test('the ledger and the examination are those of the command', async () => {
  const { stdout } = await shell.weir('doctor', '--reconcile', '--project', PROJECT, '--json');
  expect((await get(`/ledger?project=${PROJECT}`)).json).toEqual(JSON.parse(stdout));
  // Nobody listens there.
  expect(await get('/ledger')).toMatchObject({ status: 503, json: { code: 'store_unavailable' } });
  const { checks } = (await get<answers.Doctor>('/doctor')).json;
  const printed = JSON.parse((await shell.weir('doctor', '--json')).stdout) as answers.Check[];
  expect(checks.map(({ name }) => name)).toEqual(printed.map(({ name }) => name));
});

describe('bad requests', () => {
  const id = NOWHERE;
  test.each<[string, string, unknown, RegExp]>([
    ['GET', '/letters?limit=0', undefined, /limit/],
    ['GET', '/letters?limit=501', undefined, /limit/],
    ['GET', '/letters?limit=1&limit=2', undefined, /limit/],
    ['GET', '/letters?state=gone', undefined, /state/],
    ['GET', '/letters?after=x', undefined, /after/],
    ['GET', '/letters?sort=id', undefined, /sort/],
    ['GET', `/letters?group=a&project=${id}`, undefined, /exclude/],
    ['GET', '/letters/x', undefined, /UUID/],
    ['GET', '/letters/x/rows', undefined, /UUID/],
    ['GET', '/letters/audit?after=-1', undefined, /after/],
    ['POST', '/letters/count', {}, /selection/],
    ['POST', '/letters/count', { selection: { by: 'luck' } }, /selection/],
    ['POST', '/letters/try', { selection: { by: 'ids', ids: [] } }, /ids/],
    ['POST', '/letters/try', { selection: { by: 'all' }, sample: 0 }, /sample/],
    ['POST', '/letters/replay', { selection: { by: 'ids', ids: ['x'] } }, /ids/],
    ['POST', '/letters/replay', { selection: { by: 'all' }, perSecond: -1 }, /perSecond/],
    ['POST', '/letters/discard', { selection: { by: 'quarantined' } }, /reason/],
    ['POST', '/letters/discard', { selection: { by: 'quarantined' }, reason: 'x', asOf: 'soon' }, /asOf/],
    ['POST', '/letters/discard', { selection: { by: 'all' }, reason: 'x' }, /all letters/],
    ['POST', '/letters/discard', { selection: { by: 'quarantined' }, reason: ' ' }, /reason/],
    ['POST', '/letters/discard', { selection: { by: 'quarantined' }, reason: 'x', extra: 1 }, /extra/],
    ['GET', '/jobs/x', undefined, /UUID/],
    ['PUT', '/intake', { position: 'ajar' }, /position/],
    ['PUT', '/drain', {}, /position/],
    ['GET', '/rejected?kind=odd', undefined, /kind/],
    ['GET', '/rejected?door=!', undefined, /door/],
    ['POST', '/rejected/replay', { selection: { kind: 'odd' } }, /kind/],
    ['POST', '/projects', { name: ' ' }, /name/i],
    ['POST', '/projects', { name: 'x', retention: '1s' }, /duration/i],
    ['POST', '/projects', { name: 'x', allowedOrigins: ['nowhere'] }, /origin/i],
    ['PUT', `/projects/${id}/retention`, { retention: 'long' }, /duration/i],
    ['PUT', `/projects/${id}/origins`, {}, /allowedOrigins/],
    ['POST', `/projects/${id}/tokens`, { kind: 'both' }, /kind/],
    ['POST', `/projects/${id}/query`, { sql: 1 }, /sql/],
    ['GET', '/ledger?project=x', undefined, /project/],
  ])('%s %s %j is refused, and the field is named', async (method, path, body, words) => {
    const answer = await api.ask(method, path, body);
    expect(answer).toMatchObject({ status: 400, json: { code: 'invalid_request' } });
    expect(answer.json['error']).toMatch(words);
  });

  test('a body that is no JSON, or is not called so, is refused', async () => {
    expect((await api.ask('PUT', '/drain', '{')).json).toMatchObject({ code: 'invalid_json' });
    const form = await api.ask('PUT', '/drain', '{"position":"paused"}', { 'Content-Type': 'text/plain' });
    expect(form).toMatchObject({ status: 415, json: { code: 'not_json' } });
    expect((await get<answers.Drain>('/drain')).json.position).toBe('running');
  });

  test('what does not exist is not found', async () => {
    const paths = [
      `/letters/${id}`,
      `/letters/${id}/rows`,
      `/rejected/${id}`,
      `/projects/${id}`,
      `/projects/${id}/tokens`,
      `/projects/${id}/schema`,
    ];
    for (const path of paths) expect((await get(path)).status, path).toBe(404);
    expect((await post('/letters/count', { selection: { by: 'group', group: 'none' } })).status).toBe(404);
    expect((await post('/rejected/replay', { selection: { ids: [id] } })).status).toBe(404);
  });
});

describe('a process without an event store', () => {
  test('says so, and still shows letters and projects', async () => {
    const bare = startOperatorApi({
      ...shell.env,
      WEIR_ROLE: 'ingest',
      CHANNEL: 'kafka',
      KAFKA_BROKERS: '127.0.0.1:9',
      KAFKA_TOPIC: 't',
    });
    try {
      const project = await shell.createProject('away');
      const { id } = await shell.writeLetter({ shares: [[project, 1]] });
      expect((await bare.ask('GET', '/letters')).status).toBe(200);
      expect((await bare.ask<answers.LetterRows>('GET', `/letters/${id}/rows`)).json).toMatchObject({
        isComplete: null,
        why: expect.stringContaining('WEIR_ROLE=ingest'),
        total: 1,
      });
      expect((await bare.ask<answers.ProjectDetails>('GET', `/projects/${project}`)).json).toMatchObject({
        usage: null,
        why: expect.stringContaining('WEIR_ROLE=ingest'),
      });
      for (const [method, path, body] of [
        ['POST', '/letters/try', { selection: { by: 'all' } }],
        ['GET', `/projects/${project}/schema`, undefined],
        ['POST', `/projects/${project}/query`, { sql: 'SELECT 1' }],
        ['DELETE', `/projects/${project}`, undefined],
        ['GET', '/ledger', undefined],
      ] as const) {
        expect(await bare.ask(method, path, body), path).toMatchObject({
          status: 503,
          json: { code: 'store_unavailable' },
        });
      }
    } finally {
      await bare.close();
    }
  });
});

describe('the description', () => {
  test('is a valid OpenAPI 3.1 document', async () => {
    expect(await new Validator().validate(JSON.parse(JSON.stringify(document)))).toEqual({ valid: true });
  });

  test('is served, and has every route', async () => {
    const { json } = await get<{ paths: Record<string, object> }>('/openapi.json');
    const served = api.routes.routes.filter(({ method }) => method !== 'ALL');
    const paths = new Set(served.map(({ method, path }) => `${method} ${BASE}${path.replaceAll(/:(\w+)/g, '{$1}')}`));
    const listed = Object.entries(json.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    const others = OTHERS.map(({ method, path }) => `${method} ${BASE}${path}`);
    expect(new Set(listed)).toEqual(new Set([...paths, ...others]));
    expect(await new Validator().validate(json)).toEqual({ valid: true });
    expect(listed.length).toBeGreaterThan(30);
  });

  test('marks the POSTs that change nothing', () => {
    expect(routes.filter(({ isReading }) => isReading).map(({ path }) => path)).toEqual(READING_POSTS);
  });

  test('holds for every answer of this file', () => {
    expect(problems).toEqual([]);
  });
});

const dataFailureOf = (code: number) =>
  new InsertFailure(`ClickHouse error ${code}: <script>alert(1)</script>`, { failureClass: 'data', code });

/** So many letters of five events, of one cause and age. */
const MANY = `INSERT INTO failed_events (id, payload, raw_bytes, event_count, project_ids, error_class, error_fingerprint, last_error)
  SELECT gen_random_uuid(), '\\x00', 100, 5, $2::uuid[], 'data', 'g', 'refused' FROM generate_series(1, $1::int) AS n`;
