import { randomUUIDv7 } from 'node:crypto';
import { zstdCompressSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { InsertFailure } from '../../src/pipeline/ports.ts';
import { type Operator, startOperator } from '../support/operator.ts';
import { dataFailure } from '../support/dead-letters.ts';

const OURS = randomUUIDv7();
const THEIRS = randomUUIDv7();
const GONE = randomUUIDv7();

let operator: Operator;
beforeAll(async () => {
  operator = await startOperator();
});
afterAll(() => operator.stop());
beforeEach(() => operator.clear());

describe('looking', () => {
  test('ls, groups and stats say how many, of whom and why', async () => {
    const waiting = await operator.writeLetter({ shares: [[OURS, 2]] });
    const apart = await operator.writeLetter({
      shares: [
        [OURS, 1],
        [THEIRS, 2],
      ],
      quarantined: 'refused',
    });
    const other = await operator.writeLetter({
      shares: [[THEIRS, 4]],
      failure: new InsertFailure('ClickHouse cannot be reached (ECONNREFUSED)', { failureClass: 'unavailable' }),
    });

    const all = await operator.json<{ letters: { id: string }[] }>('ls');
    expect(all.letters.map(({ id }) => id)).toEqual([waiting.id, apart.id, other.id]);
    const list = await operator.succeed('ls', '--limit', '1');
    expect(list.stdout).toMatch(new RegExp(`^${waiting.id}  waiting +2 +${OURS} `, 'm'));
    expect(list.stderr).toContain('2 more');
    const quarantined = (await operator.succeed('ls', '--quarantined')).stdout;
    expect(quarantined).toMatch(new RegExp(`^${apart.id}  quarantined  3 +2 projects `, 'm'));
    expect(quarantined).not.toContain(waiting.id);
    expect((await operator.succeed('ls', '--waiting')).stdout).not.toContain(apart.id);
    expect((await operator.json('ls', '--project', OURS))['letters']).toHaveLength(2);

    const { groups } = await operator.json<{ groups: Record<string, unknown>[] }>('groups');
    expect(groups).toMatchObject([
      { errorClass: 'data', errorCode: 27, letters: 2, events: 5, waiting: 1, quarantined: 1 },
      { errorClass: 'unavailable', errorCode: null, letters: 1, events: 4, waiting: 1, quarantined: 0 },
    ]);
    expect((await operator.json('ls', '--group', String(groups[1]!['group'])))['letters']).toMatchObject([
      { id: other.id },
    ]);
    expect((await operator.succeed('groups')).stdout).toContain('Cannot parse input');

    const stats = await operator.json('stats');
    expect(stats).toMatchObject({
      byState: { waiting: { letters: 2, events: 6 }, quarantined: { letters: 1, events: 3, bytes: apart.rows.length } },
      drain: { position: 'running' },
    });
    expect((await operator.succeed('stats')).stdout).toMatch(/^total +quarantined +1 +3 /m);
  });

  test('show hides what events say, unless asked not to', async () => {
    const { id, eventIds } = await operator.writeLetter({
      shares: [[OURS, 12]],
      failure: new InsertFailure("ClickHouse error 27: Cannot parse 'hidden-value'", {
        failureClass: 'data',
        code: 27,
      }),
    });
    const { stdout, stderr } = await operator.succeed('show', id);
    expect(stdout + stderr + (await operator.succeed('show', id, '--json')).stdout).not.toContain('hidden');
    expect(stdout).toContain(`"event_id":"${eventIds[0]}"`);
    expect(stdout).toContain('"properties":{"plan":"<string>","n":"<number>"}');
    expect(stdout).toMatch(/^errorCode +27$/m);
    expect(stderr).toContain('2 more rows');
    // As `--only` counts them.
    expect([...stdout.matchAll(/^ *(\d+) {2}\{/gm)].map(([, number]) => Number(number))).toEqual([
      1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
    ]);
    const { rows } = await operator.json<{ rows: unknown[] }>('show', id, '--rows', '2');
    expect(rows).toMatchObject([
      { number: 1, event_id: eventIds[0] },
      { number: 2, event_id: eventIds[1] },
    ]);
    const unsafe = (await operator.succeed('show', id, '--unsafe', '--rows', '100')).stdout;
    expect(unsafe).toContain('hidden-pro');
    expect(unsafe).toContain('hidden-value');
    expect(await operator.dlq('show', GONE)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('There is no dead letter'),
    });
  });

  test('a damaged payload is said to be damaged', async () => {
    const { id } = await operator.writeLetter({ shares: [[OURS, 1]] });
    await operator.query(`update failed_events set payload = 'x' where id = $1`, [id]);
    expect((await operator.succeed('show', id)).stderr).toContain('damaged');
    const exported = await operator.dlq('export', '--all');
    expect(exported).toMatchObject({ code: 1, stdout: '' });
    expect(exported.stderr).toContain(id);
  });
});

describe('replay', () => {
  test('makes quarantined letters due with all attempts before them, and says so in the audit', async () => {
    const apart = await operator.writeLetter({ shares: [[OURS, 3]], quarantined: 'exhausted' });
    const other = await operator.writeLetter({
      shares: [[OURS, 1]],
      quarantined: 'refused',
      failure: dataFailure(72),
    });
    await operator.succeed('replay', apart.id, '--actor', 'ada');
    expect(await operator.lettersNow()).toMatchObject([
      { id: apart.id, quarantined_at: null, quarantine_reason: null, attempt_count: 0, exposed_ms: '0', later: false },
      { id: other.id, quarantine_reason: 'refused', attempt_count: 20 },
    ]);
    expect(await operator.auditNow()).toEqual([
      { letter: apart.id, action: 'replay', actor: 'ada', events: 3, detail: { was: 'quarantined', projects: [OURS] } },
    ]);
    const { entries } = await operator.json<{ entries: object[] }>('audit');
    expect(entries).toMatchObject([{ letterId: apart.id, actor: 'ada', action: 'replay', eventCount: 3 }]);
  });

  test('by group, by project and all', async () => {
    const one = await operator.writeLetter({ shares: [[OURS, 1]], quarantined: 'refused' });
    const two = await operator.writeLetter({
      shares: [[THEIRS, 1]],
      quarantined: 'refused',
      failure: dataFailure(72),
    });
    const left = async () =>
      (await operator.query('select id from failed_events where quarantined_at is not null')).map(({ id }) => id);
    const [group] = await operator.query('select error_fingerprint as name from failed_events where id = $1', [one.id]);
    expect(await operator.json('replay', '--group', String(group!['name']))).toMatchObject({
      letters: 1,
      events: 1,
    });
    expect(await left()).toEqual([two.id]);
    expect(await operator.json('replay', '--project', OURS)).toMatchObject({ letters: 1 });
    expect(await left()).toEqual([two.id]);
    expect(await operator.json('replay', '--all')).toMatchObject({ letters: 2 });
    expect(await left()).toEqual([]);
  });

  test('--rate spreads the letters over time', async () => {
    for (let i = 0; i < 5; i++) await operator.writeLetter({ shares: [[OURS, 1]], quarantined: 'refused' });
    expect((await operator.succeed('replay', '--all', '--rate', '0.5')).stderr).toContain('the last one in 8 s');
    const due = await operator.query(
      'select round(extract(epoch from visible_at - min(visible_at) over ()))::int as s from failed_events order by visible_at',
    );
    expect(due.map(({ s }) => s)).toEqual([0, 2, 4, 6, 8]);
  });

  test('more letters than one step takes', async () => {
    const { id } = await operator.writeLetter({ shares: [[OURS, 1]], quarantined: 'refused' });
    await operator.query(
      `insert into failed_events select (json_populate_record(failed_events, json_build_object('id', gen_random_uuid()))).*
      from failed_events, generate_series(1, 1200) where id = $1`,
      [id],
    );
    expect(await operator.json('replay', '--all', '--rate', '1000')).toMatchObject({
      letters: 1201,
      events: 1201,
    });
    expect(
      await operator.query(
        'select count(distinct visible_at)::int as times, count(*)::int as letters from failed_events',
      ),
    ).toEqual([{ times: 1201, letters: 1201 }]);
    // One entry for each step, which names every letter of it.
    expect(await operator.query('select action, event_count from failed_events_audit order by id')).toEqual([
      { action: 'replay', event_count: 1000 },
      { action: 'replay', event_count: 201 },
    ]);
    const named = await operator.query(
      'select count(distinct id)::int as n from failed_events_audit_letters, unnest(letter_ids) as id where id in (select id from failed_events)',
    );
    expect(named).toEqual([{ n: 1201 }]);
    expect((await operator.succeed('audit', '--letter', id)).stdout).toMatch(/ replay +\S+ +\S+ letters /);
    expect(await operator.json('discard', '--all-quarantined', '--reason', 'x', '--yes')).toMatchObject({
      letters: 0,
    });
    expect(await operator.json('discard', '--project', OURS, '--reason', 'x', '--yes')).toMatchObject({
      letters: 1201,
      events: 1201,
      left: 0,
    });
    expect(await operator.idsNow()).toEqual([]);
  });

  test('leaves a letter alone that is being replayed, and takes one over whose lease ran out, in doubt', async () => {
    const held = await operator.writeLetter({ shares: [[OURS, 1]] });
    const abandoned = await operator.writeLetter({ shares: [[OURS, 1]] });
    await operator.lease(held.id, 60);
    await operator.lease(abandoned.id, -1);
    const before = (await operator.lettersNow())[0];
    expect((await operator.succeed('replay', '--all')).stderr).toContain('1 letter skipped');
    const [first, second] = await operator.lettersNow();
    expect(first).toEqual(before);
    expect(second).toMatchObject({ id: abandoned.id, lease_token: null, ambiguous: true, later: false });
  });

  test('--only makes some events of one letter due; the others stay behind as they were', async () => {
    const { id } = await operator.writeLetter({
      shares: [
        [OURS, 4],
        [THEIRS, 2],
      ],
      quarantined: 'refused',
    });
    const shown = await operator.json<{ rows: { event_id: string }[] }>('show', id, '--unsafe');
    const ids = shown.rows.map(({ event_id }) => event_id);
    const answer = await operator.json<{ letterId: string; events: number; left: number; leftId: string }>(
      'replay',
      id,
      '--only',
      `1,3-4,${ids[5]}`,
    );
    expect(answer).toMatchObject({ events: 4, left: 2 });
    const letters = await operator.lettersNow();
    expect(letters).toHaveLength(2);
    const due = await operator.json<{ state: string; attemptCount: number; rows: { event_id: string }[] }>(
      'show',
      answer.letterId,
      '--unsafe',
    );
    expect([due.state, due.attemptCount]).toEqual(['waiting', 0]);
    expect(due.rows.map(({ event_id }) => event_id)).toEqual([ids[0], ids[2], ids[3], ids[5]]);
    const { letters: quarantined } = await operator.json<{ letters: { eventCount: number }[] }>('ls', '--quarantined');
    expect(quarantined).toMatchObject([{ id: answer.leftId, eventCount: 2 }]);
    for (const [args, why] of [
      [['replay', id, '--only', '1'], 'There is no dead letter'],
      [['replay', answer.letterId, '--only', '9'], 'has no such rows'],
    ] as const) {
      expect(await operator.dlq(...args)).toMatchObject({
        code: 1,
        stderr: expect.stringContaining(why) as string,
      });
    }
    expect((await operator.dlq('replay', '--all', '--only', '1')).stderr).toContain(
      '--only requires the id of exactly one letter',
    );
    expect((await operator.dlq('replay', id, '--only', '0')).stderr).toContain('Rows such as 1,4-6, or event ids.');
    expect(await operator.lettersNow()).toEqual(letters);
    const one = await operator.succeed('replay', answer.leftId, '--only', '2');
    expect(one.stderr).toMatch(/^1 event due again, as letter [0-9a-f-]{36}; 1 remain, as letter [0-9a-f-]{36}\.$/m);
    const [last] = (await operator.json<{ letters: { id: string }[] }>('ls', '--quarantined')).letters;
    expect(one.stderr).toContain(`remain, as letter ${last!.id}.`);
    expect((await operator.succeed('replay', last!.id, '--only', '1')).stderr).not.toContain('remain');
  });

  test('--only leaves no part of a letter in doubt due before ClickHouse is asked about it', async () => {
    const { id } = await operator.writeLetter({ shares: [[OURS, 3]], ambiguous: true });
    await operator.query(`update failed_events set last_attempt_at = now() - interval '4 seconds' where id = $1`, [id]);
    await operator.json('replay', id, '--only', '1');
    const due = await operator.query(
      `select event_count, ambiguous, visible_at >= last_attempt_at + interval '6 minutes' as is_later
       from failed_events order by event_count`,
    );
    expect(due).toEqual([
      { event_count: 1, ambiguous: true, is_later: true },
      { event_count: 2, ambiguous: true, is_later: true },
    ]);
  });

  test('--only divides a letter of one event that was sent twice', async () => {
    const { id, rows } = await operator.writeLetter({ shares: [[OURS, 1]] });
    const twice = Buffer.concat([rows, rows]);
    await operator.query('update failed_events set payload = $2, raw_bytes = $3, event_count = 2 where id = $1', [
      id,
      zstdCompressSync(twice),
      twice.length,
    ]);
    await operator.json('replay', id, '--only', '1');
    const letters = await operator.lettersNow();
    expect(letters.map(({ rows: part }) => part)).toEqual([rows, rows]);
    expect(new Set(letters.map((letter) => letter['id'])).size).toBe(2);
  });

  test('--dry-run says which rows would pass, changes nothing and quotes no event', async () => {
    const bad = await operator.writeLetter({ shares: [[OURS, 40]], unreadable: 2, quarantined: 'refused' });
    const good = await operator.writeLetter({ shares: [[THEIRS, 5]], quarantined: 'exhausted' });
    const before = await operator.lettersNow();
    const { letters } = await operator.json<{ letters: { id: string }[] }>('replay', '--all', '--dry-run');
    expect(letters.find(({ id }) => id === bad.id)).toMatchObject({
      events: 42,
      wouldPass: 40,
      refused: 2,
      unknown: 0,
      reasons: [{ row: 40 }, { row: 41 }],
    });
    expect(letters.find(({ id }) => id === good.id)).toMatchObject({
      events: 5,
      wouldPass: 5,
      refused: 0,
      reasons: [],
    });
    const { stdout, stderr } = await operator.succeed('replay', '--all', '--dry-run');
    expect(stdout).toMatch(new RegExp(`^${bad.id} +42 +40 +2 +0 +ClickHouse error `, 'm'));
    expect(stderr).toContain('45 events would pass, 2 would be refused');
    expect(stdout + stderr).not.toContain('hidden');
    expect(stdout + stderr).not.toContain('no time at all');
    expect(await operator.lettersNow()).toEqual(before);
    expect(await operator.auditNow()).toEqual([]);
  });

  test('what does not exist is a failure that changes nothing', async () => {
    const { id } = await operator.writeLetter({ shares: [[OURS, 1]], quarantined: 'refused' });
    const before = await operator.lettersNow();
    expect(await operator.dlq('replay', id, GONE)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(`no dead letter ${GONE}`),
    });
    expect(await operator.dlq('replay', '--group', '0000')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('weir dlq groups'),
    });
    expect(await operator.dlq('replay', '--all', '--actor', 'drain')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('--actor'),
    });
    expect(await operator.lettersNow()).toEqual(before);
  });
});

