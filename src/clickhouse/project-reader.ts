/**
 * Answers SQL questions about one project. Each goes to ClickHouse three times:
 * what tables are there and what is the text's tree (at once), and, if the
 * guard has nothing against it, for the rows. What runs is the text that was
 * parsed, byte for byte, under settings that leave only the project's rows.
 */
import type { ClickHouseClient, ClickHouseSettings } from '@clickhouse/client';
import type {
  Asking,
  ProjectReader,
  QueryAnswer,
  QueryFailure,
  Schema,
  TableDescription,
} from '../pipeline/reading.ts';
import { type Names, textProblem, treeProblem, withoutEnd } from './query-guard.ts';
import { parseFailure, runFailure } from './reader-errors.ts';
import { PRECAUTION_NAMES, parseSettings, readSettings } from './reader-settings.ts';
import { READABLE_TABLES, type Relation, filtersFor } from './reader-tables.ts';

const FORMAT = 'JSONCompactEachRowWithNamesAndTypes';
/**
 * A line of its own, so that the lines of the client's text keep their columns.
 * The setting is there so that a text which begins with one is no query.
 */
const EXPLAIN = 'EXPLAIN AST optimize = 0\n';
const MAX_EVENT_NAMES = 1_000;
const SERVICE_DATABASE = 'monitor';

export function createProjectReader(
  { client }: { client: ClickHouseClient },
  { database }: { database: string },
): ProjectReader {
  const readable = new Set(
    READABLE_TABLES.flatMap(({ name }) => (name.includes('.') ? [name] : [name, `${database}.${name}`])),
  );

  return { query, schema };

  async function query(
    projectId: string,
    sql: string,
    { queryId, signal }: Asking,
  ): Promise<QueryAnswer | QueryFailure> {
    const problem = textProblem(sql);
    if (problem !== null) return refused(problem);
    const text = withoutEnd(sql);
    const looking = surroundings(signal).catch(runFailure);
    const parsing = treeOf(text, signal).catch((error: unknown) => parseFailure(error, text, EXPLAIN.length));
    const [around, tree] = await Promise.all([looking, parsing]);
    if ('kind' in around) return around;
    if ('kind' in tree) return tree;
    const guilty = treeProblem(tree, { names: namesOf(around.relations), format: FORMAT });
    if (guilty !== null) return refused(guilty);
    return run(text, { settings: settingsFor(projectId, around), queryId, signal }).catch(runFailure);
  }

  async function schema(projectId: string, signal: AbortSignal): Promise<Schema | QueryFailure> {
    try {
      const around = await surroundings(signal);
      const describing = describe(signal);
      const naming = eventNames(settingsFor(projectId, around), signal);
      const [tables, events] = await Promise.all([describing, naming]);
      return { kind: 'schema', tables, events };
    } catch (error) {
      return runFailure(error);
    }
  }

  /** The text is parsed as ClickHouse will parse it to run it: with Weir's FORMAT behind it, which takes the place of any other. */
  async function treeOf(text: string, abort_signal: AbortSignal): Promise<string[]> {
    const answer = await client.query({
      query: `${EXPLAIN}${text}\nFORMAT ${FORMAT}`,
      format: 'JSONCompactEachRow',
      clickhouse_settings: parseSettings(),
      abort_signal,
    });
    return (await answer.json<[string]>()).map(([line]) => line);
  }

  async function run(
    text: string,
    { settings, queryId, signal }: { settings: ClickHouseSettings; queryId: string; signal: AbortSignal },
  ): Promise<QueryAnswer> {
    const progress = { isOver: false };
    signal.addEventListener('abort', () => void (progress.isOver || kill(queryId)), { once: true });
    const result = await client
      .query({
        query: text,
        format: FORMAT,
        clickhouse_settings: settings,
        query_id: queryId,
        abort_signal: signal,
      })
      .catch((error: unknown) => {
        progress.isOver = !signal.aborted;
        throw error;
      });
    const lines = linesOf(result.stream());
    const [names, types, ...begun] = await heading(lines);
    const typeOf = JSON.parse(types) as string[];
    const columns = (JSON.parse(names) as string[]).map((name, index) => ({ name, type: typeOf[index]! }));
    return { kind: 'answer', columns, rows: following(begun, lines, progress) };
  }

  /** ClickHouse notices a closed connection only when the query reads or writes; some do neither for long. */
  function kill(query_id: string) {
    const killing = client.command({
      query: 'KILL QUERY WHERE query_id = {query_id:String} ASYNC',
      query_params: { query_id },
    });
    // Without the right to, or without a ClickHouse, the query ends by its time limit.
    void killing.catch(() => {});
  }

  function namesOf(relations: readonly Relation[]): Names {
    const own = relations.filter((relation) => relation.database === database);
    return { readable, hidden: new Set(own.map(({ name }) => name).filter((name) => !readable.has(name))) };
  }

  /** Asked each time: it costs little, and a table that appears is never without its filter. */
  async function surroundings(abort_signal: AbortSignal): Promise<Surroundings> {
    const answer = await client.query({
      query: `SELECT tables.database, tables.name, engine, owned, expiring,
                (SELECT groupArray(name) FROM system.settings WHERE name IN {settings:Array(String)}) AS known
              FROM system.tables AS tables
              LEFT JOIN (
                SELECT database, table, countIf(name = 'project_id' AND type = 'UUID') AS owned,
                  countIf(name = 'expires_at' AND type LIKE 'DateTime%') AS expiring
                FROM system.columns WHERE database IN {databases:Array(String)} GROUP BY database, table
              ) AS columns ON columns.database = tables.database AND columns.table = tables.name
              WHERE tables.database IN {databases:Array(String)}`,
      query_params: { databases: [database, SERVICE_DATABASE], settings: PRECAUTION_NAMES },
      format: 'JSONCompactEachRow',
      clickhouse_settings: parseSettings(),
      abort_signal,
    });
    const rows = await answer.json<[string, string, string, string, string, string[]]>();
    return {
      relations: rows.map(([at, name, engine, owned, expiring]) => ({
        database: at,
        name,
        engine,
        hasProjectId: Number(owned) > 0,
        hasExpiry: Number(expiring) > 0,
      })),
      known: rows[0]?.[5] ?? [],
    };
  }

  async function describe(abort_signal: AbortSignal): Promise<TableDescription[]> {
    const answer = await client.query({
      query: `SELECT if(database = {database:String}, table, concat(database, '.', table)), name, type, comment
              FROM system.columns WHERE database IN {databases:Array(String)} AND default_kind != 'EPHEMERAL'
              ORDER BY database, table, position`,
      query_params: { database, databases: [database, SERVICE_DATABASE] },
      format: 'JSONCompactEachRow',
      clickhouse_settings: parseSettings(),
      abort_signal,
    });
    const columns = Map.groupBy(await answer.json<[string, string, string, string]>(), ([table]) => table);
    return READABLE_TABLES.filter(({ name }) => columns.has(name)).map(({ name: table, comment: about }) => ({
      name: table,
      comment: about,
      columns: columns.get(table)!.map(([, name, type, comment]) => ({ name, type, comment })),
    }));
  }

  async function eventNames(settings: ClickHouseSettings, abort_signal: AbortSignal): Promise<string[]> {
    const answer = await client.query({
      query: `SELECT event FROM event_counts_hourly GROUP BY event ORDER BY sum(events) DESC, event LIMIT ${MAX_EVENT_NAMES}`,
      format: 'JSONCompactEachRow',
      clickhouse_settings: settings,
      abort_signal,
    });
    return (await answer.json<[string]>()).map(([name]) => name);
  }
}

