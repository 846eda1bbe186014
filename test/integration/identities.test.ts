/** Ids that mean nobody link no strangers: in what arrives, in what was linked before, and after it is taken back. */
import { randomUUIDv7 } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { migrateClickHouse, readMigrations } from '../../src/clickhouse/migrations/migrate.ts';
import { isPlaceholderIn } from '../../src/clickhouse/operations/identity-links.ts';
import { isPlaceholderId } from '../../src/event/placeholder-ids.ts';
import { type Operator, startOperator } from '../support/operator.ts';

let operator: Operator;
beforeAll(async () => {
  operator = await startOperator();
});
afterAll(() => operator.stop());

const NIL = '00000000-0000-0000-0000-000000000000';
const NOBODY = [
  ['undefined', 'null', 'NaN', '[object Object]', '0', '-1', 'none', 'None', 'NULL', 'anonymous', 'guest', 'Guest'],
  ['distinct_id', 'true', 'FALSE', ' ', '\u200b', '\t null\n', 'n/a', 'nil', NIL, NIL.replaceAll('-', ''), `{${NIL}}`],
  [
    `urn:uuid:${NIL}`,
    NIL.replaceAll('0', 'f'),
    NIL.replaceAll('0', 'F'),
    '00',
    '\ufeffundefined\u00a0',
    '{{ user.id }}',
  ],
  ['${userId}', '[]', '{}', '""', '<nil>', '(null)', 'unknown', 'id', 'uuid'],
].flat();
const SOMEBODY = [
  [
    'nullius',
    'guest1',
    'undefined1',
    'anonymous-7',
    '1',
    '10',
    '-2',
    'f',
    'fff',
    '007',
    'none of us',
    'Noneya',
    'é',
    '日本',
  ],
  [
    '00000000-0000-0000-0000-000000000001',
    `${NIL}x`,
    'ffff-1',
    'a@b.example',
    'user',
    'object',
    '[object]',
    '{',
    '$',
    'idea',
  ],
].flat();

type Sent = { readonly event?: string; readonly anonymous?: string | null; readonly user?: string | null };
let second = 0;
async function land(projectId: string, sent: readonly Sent[]) {
  const values = sent.map(({ event = 'seen', anonymous = null, user = null }) => ({
    project_id: projectId,
    event_id: randomUUIDv7(),
    event,
    anonymous_id: anonymous,
    user_id: user,
    timestamp: '2026-05-04 12:00:00.000',
    properties: '{}',
    extras: '{}',
    source: 'native',
    received_at: new Date(Date.UTC(2026, 4, 4, 12) + (second += 1) * 1_000)
      .toISOString()
      .replace('T', ' ')
      .slice(0, 23),
  }));
  await operator.stores.clickhouse.insert({ table: 'events_raw_v1', values, format: 'JSONEachRow' });
}
const identify = (anonymous: string, user: string): Sent => ({ event: '$identify', anonymous, user });

const linksOf = async (projectId: string) =>
  (
    await operator.stores.select<{ anonymous_id: string; user_id: string }>(
      `SELECT anonymous_id, user_id FROM identities WHERE project_id = '${projectId}' ORDER BY anonymous_id`,
    )
  ).map(({ anonymous_id, user_id }) => `${anonymous_id}→${user_id}`);

/** Links as Weir made them before it knew of nobody. */
async function linkAsBefore(projectId: string, pairs: readonly (readonly [string, string])[]) {
  const before = readMigrations().find(({ name }) => name.startsWith('0003_'))!.text;
  const query = /CREATE MATERIALIZED VIEW[^]*? AS\n(SELECT[^]*?);/.exec(before)![1]!;
  await operator.stores.clickhouse.command({ query: `ALTER TABLE identity_links_mv MODIFY QUERY ${query}` });
  await land(
    projectId,
    pairs.map(([anonymous, user]) => identify(anonymous, user)),
  );
  const now = readMigrations().findLast(({ text }) => text.includes('MODIFY QUERY'))!.text;
  const again = /ALTER TABLE identity_links_mv MODIFY QUERY\n[^]*?;/.exec(now)![0].slice(0, -1);
  await operator.stores.clickhouse.command({ query: again });
}

test('SQL and JavaScript know the same ids', async () => {
  const ids = [...NOBODY, ...SOMEBODY];
  const rows = await operator.stores.select<{ known: boolean[] }>(
    `SELECT arrayMap(id -> ${isPlaceholderIn('id')} = 1, [${ids.map((id) => `unhex('${Buffer.from(id).toString('hex')}')`).join()}]) AS known`,
  );
  expect(ids.filter((_, index) => rows[0]!.known[index])).toEqual(NOBODY);
  expect(ids.filter(isPlaceholderId)).toEqual(NOBODY);
});

test('the view that links says it word for word, whenever it was changed', () => {
  const texts = readMigrations().filter(({ text }) => text.includes('ALTER TABLE identity_links_mv'));
  expect(texts.length).toBeGreaterThan(1);
  for (const { text } of texts) {
    const query = /ALTER TABLE identity_links_mv MODIFY QUERY\n[^]*?;/.exec(text)![0];
    expect(text).toContain(query.slice(query.indexOf('SELECT')));
    for (const column of ['events_raw_v1.user_id', 'events_raw_v1.anonymous_id'])
      expect(query).toContain(`NOT ${isPlaceholderIn(column)}`);
  }
});

