import { randomUUIDv7 } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { splitRows } from '../../src/event/rows.ts';
import { type Operator, startOperator } from '../support/operator.ts';

const OURS = randomUUIDv7();
const THEIRS = randomUUIDv7();

let operator: Operator;
beforeAll(async () => {
  operator = await startOperator();
});
afterAll(() => operator.stop());
beforeEach(() => operator.clear());

describe('discard', () => {
  test('needs a yes, deletes, and keeps count, name and reason', async () => {
    const one = await operator.writeLetter({ shares: [[OURS, 3]], quarantined: 'refused' });
    const two = await operator.writeLetter({ shares: [[OURS, 2]] });
    expect(await operator.dlq('discard', one.id, '--reason', 'test data')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('--yes'),
    });
    expect(await operator.idsNow()).toEqual([one.id, two.id]);

    await operator.succeed('discard', '--all-quarantined', '--reason', 'test data', '--yes', '--actor', 'ada');
    expect(await operator.idsNow()).toEqual([two.id]);
    const detail = { reason: 'test data', projects: [OURS], ambiguous: false, group: expect.any(String) };
    expect(await operator.auditNow()).toEqual([{ letter: one.id, action: 'discard', actor: 'ada', events: 3, detail }]);
    expect(await operator.dlq('discard', one.id, '--reason', 'x', '--yes')).toMatchObject({ code: 1 });
  });

  test('of one project takes exactly its rows, byte for byte, and leaves the others as they were', async () => {
    const shared = await operator.writeLetter({
      shares: [
        [OURS, 3],
        [THEIRS, 2],
        [OURS, 1],
      ],
      quarantined: 'refused',
    });
    const own = await operator.writeLetter({ shares: [[OURS, 2]] });
    const foreign = await operator.writeLetter({ shares: [[THEIRS, 2]] });
    const before = await operator.lettersNow();

    expect(await operator.json('discard', '--project', OURS, '--reason', 'asked to', '--yes')).toMatchObject({
      letters: 2,
      events: 6,
      shared: 1,
      left: 0,
    });
    const rest = (await operator.lettersNow()).find((letter) => letter['parent_id'] === shared.id)!;
    expect((await operator.idsNow()).toSorted()).toEqual([foreign.id, rest['id'] as string].toSorted());
    expect(rest).toMatchObject({
      event_count: 2,
      project_ids: [THEIRS],
      generation: 1,
      quarantine_reason: 'refused',
      ambiguous: false,
    });
    expect(rest.rows).toEqual(Buffer.concat(splitRows(shared.rows).slice(3, 5)));
    expect((await operator.lettersNow()).find((letter) => letter['id'] === foreign.id)).toEqual(
      before.find((letter) => letter['id'] === foreign.id),
    );
    const audit = await operator.auditNow();
    expect(audit.map(({ action, events }) => [action, events])).toEqual([
      ['discard', 2],
      ['split', 6],
      ['discard', 4],
    ]);
    expect(audit[0]!['letter']).toBe(own.id);
    expect(audit[1]).toMatchObject({
      letter: shared.id,
      detail: {
        parts: [
          { events: 4, discarded: true },
          { id: rest['id'], events: 2 },
        ],
      },
    });
  });

  test('what is left of a letter in doubt waits until ClickHouse has to be asked', async () => {
    await operator.writeLetter({
      shares: [
        [OURS, 1],
        [THEIRS, 1],
      ],
      ambiguous: true,
    });
    await operator.succeed('discard', '--project', OURS, '--reason', 'x', '--yes');
    expect(
      await operator.query(
        `select ambiguous, visible_at - last_attempt_at > interval '5 minutes' as is_late from failed_events`,
      ),
    ).toEqual([{ ambiguous: true, is_late: true }]);
    await operator.succeed('replay', '--all');
    expect(
      await operator.query(`select visible_at - last_attempt_at > interval '5 minutes' as is_late from failed_events`),
    ).toEqual([{ is_late: true }]);
  });

  test('a letter that is being replayed is left, and that is no success', async () => {
    const { id } = await operator.writeLetter({
      shares: [
        [OURS, 1],
        [THEIRS, 1],
      ],
    });
    await operator.lease(id, 60);
    for (const which of [[id], ['--project', OURS]]) {
      const { code, stderr } = await operator.dlq('discard', ...which, '--reason', 'x', '--yes');
      expect({ code, stderr }).toMatchObject({ code: 1, stderr: expect.stringContaining('1 letter skipped') });
    }
    expect(await operator.idsNow()).toEqual([id]);
    expect(await operator.auditNow()).toEqual([]);
  });

  test('a shared letter that cannot be read is not guessed about', async () => {
    const { id } = await operator.writeLetter({
      shares: [
        [OURS, 1],
        [THEIRS, 1],
      ],
    });
    await operator.query(`update failed_events set payload = 'x' where id = $1`, [id]);
    const { code, stderr } = await operator.dlq('discard', '--project', OURS, '--reason', 'x', '--yes');
    expect(code).toBe(1);
    expect(stderr).toContain(id);
    expect(await operator.idsNow()).toEqual([id]);
  });
});

/** What must come back as it was: all but when it is sent and whether ClickHouse is asked first, which an import decides anew. */
async function essence() {
  const letters = await operator.lettersNow();
  const decided = new Set(['payload', 'visible_at', 'later', 'ambiguous']);
  return letters.map((letter) => Object.fromEntries(Object.entries(letter).filter(([name]) => !decided.has(name))));
}