describe('switches', () => {
  test('the drain is paused and resumed, once each in the audit', async () => {
    await operator.succeed('pause', '--actor', 'ada');
    expect((await operator.succeed('pause')).stderr).toContain('already');
    expect(await operator.query('select key, value from settings')).toEqual([{ key: 'drain', value: 'paused' }]);
    await operator.writeLetter({ shares: [[OURS, 1]] });
    expect((await operator.succeed('replay', '--all')).stderr).toContain('weir dlq resume');
    await operator.succeed('resume', '--actor', 'bob');
    expect((await operator.auditNow()).map(({ action, actor }) => [action, actor])).toEqual([
      ['drain paused', 'ada'],
      ['replay', expect.any(String)],
      ['drain running', 'bob'],
    ]);
  });

  test('intake status tells since when and by whom', async () => {
    const status = async () => (await operator.weir('intake', 'status')).stdout;
    expect(await status()).toBe('open (never switched)\n');
    expect((await operator.weir('intake', 'disable', '--actor', 'ada')).code).toBe(0);
    expect(await status()).toMatch(/^disabled \(since 20.*, by ada\)\n$/);
    expect((await operator.weir('intake', 'enable', '--json')).stdout).toBe('{"intake":"open","changed":true}\n');
    expect(await status()).toMatch(/^open \(since 20/);
  });
});
