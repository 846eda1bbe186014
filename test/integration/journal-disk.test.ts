/** The journal under a real Weir when its files are damaged, or its disk is full or read-only. */
import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type WeirPlace, healthOf, isReady, until } from '../chaos/rig.ts';
import { type Grounds, NEVER, endCleanly, filesIn, logOf, startGrounds } from '../support/grounds.ts';
import { auditOf } from '../support/load.ts';
import { isSkipped, warnOf } from '../support/small-disk.ts';
import { runWeir, startWeir } from '../support/weir.ts';

const SEED = 1;

let grounds: Grounds;
let rig: Grounds['rig'];

beforeAll(async () => {
  grounds = await startGrounds();
  rig = grounds.rig;
});
afterAll(() => rig?.stop());
beforeEach(() => grounds.clear());
afterEach(() => grounds.endLatest());

describe('a damaged journal', () => {
  const segmentsOf = ({ dataDir }: WeirPlace) =>
    filesIn(join(dataDir, 'journal'))
      .filter((name) => /\.(log|base)$/.test(name))
      .sort();

  /** Three requests that stand in the journal only; then the records of its last file are changed. */
  async function damaged(change: (records: Buffer) => Buffer): Promise<WeirPlace> {
    const weir = await grounds.newWeir(NEVER);
    for (let i = 0; i < 3; i++) await grounds.accept(weir, 10);
    await weir.kill();
    const path = join(weir.dataDir, 'journal', segmentsOf(weir).at(-1)!);
    const content = readFileSync(path);
    const end = content.findLastIndex((byte) => byte !== 0) + 1;
    writeFileSync(path, Buffer.concat([change(content.subarray(0, end)), content.subarray(end)]));
    await grounds.startAt(weir);
    return weir;
  }

  /** It goes on serving, keeps what is readable, and does not stumble over the damage a second time. */
  async function expectLost(weir: WeirPlace, count: number) {
    expect(logOf(weir)).toMatch(/torn end of the journal truncated|journal damaged/);
    expect(logOf(weir)).toContain('journal file is damaged and was set aside');
    expect(filesIn(join(weir.dataDir, 'journal')).filter((name) => name.endsWith('.damaged'))).toHaveLength(1);
    expect((await grounds.accept(weir, 1)).ack).toBe('journaled');
    const said = logOf(weir).length;
    await weir.kill();
    await grounds.startAt(weir);
    expect(logOf(weir).slice(said)).not.toMatch(/torn|damaged/);
    await endCleanly(weir);
    const audit = await auditOf(rig.stores, grounds.tally());
    expect({ lost: audit.lost.length, invented: audit.invented, doubled: audit.doubledInTable }).toEqual({
      lost: count,
      invented: [],
      doubled: [],
    });
  }

  const pageOf = async (weir: WeirPlace) => (await fetch(`${weir.url()}/internal/metrics`)).text();

  test('with half a record and zeroes at its end, which nobody was told of, loses nothing', async () => {
    await expectLost(await damaged((records) => Buffer.concat([records, records.subarray(24, 200)])), 0);
  });

  test('torn within the last record keeps the others', async () => {
    await expectLost(await damaged((records) => records.subarray(0, -20)), 10);
  });

  test('with a bad byte in the middle keeps the records on both sides', async () => {
    const flip = (records: Buffer) => {
      const changed = Buffer.from(records);
      const middle = Math.floor(records.length / 2);
      changed[middle] = changed[middle]! ^ 0xff;
      return changed;
    };
    const weir = await damaged(flip);
    // It says so on its page, with the line that belongs to it; the start after that has found nothing lost.
    expect(await pageOf(weir)).toMatch(/^weir_events_lost_total 10$/m);
    expect(await pageOf(weir)).toMatch(/^weir_unreadable_bytes_total [1-9]\d+$/m);
    expect(logOf(weir)).toMatch(/"events":10,.*"msg":"journal damaged"/);
    await expectLost(weir, 10);
  });
});

