/** Which software stores the events of a start, and that a data directory does not change it by itself. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { eventStoreOf } from '../src/cli/stores.ts';
import { parseConfig } from '../src/config/config.ts';
import { chooseEventStore, rememberEventStore, rememberedEventStore } from '../src/service/event-store.ts';
import { claimRuntime } from '../src/service/runtime-file.ts';

const WHY = 'the embedded ClickHouse exists only for linux-x64 with glibc, this is darwin-arm64';
const nowhere = async () => WHY;
const here = async () => null;
const unasked = () => Promise.reject(new Error('asked'));

let dataDir: string;
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'weir-choice-'));
});
afterEach(() => rmSync(dataDir, { recursive: true, force: true }));

const config = (settings: Record<string, string> = {}) =>
  parseConfig({ WEIR_DATA_DIR: dataDir, ...settings }, () => {
    throw Object.assign(new Error(), { code: 'ENOENT' });
  });
const URLS = { DATABASE_URL: 'postgres://h/d', CLICKHOUSE_URL: 'http://h:8123' };

describe('a first start', () => {
  test('takes ClickHouse where it can be embedded', async () => {
    expect(await chooseEventStore(config(), here)).toEqual({ store: 'clickhouse', said: null });
  });

  test('takes Postgres where it cannot, and says why in one line', async () => {
    const { store, said } = await chooseEventStore(config(), nowhere);
    expect(store).toBe('postgres');
    expect(said).toContain(WHY);
    expect(said).not.toContain('\n');
  });

  test.each([
    [{ EVENT_STORE: 'postgres' }, 'postgres'],
    [{ EVENT_STORE: 'clickhouse' }, 'clickhouse'],
    [{ CLICKHOUSE_URL: URLS.CLICKHOUSE_URL }, 'clickhouse'],
    // For `weir copy`.
    [{ CLICKHOUSE_URL: URLS.CLICKHOUSE_URL, EVENT_STORE: 'postgres' }, 'postgres'],
    [{ ...URLS, NODE_ENV: 'production' }, 'clickhouse'],
    [{ DATABASE_URL: URLS.DATABASE_URL, EVENT_STORE: 'postgres', NODE_ENV: 'production' }, 'postgres'],
  ] as const)('with %o it is %s, wherever it could be embedded', async (settings, store) => {
    expect(await chooseEventStore(config(settings), unasked)).toEqual({ store, said: null });
  });
});

describe('a later start', () => {
  test.each(['clickhouse', 'postgres'] as const)('keeps %s, whatever is installed by then', async (store) => {
    rememberEventStore(dataDir, store);
    expect(await chooseEventStore(config(), unasked)).toEqual({ store, said: null });
  });

  test('in a directory of an earlier version keeps ClickHouse', async () => {
    mkdirSync(join(dataDir, 'clickhouse', 'data'), { recursive: true });
    expect(await chooseEventStore(config(), unasked)).toEqual({ store: 'clickhouse', said: null });
  });

  test.each([
    ['postgres', 'clickhouse', 'weir copy --to clickhouse'],
    ['clickhouse', 'postgres', 'EVENT_STORE=clickhouse'],
  ] as const)('from %s to %s says that events stay behind, once', async (before, now, remedy) => {
    rememberEventStore(dataDir, before);
    const { said } = await chooseEventStore(config({ EVENT_STORE: now }), unasked);
    expect(said).toContain(remedy);
    rememberEventStore(dataDir, now);
    expect(await chooseEventStore(config({ EVENT_STORE: now }), unasked)).toEqual({ store: now, said: null });
  });

  test('remembers nothing of a damaged file', () => {
    writeFileSync(join(dataDir, 'event-store'), 'mysql\n');
    expect(rememberedEventStore(dataDir)).toBeNull();
    rememberEventStore(dataDir, 'postgres');
    expect(readFileSync(join(dataDir, 'event-store'), 'utf8')).toBe('postgres\n');
  });
});

describe('a command', () => {
  const endpoints = { url: 'http://h', clickhouseKey: null, databaseUrl: URLS.DATABASE_URL, consoleUrl: null };

  test.each([
    ['http://h:8123', 'ClickHouse'],
    [null, 'Postgres'],
  ])('asks the running Weir: with ClickHouse at %s it is %s', (clickhouseUrl, name) => {
    const claim = claimRuntime(dataDir, process.pid);
    // Until it has published where it listens, the directory decides.
    expect(eventStoreOf(config())).toBe('ClickHouse');
    claim.publish({ ...endpoints, clickhouseUrl });
    expect(eventStoreOf(config())).toBe(name);
    expect(eventStoreOf(config({ EVENT_STORE: 'clickhouse' }))).toBe('ClickHouse');
    claim.release();
  });

  test('without a running one takes that of the last start', () => {
    expect(eventStoreOf(config())).toBe('ClickHouse');
    rememberEventStore(dataDir, 'postgres');
    expect(eventStoreOf(config())).toBe('Postgres');
  });
});
