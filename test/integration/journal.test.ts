/**
 * The journal under a real Weir that is killed and started again. What clients
 * were told is compared with what the stores hold, by id.
 *
 *   WEIR_KILL_ROUNDS=200 WEIR_KILL_SEED=7 vitest run --project integration test/integration/journal.test.ts -t SIGKILL
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { isReady, until } from '../chaos/rig.ts';
import { randomOf } from '../support/factory.ts';
import { type Grounds, NEVER, endCleanly, filesIn, startGrounds } from '../support/grounds.ts';
import { auditOf, wrongIn } from '../support/load.ts';
import { runWeir } from '../support/weir.ts';

const ROUNDS = Number(process.env['WEIR_KILL_ROUNDS'] ?? 3);
const SEED = Number(process.env['WEIR_KILL_SEED'] ?? 1);

let grounds: Grounds;
let rig: Grounds['rig'];

beforeAll(async () => {
  grounds = await startGrounds();
  rig = grounds.rig;
});
afterAll(() => rig?.stop());
beforeEach(() => grounds.clear());
afterEach(() => grounds.endLatest());

describe('SIGKILL', () => {
  type ConnectionTrouble = { readonly begin: () => unknown; readonly killsAgain?: boolean };
  const TROUBLES: Record<string, ConnectionTrouble> = {
    none: { begin: () => {} },
    'ClickHouse frozen': { begin: () => rig.stores.clickhouseServer.pause() },
    'answers of inserts lost': {
      begin: () => rig.clickhouse.set({ kind: 'cut-answer' }, { only: 'inserts', times: 3 }),
    },
    'killed again while it starts': { begin: () => {}, killsAgain: true },
    'ClickHouse away': { begin: () => rig.clickhouse.refuse() },
    'both stores away': { begin: () => Promise.all([rig.clickhouse.refuse(), rig.postgres.refuse()]) },
  };

  test(
    `${ROUNDS} times at random moments under load: of what was answered nothing is lost, nothing doubled`,
    { timeout: 60_000 + ROUNDS * 60_000 },
    async () => {
      const random = randomOf(SEED);
      const weir = await grounds.newWeir({ INGEST_INSERT_TIMEOUT: '1s' });
      let answered = 0;
      const names = Object.keys(TROUBLES);
      for (let round = 0; round < ROUNDS; round++) {
        const name = names[round % names.length]!;
        const stop = new AbortController();
        const load = grounds.load(weir, { seed: SEED + round, stop: stop.signal });
        await sleep(random() * 500);
        await TROUBLES[name]!.begin();
        await sleep(50 + random() * 700);
        await weir.kill();
        if (TROUBLES[name]!.killsAgain) {
          const starting = weir.start().catch(() => {});
          await sleep(random() * 1_000);
          await weir.kill();
          await starting;
        }
        await weir.start();
        await sleep(random() * 300);
        await grounds.heal();
        await until('ready', () => isReady(weir.url()));
        stop.abort();
        await load.done;
        answered += load.acknowledged();
        await grounds.rest(weir);
        const audit = await auditOf(rig.stores, grounds.tally());
        const { attempted, stored, lost, doubledInTable, rollupExcess, invented } = audit;
        expect({ round, trouble: name, seed: SEED, wrong: wrongIn(audit) }).toMatchObject({ wrong: [] });
        if (ROUNDS > 6) {
          const figures = { round, name, attempted, stored, answered };
          const wrong = { lost: lost.length, doubled: doubledInTable.length, rollupExcess, invented: invented.length };
          process.stderr.write(`${JSON.stringify({ ...figures, ...wrong })}\n`);
        }
      }
      const promises = new Set(grounds.tally().acknowledgedIds().values());
      expect([...promises].filter((level) => level === 'queued')).toEqual([]);
      expect(answered).toBeGreaterThan(ROUNDS);
      expect(rig.clickhouse.rewrittenTokens()).toEqual([]);
    },
  );

  test('control: what was only queued may go with the process, and the audit sees it', async () => {
    const weir = await grounds.newWeir({ ...NEVER, INGEST_JOURNAL: 'off' });
    await grounds.accept(weir, 10, 'queued');
    await weir.kill();
    await grounds.startAt(weir);
    const audit = await auditOf(rig.stores, grounds.tally());
    expect({ lost: audit.lost.length, lostQueued: audit.lostQueued }).toEqual({ lost: 10, lostQueued: 10 });
  });
});

describe('an idempotency key', () => {
  test.each(['header', 'batch_id'])(
    'in %s gets its first answer also after kill -9 and after an orderly restart; another body is refused',
    async (where) => {
      const weir = await grounds.newWeir(NEVER);
      const more = where === 'batch_id' ? { batch_id: 'a key' } : {};
      const key = where === 'header' ? { key: 'a key' } : {};
      const { ids, body } = grounds.newBody(3, more);
      const other = grounds.newBody(3, more);
      const first = await grounds.post(weir, body, key);
      expect(first).toMatchObject({ status: 202, ack: 'journaled' });
      grounds.tally().acknowledge(ids, 'journaled');
      for (const end of [() => weir.kill(), () => weir.terminate()]) {
        await end();
        await grounds.startAt(weir);
        expect(await grounds.post(weir, body, key)).toEqual(first);
        const mismatch = await grounds.post(weir, other.body, key);
        expect(mismatch!.status).toBe(422);
        expect(JSON.parse(mismatch!.text)).toMatchObject({ code: 'idempotency_mismatch' });
      }
      await endCleanly(weir);
      await grounds.startAt(weir);
      await grounds.expectKept(weir);
    },
  );

  test('makes trying again safe whatever became of the first request', async () => {
    const weir = await grounds.newWeir();
    const random = randomOf(SEED);
    const requests = Array.from({ length: 100 }, (_, index) => ({ ...grounds.newBody(5), key: `request ${index}` }));
    const sending = Promise.all(requests.map(({ body, key }) => grounds.post(weir, body, { key })));
    await sleep(random() * 60);
    await weir.kill();
    const firsts = await sending;
    await grounds.startAt(weir);
    for (const [index, { ids, body, key }] of requests.entries()) {
      const again = await grounds.post(weir, body, { key });
      expect(again).toMatchObject({ status: 202 });
      if (firsts[index]) expect(again).toEqual(firsts[index]);
      grounds.tally().acknowledge(ids, again!.ack!);
    }
    await grounds.expectKept(weir);
  });
});

test('both stores away at the end: it exits with 0, nothing needs saving, and the next start stores everything once', async () => {
  const weir = await grounds.newWeir();
  await grounds.accept(weir, 10, 'stored');
  await rig.clickhouse.refuse();
  await rig.postgres.refuse();
  await Promise.all(Array.from({ length: 10 }, () => grounds.accept(weir, 50)));
  await endCleanly(weir);
  expect(filesIn(join(weir.dataDir, 'saved'))).toEqual([]);
  await weir.start();
  await grounds.heal();
  await until('ready', () => isReady(weir.url()));
  await grounds.expectKept(weir);
});

test('whoever asks for stored is answered when it is stored, not at the next flush', async () => {
  const weir = await grounds.newWeir(NEVER);
  expect((await grounds.accept(weir, 1, 'stored')).ack).toBe('stored');
  expect(await auditOf(rig.stores, grounds.tally())).toMatchObject({ stored: 1, lost: [] });
});

test('a second process on the same journal says so and exits with 1; the first goes on', async () => {
  const weir = await grounds.newWeir();
  // The file that would tell it even before it looks at the journal.
  rmSync(join(weir.dataDir, 'runtime.json'));
  const { stores } = rig;
  const second = await runWeir(['serve'], {
    cwd: weir.dataDir,
    env: {
      PORT: '0',
      WEIR_DATA_DIR: weir.dataDir,
      DATABASE_URL: stores.databaseUrl,
      CLICKHOUSE_URL: stores.clickhouseUrl,
    },
  });
  expect(second.code).toBe(1);
  expect(second.stderr).toContain(`the journal is in use by pid ${weir.pid()} on`);
  expect((await grounds.accept(weir, 1, 'stored')).ack).toBe('stored');
});