warnOf('a journal whose disk has trouble');
// A file system that fills up takes one of its own.
describe.skipIf(isSkipped)('disk trouble', () => {
  const mounted: string[] = [];
  afterEach(async () => {
    await grounds.endLatest();
    for (const dir of mounted.splice(0)) execFileSync('umount', [dir]);
  });

  function mount(dir: string, options: string): void {
    mkdirSync(dir, { recursive: true });
    execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', dir]);
    mounted.push(dir);
  }

  function smallDisk(env: Record<string, string> = {}): WeirPlace {
    const weir = grounds.newPlace(env);
    mount(weir.dataDir, 'size=4m');
    return weir;
  }

  const fillerOf = ({ dataDir }: WeirPlace) => join(dataDir, 'filler');

  function fill(weir: WeirPlace): void {
    const file = openSync(fillerOf(weir), 'w');
    const chunk = Buffer.alloc(4_096);
    try {
      for (;;) writeSync(file, chunk);
    } catch (error) {
      expect(error).toMatchObject({ code: 'ENOSPC' });
    } finally {
      closeSync(file);
    }
  }

  const makeRoom = (weir: WeirPlace) => rmSync(fillerOf(weir));
  const hasTrouble = async (weir: WeirPlace) =>
    (await healthOf(weir.url()))?.reasons.some((reason) => reason.includes('the journal cannot be written (ENOSPC)')) ??
    false;

  /** Without the file that says where it listens, only the log does. */
  async function listening({ dataDir }: WeirPlace, journal: string) {
    const { stores } = rig;
    const env = {
      PORT: '0',
      WEIR_DATA_DIR: dataDir,
      DATABASE_URL: stores.databaseUrl,
      CLICKHOUSE_URL: stores.clickhouseUrl,
      INGEST_JOURNAL: journal,
    };
    const { child, finished, written } = startWeir(['serve'], { cwd: '/', env });
    const urlOf = () => /"url":"(http:[^"]+)"/.exec(written())?.[1] ?? null;
    await until('ready', () => {
      expect(child.exitCode, written()).toBeNull();
      return isReady(urlOf());
    });
    return {
      url: urlOf()!,
      written,
      async stop() {
        child.kill('SIGTERM');
        return (await finished).code;
      },
    };
  }

  test('on: a disk that fills up in the middle is said and refused, loses nothing, and room is noticed', async () => {
    // What settles makes room.
    const weir = smallDisk({ ...NEVER });
    await grounds.startAt(weir);
    const stop = new AbortController();
    const load = grounds.load(weir, { seed: SEED, stop: stop.signal });
    await until('some were taken', () => load.acknowledged() > 5);
    fill(weir);
    await until('said in /health', () => hasTrouble(weir));
    const refused = await grounds.post(weir, grounds.newBody(1).body);
    expect(refused!.status).toBe(503);
    expect(JSON.parse(refused!.text)).toMatchObject({ code: 'ingest_down' });
    expect(await isReady(weir.url())).toBe(false);
    makeRoom(weir);
    await until('ready by itself', () => isReady(weir.url()));
    const before = load.acknowledged();
    await until('taken again', () => load.acknowledged() > before + 5);
    stop.abort();
    await load.done;
    await grounds.accept(weir, 1, 'stored');
    await grounds.expectKept(weir);
  });

  test('on: killed while the disk is full, and started on the full disk, it delivers what it had', async () => {
    const weir = smallDisk({ ...NEVER });
    await grounds.startAt(weir);
    for (let i = 0; i < 3; i++) await grounds.accept(weir, 50);
    fill(weir);
    await grounds.post(weir, grounds.newBody(100).body);
    await weir.kill();
    const started = await listening(weir, 'on');
    expect(started.written()).toContain('data directory cannot be written');
    await until('delivered', async () => (await healthOf(started.url))?.pending === 0);
    makeRoom(weir);
    await until('ready', () => isReady(started.url));
    expect(await started.stop()).toBe(0);
    await grounds.startAt(weir);
    await grounds.expectKept(weir);
  });

  test('on: a volume much smaller than INGEST_JOURNAL_MAX_BYTES takes more than it holds, again and again', async () => {
    const weir = smallDisk();
    await grounds.startAt(weir);
    expect(logOf(weir)).toContain('the volume is smaller than INGEST_JOURNAL_MAX_BYTES');
    for (let taken = 0; taken < 40;) {
      // Some hundred kilobytes each, so that forty of them fill the volume three times.
      const { ids, body } = grounds.newBody(800);
      const answer = await grounds.post(weir, body);
      if (answer?.status === 202) {
        grounds.tally().acknowledge(ids, answer.ack!);
        taken++;
      } else {
        expect(answer?.status).toBe(503);
        await until('taken again', () => isReady(weir.url()));
      }
    }
    expect(logOf(weir)).not.toContain('disk full');
    await grounds.expectKept(weir);
  });

  test('on: others fill the rest of its volume while it holds what has settled: that room is taken, nothing refused', async () => {
    const weir = smallDisk();
    await grounds.startAt(weir);
    const settled = () => until('settled', async () => (await healthOf(weir.url()))?.pending === 0);
    await grounds.accept(weir, 800);
    await settled();
    const journal = join(weir.dataDir, 'journal');
    const sizes = filesIn(journal).map((name) => statSync(join(journal, name)).size);
    expect(Math.max(...sizes)).toBeGreaterThan(200_000);
    fill(weir);
    for (let taken = 0; taken < 10; taken++) {
      // Half of what the journal gives back.
      await grounds.accept(weir, 400);
      await settled();
    }
    expect(logOf(weir)).not.toContain('disk full');
    expect(await isReady(weir.url())).toBe(true);
    makeRoom(weir);
    await grounds.expectKept(weir);
  });

  test('prefer: with a full disk memory has to do, and that is said; with room it is journaled again', async () => {
    const weir = smallDisk({ INGEST_JOURNAL: 'prefer' });
    await grounds.startAt(weir);
    expect((await grounds.accept(weir, 10)).ack).toBe('journaled');
    fill(weir);
    // More than the room behind the records has.
    await until('degraded', async () => (await grounds.accept(weir, 800)).ack === 'queued');
    await until('said in /health', () => hasTrouble(weir));
    expect(logOf(weir)).toContain('disk full: the journal accepts nothing until there is room');
    expect(await isReady(weir.url())).toBe(true);
    expect((await grounds.accept(weir, 1, 'stored')).ack).toBe('stored');
    makeRoom(weir);
    await until('journaled again', async () => (await grounds.accept(weir, 1)).ack === 'journaled');
    await grounds.expectKept(weir);
  });

  describe.each([
    ['the data directory', ''],
    ['the journal', 'journal'],
  ])('%s is read-only', (_name, sub) => {
    test('on: it does not start, and says what to do', async () => {
      const weir = grounds.newPlace();
      mount(join(weir.dataDir, sub), 'ro');
      const { stores } = rig;
      const { code, stderr } = await runWeir(['serve'], {
        cwd: '/',
        env: {
          PORT: '0',
          WEIR_DATA_DIR: weir.dataDir,
          DATABASE_URL: stores.databaseUrl,
          CLICKHOUSE_URL: stores.clickhouseUrl,
        },
      });
      expect({ code, stderr }).toEqual({
        code: 1,
        stderr: expect.stringMatching(/cannot be used \(\w+\): make it writable.*WEIR_DATA_DIR/),
      });
      expect(stderr).not.toContain('    at ');
    });

    test.each(['prefer', 'off'])('%s: it starts and takes events in memory', async (journal) => {
      const weir = grounds.newPlace({ INGEST_JOURNAL: journal });
      mount(join(weir.dataDir, sub), 'ro');
      const { url, stop } = await listening(weir, journal);
      const answer = await fetch(`${url}/api/v1/ingest/events`, {
        method: 'POST',
        body: grounds.newBody(1).body,
        headers: { authorization: `Bearer ${rig.token}` },
      });
      expect({ status: answer.status, ack: answer.headers.get('weir-ack') }).toEqual({ status: 202, ack: 'queued' });
      expect(await stop()).toBe(0);
    });
  });
});