describe('export and import', () => {
  test('export, discard, import restores the same letters byte for byte, once', async () => {
    const hostile = '{"a":"\\u0000\\ud800","b":1.0e5,"b":2, "z":"ü"}';
    const one = await operator.writeLetter({
      shares: [
        [OURS, 3],
        [THEIRS, 2],
      ],
      quarantined: 'refused',
      properties: hostile,
    });
    await operator.writeLetter({ shares: [[THEIRS, 700]] });
    const before = await essence();

    const { stdout } = await operator.succeed('export', '--all');
    const file = join(operator.cwd, 'letters.ndjson');
    writeFileSync(file, stdout);
    expect(stdout.split('\n').filter((line) => line.startsWith('{"project_id"'))).toHaveLength(705);
    await operator.succeed('discard', '--all-quarantined', '--reason', 'x', '--yes');
    await operator.succeed('discard', '--project', THEIRS, '--reason', 'x', '--yes');
    expect(await operator.idsNow()).toEqual([]);
    await operator.query('truncate failed_events_audit');

    const imported = await operator.succeed('import', file, '--actor', 'ada');
    expect(imported.stderr).toContain('2 letters (705 events) put back');
    expect(await essence()).toEqual(before);
    expect((await operator.query('select bool_and(ambiguous) as all from failed_events'))[0]).toEqual({
      all: true,
    });
    expect(await operator.auditNow()).toMatchObject([
      { letter: one.id, action: 'import', actor: 'ada', events: 5 },
      { action: 'import', events: 700 },
    ]);

    expect(JSON.parse((await operator.dlq('import', file, '--json')).stdout)).toMatchObject({
      restored: 0,
      present: 2,
    });
    expect(await essence()).toEqual(before);
    expect(await operator.auditNow()).toHaveLength(2);
  });

  test('a letter whose rows may be stored under other ids is asked about before it is sent, also when it comes back', async () => {
    const [asked, sent] = [
      await operator.writeLetter({ shares: [[OURS, 2]], ambiguous: true, askFirst: true }),
      await operator.writeLetter({ shares: [[OURS, 2]], ambiguous: true }),
    ];
    const { stdout } = await operator.succeed('export', '--all');
    await operator.query('truncate failed_events, failed_events_audit');
    expect(await operator.put(stdout)).toMatchObject({ code: 0 });
    const found = await operator.query(
      'select id, ambiguous, last_attempt_at is null as is_unknown from failed_events order by id',
    );
    expect(found).toEqual([
      { id: asked.id, ambiguous: true, is_unknown: true },
      { id: sent.id, ambiguous: true, is_unknown: false },
    ]);
  });

  test('--rows-only is the stored bytes and nothing else, and cannot be imported', async () => {
    const { id, rows } = await operator.writeLetter({ shares: [[OURS, 3]] });
    const { stdout } = await operator.succeed('export', id, '--rows-only');
    expect(Buffer.from(stdout)).toEqual(rows);
    const refused = await operator.put(stdout);
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('--rows-only') });
  });

  test('of one project holds its rows alone, and comes back as a letter of its own', async () => {
    const shared = await operator.writeLetter({
      shares: [
        [OURS, 2],
        [THEIRS, 2],
      ],
      quarantined: 'refused',
    });
    const { stdout } = await operator.succeed('export', '--project', OURS);
    const [header, ...lines] = stdout.trimEnd().split('\n');
    expect(lines.join('\n')).toBe(Buffer.concat(splitRows(shared.rows).slice(0, 2)).toString().trimEnd());
    expect(JSON.parse(header!)).toMatchObject({ events: 2, project_ids: [OURS], parent_id: shared.id });
    const put = () => operator.put(stdout, '--json');

    // Its rows lie in the shared letter: they would be there twice.
    expect(await put()).toMatchObject({ code: 1, stdout: expect.stringContaining('"divided":1') });
    expect(await operator.idsNow()).toEqual([shared.id]);
    await operator.succeed('discard', '--project', OURS, '--reason', 'x', '--yes');
    expect(await put()).toMatchObject({ code: 0, stdout: expect.stringContaining('"restored":1') });
    const found = await operator.lettersNow();
    const parts = [0, 2].map((from) => Buffer.concat(splitRows(shared.rows).slice(from, from + 2)).toString());
    expect(new Set(found.map(({ rows }) => rows.toString()))).toEqual(new Set(parts));
    expect(
      await operator.query('select id from failed_events where id = $1', [(JSON.parse(header!) as { id: string }).id]),
    ).toHaveLength(1);
  });

  test('what was changed, cut short or is no export is refused, and nothing after it taken', async () => {
    await operator.writeLetter({ shares: [[OURS, 2]] });
    const { stdout } = await operator.succeed('export', '--all');
    await operator.query('truncate failed_events');
    const { put } = operator;
    expect(await put(stdout.replace('hidden-pro', 'hidden-con'))).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('checksum'),
    });
    expect(await put(stdout.slice(0, -20))).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('ends too early'),
    });
    expect(await put('hello\n')).toMatchObject({ code: 1, stderr: expect.stringContaining('weir dlq export') });
    expect(await put(`${stdout}garbage`)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/1 letter .*put back[^]*Letter 2/),
    });
    expect(await operator.dlq('import', '/nonexistent')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('/nonexistent cannot be read'),
    });
    expect(await operator.idsNow()).toHaveLength(1);
  });
});