type Surroundings = { readonly relations: readonly Relation[]; readonly known: readonly string[] };

const settingsFor = (projectId: string, { relations, known }: Surroundings) =>
  readSettings(filtersFor(projectId, relations), known);

const refused = (message: string): QueryFailure => ({ kind: 'refused', message, clickhouse: null });

/** Rows as they are, a group at a time. A line that is no row is how some versions say that they failed half way. */
async function* linesOf(groups: AsyncIterable<readonly { text: string }[]>): AsyncGenerator<string[]> {
  for await (const group of groups) {
    const lines = group.map(({ text }) => text);
    if (lines.some((line) => !line.startsWith('[') || !line.endsWith(']')))
      throw new Error('the answer ends with an error');
    yield lines;
  }
}

/** The line of names, the line of types, and the rows that came with them. */
async function heading(lines: AsyncIterator<string[]>): Promise<[string, string, ...string[]]> {
  const come: string[] = [];
  while (come.length < 2) {
    const group = await lines.next();
    if (group.done) throw new Error('the answer has no heading');
    come.push(...group.value);
  }
  return come as [string, string, ...string[]];
}

async function* following(
  begun: readonly string[],
  lines: AsyncGenerator<string[]>,
  progress: { isOver: boolean },
): AsyncGenerator<readonly string[]> {
  try {
    if (begun.length > 0) yield begun;
    yield* lines;
    progress.isOver = true;
  } finally {
    // Whoever stops reading stops the query: the connection is closed with it.
    await lines.return(undefined);
  }
}
