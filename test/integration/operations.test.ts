/** What operators do, called as functions: without the command line, its texts and its questions. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createEventOperations } from '../../src/clickhouse/operations/event-operations.ts';
import { changeOrigins } from '../../src/operations/change-origins.ts';
import { changeRetention, changeStoredRetention } from '../../src/operations/change-retention.ts';
import { createProject } from '../../src/operations/create-project.ts';
import { createToken } from '../../src/operations/create-token.ts';
import { deleteProject } from '../../src/operations/delete-project.ts';
import { discardDeadLetters } from '../../src/operations/discard-dead-letters.ts';
import { readDrain, setDrain } from '../../src/operations/drain-switch.ts';
import { exportDeadLetters } from '../../src/operations/export-dead-letters.ts';
import { findProject } from '../../src/operations/find-project.ts';
import { importDeadLetters } from '../../src/operations/import-dead-letters.ts';
import { readIntake, setIntake } from '../../src/operations/intake-switch.ts';
import { OperationRefused, type RefusalReason } from '../../src/operations/refused.ts';
import { replayDeadLetters } from '../../src/operations/replay-dead-letters.ts';
import { replayRows } from '../../src/operations/replay-rows.ts';
import { revokeToken } from '../../src/operations/revoke-token.ts';
import { showDeadLetter } from '../../src/operations/show-dead-letter.ts';
import { tryDeadLetters } from '../../src/operations/try-dead-letters.ts';
import { failureOf } from '../../src/pipeline/outcome.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { type Operator, startOperator } from '../support/operator.ts';
import { OTHER_PROJECT, PROJECT } from '../support/factory.ts';
import { createEventStoreFake } from '../support/fakes.ts';

let operator: Operator;
beforeAll(async () => {
  operator = await startOperator();
});
afterAll(() => operator.stop());
beforeEach(() => operator.clear());

const NOWHERE = '0198c0de-0000-7000-8000-00000000dead';
const actor = 'ada';
const db = () => operator.stores.postgres.db;

async function expectRefused(reason: RefusalReason, work: Promise<unknown>): Promise<string> {
  const failure = await failureOf(work);
  expect(failure).toBeInstanceOf(OperationRefused);
  expect(failure).toMatchObject({ reason });
  return failure!.message;
}

test('replay makes letters due, reports each step, and names who did it', async () => {
  const one = await operator.writeLetter({ shares: [[PROJECT, 3]], quarantined: 'refused' });
  await operator.writeLetter({ shares: [[PROJECT, 2]] });
  const steps: number[] = [];
  const asked: string[] = [];
  const done = await replayDeadLetters(
    db(),
    { selection: { by: 'all' }, perSecond: null, actor },
    {
      during: (what, work) => {
        asked.push(what);
        return work;
      },
      done: ({ letters }) => void steps.push(letters),
    },
  );
  expect(done).toEqual({ letters: 2, events: 5, replaying: 0, drain: 'running' });
  expect([asked, steps]).toEqual([['Counting'], [2]]);
  expect(await operator.auditNow()).toContainEqual(
    expect.objectContaining({ letter: one.id, action: 'replay', actor, events: 3 }),
  );
  const selection = { by: 'ids', ids: [one.id, NOWHERE] } as const;
  expect(await expectRefused('not-found', replayDeadLetters(db(), { selection, perSecond: null, actor }))).toContain(
    NOWHERE,
  );
});

test('some rows of a letter are replayed alone, and a choice without rows is refused', async () => {
  const { id } = await operator.writeLetter({ shares: [[PROJECT, 4]], quarantined: 'refused' });
  await expectRefused('not-found', replayRows(db(), { id, isMeant: () => false, actor }));
  expect(await operator.idsNow()).toEqual([id]);
  const done = await replayRows(db(), { id, isMeant: (_, place) => place === 2, actor });
  expect(done).toMatchObject({ events: 1, left: 3 });
  expect(await operator.idsNow()).toContain(done.deadLetterId);
});

test('a dry run needs nothing of the event store but `inspect`, and changes nothing', async () => {
  const { id } = await operator.writeLetter({ shares: [[PROJECT, 3]] });
  const before = await operator.lettersNow();
  const events = createEventStoreFake();
  const trials = await tryDeadLetters(
    { db: db(), events: { name: 'ClickHouse', store: events } },
    { selection: { by: 'all' }, sample: null },
  );
  expect(trials).toEqual({
    letters: [{ id, events: 3, wouldPass: 3, refused: 0, unknown: 0, reasons: [] }],
    total: 1,
  });
  events.down = true;
  await expectRefused(
    'store',
    tryDeadLetters(
      { db: db(), events: { name: 'ClickHouse', store: events } },
      { selection: { by: 'all' }, sample: null },
    ),
  );
  expect(await operator.lettersNow()).toEqual(before);
});

test('discard asks first, leaves everything when the answer throws, and needs a reason', async () => {
  const { id } = await operator.writeLetter({ shares: [[PROJECT, 3]] });
  const selection = { by: 'all' } as const;
  const confirm = async () => {
    throw new Error('no');
  };
  expect(await failureOf(discardDeadLetters(db(), { selection, reason: 'test', actor, confirm }))).toMatchObject({
    message: 'no',
  });
  await expectRefused('invalid', discardDeadLetters(db(), { selection, reason: ' \n', actor }));
  expect(await operator.idsNow()).toEqual([id]);
  const done = await discardDeadLetters(db(), { selection, reason: 'test', actor });
  expect(done).toMatchObject({ removed: { letters: 1, events: 3, unreadable: [] }, left: 0 });
  expect(await operator.idsNow()).toEqual([]);
});

test('discard leaves what comes while it asks', async () => {
  await operator.writeLetter({ shares: [[PROJECT, 3]] });
  let later = '';
  const confirm = async () => {
    ({ id: later } = await operator.writeLetter({ shares: [[PROJECT, 2]] }));
  };
  const done = await discardDeadLetters(db(), { selection: { by: 'all' }, reason: 'test', actor, confirm });
  expect(done).toMatchObject({ removed: { letters: 1, events: 3 }, left: 0 });
  expect(await operator.idsNow()).toEqual([later]);
});

test('what is exported comes back as it was, once; a file that is cut off gives what precedes the cut', async () => {
  await operator.writeLetter({ shares: [[PROJECT, 3]], quarantined: 'refused' });
  await operator.writeLetter({
    shares: [
      [PROJECT, 1],
      [OTHER_PROJECT, 2],
    ],
  });
  const before = await operator.idsNow();
  const file: Buffer[] = [];
  for await (const { bytes } of exportDeadLetters(db(), { selection: { by: 'all' }, rowsOnly: false })) {
    file.push(bytes!);
  }
  await discardDeadLetters(db(), { selection: { by: 'all' }, reason: 'test', actor });
  const put = (bytes: Buffer) =>
    importDeadLetters(db(), {
      source: (async function* () {
        yield bytes;
      })(),
      actor,
    });
  const cut = await put(Buffer.concat(file).subarray(0, -1));
  expect(cut).toMatchObject({ restored: 1, present: 0 });
  expect(cut.stoppedBy?.message).toContain('Letter 2 of the file');
  expect(await put(Buffer.concat(file))).toMatchObject({ restored: 1, present: 1, stoppedBy: null });
  expect(await operator.idsNow()).toEqual(before);
});

test('a letter is shown without the values of its events unless they are asked for', async () => {
  const { id } = await operator.writeLetter({ shares: [[PROJECT, 3]] });
  const shown = await showDeadLetter(db(), { id, maxRows: 2, isUnsafe: false });
  expect([shown.rows.length, shown.more, shown.isReadable]).toEqual([2, 1, true]);
  expect(JSON.parse(shown.rows[0]!)).toMatchObject({ project_id: PROJECT, event: '<string>' });
  const unsafe = await showDeadLetter(db(), { id, maxRows: 1, isUnsafe: true });
  expect(JSON.parse(unsafe.rows[0]!)).not.toMatchObject({ event: '<string>' });
  await expectRefused('not-found', showDeadLetter(db(), { id: NOWHERE, maxRows: 1, isUnsafe: false }));
});

test('both switches say whether they moved, since when, and by whom', async () => {
  expect(await setDrain(db(), { position: 'paused', actor })).toBe(true);
  expect(await setDrain(db(), { position: 'paused', actor: 'eve' })).toBe(false);
  expect(await readDrain(db())).toMatchObject({ position: 'paused', by: actor });
  expect(await readIntake(db())).toEqual({ position: 'open', since: null, by: null });
  expect(await setIntake(db(), { position: 'disabled', actor })).toBe(true);
  expect(await readIntake(db())).toMatchObject({ position: 'disabled', by: actor });
});

test('a project from its creation to its deletion', async () => {
  const project = { name: 'shop', retentionSeconds: null, allowedOrigins: ['https://*.example.com'] };
  await expectRefused(
    'invalid',
    createProject(db(), { ...project, allowedOrigins: ['https://a.example/path'] }, { actor }),
  );
  const { id } = await createProject(db(), project, { actor });
  await expectRefused('invalid', createProject(db(), { ...project, name: ' ' }, { actor }));
  const origins = ['https://shop.example.com'];
  expect(await changeOrigins(db(), { projectId: id, allowedOrigins: origins, actor })).toBe(true);
  expect(await changeOrigins(db(), { projectId: id, allowedOrigins: origins, actor })).toBe(false);
  expect((await findProject(db(), id)).allowedOrigins).toEqual(origins);
  await expectRefused('invalid', changeOrigins(db(), { projectId: id, allowedOrigins: ['nowhere'], actor }));
  await expectRefused('not-found', changeOrigins(db(), { projectId: NOWHERE, allowedOrigins: [], actor }));
  const token = { projectId: id, kind: 'secret', name: null, imported: null } as const;
  await expectRefused('not-found', createToken(db(), { ...token, projectId: NOWHERE }, { actor }));
  await expectRefused('invalid', createToken(db(), { ...token, imported: 'mere_pub_00000000' }, { actor }));
  const created = await createToken(db(), { ...token, imported: `key-of-${id}` }, { actor });
  await expectRefused('conflict', createToken(db(), { ...token, imported: `key-of-${id}` }, { actor }));
  await revokeToken(db(), created.id, { actor });
  await expectRefused('not-found', revokeToken(db(), created.id, { actor }));

  expect(await changeRetention(db(), { projectId: id, retentionSeconds: 86_400, actor })).toBe(true);
  const { clickhouse: client, database } = operator.stores;
  const events = createEventOperations({ client, clock: systemClock }, { database });
  const stores = { db: db(), events, clock: systemClock };
  const wanted = { projectId: id, retentionSeconds: 86_400, actor };
  expect(await changeStoredRetention(stores, wanted)).toEqual({
    isChanged: false,
    rewritten: { changed: 0, expired: 0, left: 0 },
    letters: 0,
  });

  await operator.writeLetter({
    shares: [
      [id, 2],
      [OTHER_PROJECT, 1],
    ],
  });
  const { letters, tables } = await deleteProject(stores, { id, actor });
  expect(letters).toMatchObject({ removed: { events: 2, shared: 1 }, left: 0 });
  expect(tables.every(({ left }) => left === 0)).toBe(true);

  const own = await operator.query(
    `select action, actor, detail from failed_events_audit where detail -> 'projects' ? $1 and event_count = 0 order by id`,
    [id],
  );
  expect(own.map((entry) => entry['actor'])).toEqual(own.map(() => actor));
  expect(own.map(({ action }) => action)).toEqual([
    'project create',
    'origins',
    'token create',
    'token revoke',
    'retention',
    'project delete',
  ]);
  expect(JSON.stringify(own)).not.toContain('key-of-');
  expect(await operator.lettersNow()).toMatchObject([{ project_ids: [OTHER_PROJECT], event_count: 1 }]);
  await expectRefused('not-found', findProject(db(), id));
});