test('the migration says it word for word', () => {
  const { text } = readMigrations().find(({ name }) => name.endsWith('_ids_of_nobody'))!;
  for (const column of ['events_raw_v1.user_id', 'events_raw_v1.anonymous_id', 'anonymous_id', 'user_id', 'id'])
    expect(text).toContain(`NOT ${isPlaceholderIn(column)}`);
});

test('what arrives with such an id is stored and links nothing', async () => {
  const projectId = await operator.createProject('arriving');
  await land(projectId, [
    ...NOBODY.flatMap((nobody, i) => [
      identify(nobody, `real-${i}`),
      { event: `seen-${i}`, anonymous: nobody },
      identify(`a-${i}-1`, nobody),
      identify(`a-${i}-2`, nobody),
    ]),
    identify('known', 'user'),
    { event: 'known', anonymous: 'known' },
  ]);
  expect(await linksOf(projectId)).toEqual(['known→user']);
  const seen = await operator.stores.select<{ distinct_id: string | null }>(
    `SELECT distinct_id FROM events WHERE project_id = '${projectId}' AND startsWith(event, 'seen-')`,
  );
  expect(seen).toEqual(NOBODY.map(() => ({ distinct_id: null })));
  const persons = await operator.stores.select<{
    distinct_id: string;
    anonymous_ids: string[];
    is_identified: number;
  }>(
    `SELECT distinct_id, anonymous_ids, is_identified FROM persons WHERE project_id = '${projectId}' ORDER BY distinct_id`,
  );
  expect(persons).toEqual(
    [
      ...NOBODY.flatMap((_, i) => [
        { distinct_id: `real-${i}`, anonymous_ids: [], is_identified: 1 },
        { distinct_id: `a-${i}-1`, anonymous_ids: [`a-${i}-1`], is_identified: 0 },
        { distinct_id: `a-${i}-2`, anonymous_ids: [`a-${i}-2`], is_identified: 0 },
      ]),
      { distinct_id: 'user', anonymous_ids: ['known'], is_identified: 1 },
    ].sort((a, b) => (a.distinct_id < b.distinct_id ? -1 : 1)),
  );
});

describe('what was linked before', () => {
  test('is left out, counted by doctor, and taken back by a command that shows it first', async () => {
    const [projectId, other] = [await operator.createProject('linked before'), await operator.createProject('another')];
    await linkAsBefore(projectId, [
      ['undefined', 'alice'],
      ['a1', 'null'],
      ['a2', 'null'],
      ['a3', 'bob'],
      ['a2', 'carol'],
      ['a4', 'dave'],
      ['a4', 'NaN'],
    ]);
    await linkAsBefore(other, [['undefined', 'eve']]);
    await land(projectId, [{ anonymous: 'a1' }, { anonymous: 'undefined' }]);
    expect(await linksOf(projectId)).toEqual(['a3→bob', 'a4→dave']);

    const doctor = await operator.weir('doctor', '--json');
    const checks = JSON.parse(doctor.stdout) as { name: string; outcome: string; detail: string; remedy: string }[];
    const check = checks.find(({ name }) => name === 'identity links')!;
    expect(check).toMatchObject({ outcome: 'warn', remedy: expect.stringContaining('weir identities clean') });
    expect(Number(/^\d+/.exec(check.detail)![0])).toBeGreaterThanOrEqual(4);

    const dry = await operator.weir('identities', 'clean', '--project', projectId);
    expect(dry).toMatchObject({ code: 0, stdout: expect.stringMatching(/user_id\s+null\s+2\n/) });
    expect(dry.stderr).toContain('Nothing was changed');
    const links = () => operator.stores.select(`SELECT count() AS n FROM identity_links WHERE project_id = '${other}'`);
    const untouched = await links();

    const unasked = await operator.weir('identities', 'clean', '--project', projectId, '--apply');
    expect(unasked).toMatchObject({ code: 1, stderr: expect.stringContaining('--yes') });

    const args = ['identities', 'clean', '--project', projectId, '--apply', '--yes', '--json', '--actor', 'tester'];
    const done = await operator.weir(...args);
    expect(done.code, done.stderr).toBe(0);
    const told = JSON.parse(done.stdout) as object;
    expect(told).toMatchObject({ applied: true, actor: 'tester', projects: [{ project: projectId, left: 0 }] });
    // a2 was carol's from her own arrival on; the wrong link before it had hidden that.
    expect(await linksOf(projectId)).toEqual(['a2→carol', 'a3→bob', 'a4→dave']);
    expect(await links()).toEqual(untouched);

    const again = await operator.weir(...args);
    expect(JSON.parse(again.stdout)).toMatchObject({ applied: true, projects: [] });
    expect(await linksOf(projectId)).toEqual(['a2→carol', 'a3→bob', 'a4→dave']);
  });

  test('the migration may be applied twice, and finds what is there', async () => {
    const { clickhouse, database } = operator.stores;
    await clickhouse.command({
      query: `ALTER TABLE schema_migrations DELETE WHERE endsWith(name, '_ids_of_nobody') SETTINGS mutations_sync = 2`,
    });
    const applied = await migrateClickHouse(clickhouse, database);
    expect(applied).toEqual([expect.stringMatching(/_ids_of_nobody$/)]);
  });
});
