/** How statements, look-ups and memory depend on whether one server has the tables, or several share them. */
import { describe, expect, test } from 'vitest';
import {
  type Layout,
  type LayoutFacts,
  LayoutRefused,
  layoutOf,
  onReplicas,
  replicasIn,
} from '../src/clickhouse/connection/layout.ts';
import { classOf } from '../src/clickhouse/connection/errors.ts';
import { NEW_KEY, OLD_KEY } from '../src/clickhouse/migrations/event-tables.ts';
import { obstaclesTo } from '../src/clickhouse/migrations/layout-obstacles.ts';
import { statementFor } from '../src/clickhouse/migrations/layout-statements.ts';
import { readMigrations } from '../src/clickhouse/migrations/migrate.ts';
import { withProperties } from '../src/clickhouse/migrations/property-views.ts';
import { splitStatements } from '../src/clickhouse/migrations/statements.ts';
import { isWithinMemory } from '../src/pipeline/ambiguous-delivery.ts';

const SINGLE: Layout = { kind: 'single' };
const CLUSTER: Layout = { kind: 'cluster', cluster: 'events' };
const DATABASE: Layout = { kind: 'replicated database', cluster: 'analytics' };
const CLOUD: Layout = { kind: 'cloud' };

const STATEMENTS = readMigrations().flatMap(({ text }) => splitStatements(text));
const count = (text: string, part: string) => text.split(part).length - 1;

describe('a statement of a migration', () => {
  test.each(STATEMENTS.map((statement) => [statement.slice(0, 60), statement]))('%s', (_, statement) => {
    expect(statementFor(SINGLE, statement)).toBe(statement);
    expect(statementFor({ kind: 'unnamed' }, statement)).toBe(statement);

    const onCluster = statementFor(CLUSTER, statement);
    expect(count(onCluster, " ON CLUSTER 'events'")).toBe(statement.startsWith('INSERT') ? 0 : 1);
    expect(onCluster.replace(" ON CLUSTER 'events'", '')).toBe(statementFor(DATABASE, statement));
    const engines = [...statement.matchAll(/ENGINE = (\w+)/g)].map(([, engine]) => engine);
    expect([...onCluster.matchAll(/ENGINE = (\w+)/g)].map(([, engine]) => engine)).toEqual(
      engines.map((engine) => `Replicated${engine}`),
    );

    const inCloud = statementFor(CLOUD, statement);
    expect(inCloud.replaceAll(/(?<=ENGINE = )/g, 'Replicated')).toBe(statementFor(DATABASE, statement));
    for (const shared of [onCluster, inCloud]) {
      expect(shared).not.toContain('non_replicated_');
      expect(shared).not.toContain(`(${OLD_KEY})`);
      expect(
        count(shared, 'replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800'),
      ).toBe(count(statement, 'non_replicated_deduplication_window = 10000'));
    }
  });

  test('in the words in which ClickHouse gets it', () => {
    const [events = ''] = STATEMENTS;
    const head = (statement: string) => statement.split('\n')[0];
    const engine = (statement: string) => statement.slice(statement.indexOf('ENGINE')).split('\nCOMMENT')[0];
    expect(head(statementFor(CLUSTER, events))).toBe("CREATE TABLE IF NOT EXISTS events_raw_v1 ON CLUSTER 'events'");
    expect(engine(statementFor(CLUSTER, events))).toBe(
      `ENGINE = ReplicatedReplacingMergeTree(received_at)\nPARTITION BY toYYYYMM(received_at)\nORDER BY (${NEW_KEY})\nTTL expires_at DELETE\nSETTINGS replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800`,
    );
    expect(head(statementFor(DATABASE, events))).toBe('CREATE TABLE IF NOT EXISTS events_raw_v1');
    expect(engine(statementFor(CLOUD, events))).toContain('ENGINE = ReplacingMergeTree(received_at)\n');
    expect(statementFor({ kind: 'cluster', cluster: "{it's}" }, 'CREATE DATABASE IF NOT EXISTS `a``b`')).toBe(
      "CREATE DATABASE IF NOT EXISTS `a``b` ON CLUSTER '{it\\'s}'",
    );
    expect(statementFor(CLUSTER, 'ALTER TABLE `a`.events_raw_v1 ADD COLUMN x UInt8')).toBe(
      "ALTER TABLE `a`.events_raw_v1 ON CLUSTER 'events' ADD COLUMN x UInt8",
    );
  });

  test('with promoted properties', () => {
    const view = STATEMENTS.findLast((statement) => statement.startsWith('CREATE OR REPLACE VIEW events AS'))!;
    const shown = statementFor(CLUSTER, withProperties(view, ['plan']));
    expect(shown).toContain("CREATE OR REPLACE VIEW events ON CLUSTER 'events' AS");
    expect(shown).toContain('`properties.plan`');
  });
});

