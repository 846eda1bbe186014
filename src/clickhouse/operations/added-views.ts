/** Views that others have added to Weir's databases: they may read where no project filter applies. */
import type { ClickHouseClient } from '@clickhouse/client';
import { readMigrations } from '../migrations/migrate.ts';
import { SERVICE_DATABASE } from '../reading/reader-tables.ts';
import { splitStatements } from '../migrations/statements.ts';

/** The full names of the views in `database` and in the services' database that no migration creates. */
export async function findAddedViews(client: ClickHouseClient, database: string): Promise<string[]> {
  const answer = await client.query({
    query: `SELECT concat(database, '.', name) FROM system.tables
            WHERE database IN {databases:Array(String)} AND engine LIKE '%View' AND engine != 'MaterializedView' ORDER BY 1`,
    query_params: { databases: [database, SERVICE_DATABASE] },
    format: 'JSONCompactEachRow',
  });
  const own = new Set(namesOfOwn().map((name) => (name.includes('.') ? name : `${database}.${name}`)));
  return (await answer.json<[string]>()).map(([name]) => name).filter((name) => !own.has(name));
}

function namesOfOwn(): string[] {
  return readMigrations()
    .flatMap(({ text }) => splitStatements(text))
    .flatMap((statement) => {
      const name = /^CREATE (?:OR REPLACE )?VIEW (?:IF NOT EXISTS )?([\w.]+)/.exec(statement)?.[1];
      return name === undefined ? [] : [name];
    });
}