describe('the layout', () => {
  const facts = (databaseEngine: string, tableEngine: string, isCloud = false): LayoutFacts => ({
    databaseEngine,
    tableEngine,
    isCloud,
  });

  test.each([
    ['nothing there yet', facts('', ''), null, SINGLE],
    ['an empty database', facts('Atomic', ''), null, SINGLE],
    ['tables of one server', facts('Atomic', 'ReplacingMergeTree'), null, SINGLE],
    [
      'tables of one server in a Replicated database, as before',
      facts('Replicated', 'ReplacingMergeTree'),
      null,
      SINGLE,
    ],
    ['an empty Replicated database', facts('Replicated', ''), null, DATABASE],
    ['a Replicated database', facts('Replicated', 'ReplicatedReplacingMergeTree'), null, DATABASE],
    ['a cluster named, nothing there yet', facts('', ''), 'events', CLUSTER],
    ['a cluster', facts('Atomic', 'ReplicatedReplacingMergeTree'), 'events', CLUSTER],
    [
      'replicated tables of nobody knows whom',
      facts('Atomic', 'ReplicatedReplacingMergeTree'),
      null,
      { kind: 'unnamed' },
    ],
    ['ClickHouse Cloud', facts('Shared', '', true), null, CLOUD],
    ['ClickHouse Cloud by its tables', facts('Replicated', 'SharedReplacingMergeTree'), null, CLOUD],
  ] as const)('%s', (_, found, cluster, layout) => {
    expect(layoutOf(found, { database: 'analytics', cluster })).toEqual(layout);
  });

  test.each([
    ['tables of one server', facts('Atomic', 'ReplacingMergeTree'), /CLICKHOUSE_DATABASE to a new database/],
    ['a Replicated database', facts('Replicated', ''), /leave CLICKHOUSE_CLUSTER empty/],
    ['ClickHouse Cloud', facts('Shared', '', true), /leave it empty/],
  ])('is refused with a cluster named and %s', (_, found, words) => {
    const read = () => layoutOf(found, { database: 'analytics', cluster: 'events' });
    expect(read).toThrow(LayoutRefused);
    expect(read).toThrow(words);
  });

  test('says how a query reaches every replica', () => {
    expect([SINGLE, CLUSTER, DATABASE, CLOUD, { kind: 'unnamed' } as const].map(replicasIn)).toEqual([
      null,
      'events',
      'analytics',
      'default',
      null,
    ]);
    expect(onReplicas('{cluster}', 'system.parts')).toBe("clusterAllReplicas('{cluster}', system.parts)");
    expect(onReplicas(null, 'system.parts')).toBe('system.parts');
  });
});

describe('what stands in the way of shared tables', () => {
  /** A server as its system tables show it. */
  type Server = { macros?: string[]; clusters?: Record<string, number>; monitor?: string | null; code?: string };
  const asking =
    ({ macros = ['shard', 'replica', 'cluster'], clusters = { events: 1 }, monitor = 'Replicated', code }: Server) =>
    async <Row>(query: string, params: Record<string, unknown> = {}) => {
      const name = String(params['cluster']);
      if (query.includes('system.macros')) return macros.map((macro) => ({ macro, substitution: 'events' })) as Row[];
      if (query.includes('server_settings')) {
        return [{ value: '/clickhouse/tables/{uuid}/{shard}' }, { value: '{replica}' }] as Row[];
      }
      if (query.includes('system.clusters')) {
        const shards = clusters[name] ?? 0;
        return [{ servers: String(shards * 2), shards: String(shards), names: Object.keys(clusters) }] as Row[];
      }
      if (query.includes('system.one')) {
        if (code !== undefined) throw Object.assign(new Error('refused'), { code });
        return [] as Row[];
      }
      return (monitor === null ? [] : [{ engine: monitor }]) as Row[];
    };

  test.each([
    ['nothing', CLUSTER, {}, []],
    ['nothing, the cluster being named by a macro', { kind: 'cluster', cluster: '{cluster}' }, {}, []],
    ['nothing, in a Replicated database', DATABASE, {}, []],
    ['nothing, on one server without macros', SINGLE, { macros: [] }, []],
    ['nothing, in the cloud', CLOUD, { macros: [], clusters: {} }, []],
    ['a macro is missing', CLUSTER, { macros: ['shard'] }, [/no macro \{replica\}/]],
    ['both are', DATABASE, { macros: [] }, [/\{shard\}/, /\{replica\}/]],
    ['there is no such cluster', CLUSTER, { clusters: { a: 1, b: 1 } }, [/knows no cluster events .*it knows a, b/]],
    ['it has several shards', CLUSTER, { clusters: { events: 3 } }, [/3 shards/]],
    ['a right is missing', CLUSTER, { code: '497' }, [/grant it REMOTE/]],
    ['there is no second database', DATABASE, { monitor: null }, [/no database monitor: make one on each server/]],
    ['it is of one server', DATABASE, { monitor: 'Atomic' }, [/monitor is that of one server/]],
  ] as readonly [string, Layout, Server, readonly RegExp[]][])('%s', async (_, layout, server, words) => {
    const found = await obstaclesTo(asking(server), layout);
    expect(found).toEqual(words.map((word) => expect.stringMatching(word)));
  });
});

describe('a failure behind a view', () => {
  const behind = (code: number) =>
    classOf(
      code,
      `Code: ${code}. DB::Exception: Words: while pushing to view analytics.event_users_mv (00000000-0000-4000-8000-000000000000). (NAME) (version 26.7.2.1)`,
    );

  test.each([
    [242, 'TABLE_IS_READ_ONLY'],
    [285, 'TOO_FEW_LIVE_REPLICAS'],
    [319, 'UNKNOWN_STATUS_OF_INSERT'],
    [999, 'KEEPER_EXCEPTION'],
  ])('%i, %s: it is of replicas, and passes', (code) => {
    expect(behind(code)).toBe('ambiguous');
  });

  test.each([47, 241, 469])('%i: it needs a person, as before', (code) => {
    expect(behind(code)).toBe('operator');
  });
});

describe('a batch that may have landed', () => {
  const minutes = (n: number) => n * 60_000;
  const WEEK_MS = minutes(7 * 24 * 60);

  test.each([
    ['young, the store remembering much', 10_000, Infinity, minutes(5), 9_999, true],
    ['older, few inserts since', 10_000, Infinity, minutes(6), 5_000, true],
    ['older, many since', 10_000, Infinity, minutes(6), 5_001, false],
    ['young, the store remembering little: few since', 1_000, WEEK_MS, minutes(1), 500, true],
    ['young, the store remembering little: many since', 1_000, WEEK_MS, minutes(1), 501, false],
    ['older than half of what it remembers by time', 10_000, minutes(60), minutes(31), 1, false],
    ['not so old', 10_000, minutes(60), minutes(29), 1, true],
    ['young, and yet too old', 10_000, minutes(6), minutes(4), 1, false],
    ['any, the store remembering nothing', 0, Infinity, 1_000, 1, false],
  ])('%s', async (_, inserts, forMs, ageMs, since, isKnown) => {
    const events = { countInserts: async () => since, readMemory: async () => ({ inserts, forMs }) };
    expect(await isWithinMemory(events, ageMs)).toBe(isKnown);
  });
});
