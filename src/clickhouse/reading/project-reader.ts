/**
 * Answers SQL questions about one project. Each goes to ClickHouse three times:
 * what tables are there and what is the text's tree (at once), and, if the
 * guard has nothing against it, for the rows; one about a single person also for
 * that one's ids. What runs is the text that was
 * parsed, byte for byte, under settings that leave only the project's rows.
 */
import type { ClickHouseClient, ClickHouseSettings } from '@clickhouse/client';
import type { Clock } from '../../runtime/clock.ts';
import type { Asking, ProjectReader, QueryAnswer, QueryFailure, Schema } from '../../pipeline/read-ports.ts';
import { askedDays } from './asked-days.ts';
import { needsIdentities } from './identity-use.ts';
import { type Person, askedPerson } from './one-person.ts';
import { ODD_NAME, ONLY_SELECT, textProblem, treeProblem, withoutEnd } from './query-guard.ts';
import { type Node, treeOf } from './query-tree.ts';
import { TOO_SLOW, parseFailure, runFailure } from './reader-errors.ts';
import { type ByDays, type Catalog, createReaderCatalog, settingsFor } from './reader-catalog.ts';
import { READ_LIMITS, parseSettings } from './reader-settings.ts';
import { EVENTS, SERVICE_DATABASE } from './reader-tables.ts';
import { createRunningQueries } from './running-queries.ts';

const FORMAT = 'JSONCompactEachRowWithNamesAndTypes';
const TREE_FORMAT = 'JSONCompactEachRow';
/**
 * A line of its own, so that the lines of the client's text keep their columns.
 * The setting is there so that a text which begins with one is no query.
 */
const EXPLAIN = 'EXPLAIN AST optimize = 0\n';

/** How much longer than its own limit ClickHouse is waited for: it checks the time only between two blocks of rows. */
const BEYOND_LIMIT_MS = 3_000;

export function createProjectReader(
  { client, clock, stopping }: { client: ClickHouseClient; clock: Clock; stopping: AbortSignal },
  { database }: { database: string },
): ProjectReader {
  const running = createRunningQueries({ client, clock, stopping });
  const catalog = createReaderCatalog(client, database);
  const eventsNames = namesIn(database, ['events']);
  const eventNames = {
    timed: new Set([...namesIn(database, ['events', EVENTS]), `${SERVICE_DATABASE}.events`]),
    untimed: namesIn(database, ['persons', 'sessions']),
  };

  return { query, stopped: running.stop, schema };

  async function query(projectId: string, sql: string, asking: Asking): Promise<QueryAnswer | QueryFailure> {
    const problem = textProblem(sql);
    if (problem !== null) return refused(problem);
    const text = withoutEnd(sql);
    // Both run to their end even if the client leaves: nothing stops ClickHouse from parsing.
    const looking = catalog.read().catch(runFailure);
    const parsing = parse(text).catch((error: unknown) => parseFailure(error, text, EXPLAIN.length));
    const [around, parsed] = await Promise.all([looking, parsing]);
    if ('kind' in around) return around;
    if ('kind' in parsed) return parsed;
    const { tree } = parsed;
    const guilty = treeProblem(tree, { names: catalog.namesOf(around), format: FORMAT });
    if (guilty !== null) return refused(guilty);
    try {
      const person = await personAsked(tree, text, projectId, around);
      const byDays = await daysAsked(tree, text, around);
      const settings = settingsFor(projectId, around, { needsIdentities: needsIdentities(tree), person, byDays });
      return await run(text, settings, asking);
    } catch (error) {
      return runFailure(error);
    }
  }

  /** Whose events alone the query asks about, with the ids to find them by; null for any other. */
  async function personAsked(tree: Node, sql: string, projectId: string, around: Catalog): Promise<Person | null> {
    const id = askedPerson(tree, sql, eventsNames);
    if (id === null) return null;
    // Also to its end if the client leaves: a slot is free when ClickHouse is.
    const anonymousIds = await catalog.linkedTo(id, settingsFor(projectId, around));
    return anonymousIds === null ? null : { id, anonymousIds };
  }

  /** The days of the events that the query needs, and what it takes to read by them; null for any other. */
  async function daysAsked(tree: Node, sql: string, around: Catalog): Promise<ByDays | null> {
    const days = askedDays(tree, sql, eventNames, around.nowMs);
    const otherIndexes = days === null ? null : await catalog.indexesBesideDays(around);
    return days === null || otherIndexes === null ? null : { days, otherIndexes };
  }

  async function schema(projectId: string, signal: AbortSignal): Promise<Schema | QueryFailure> {
    try {
      const around = await catalog.read(signal);
      if ('kind' in around) return around;
      const describing = catalog.describe(signal);
      const naming = catalog.eventNames(settingsFor(projectId, around), signal);
      const [tables, events] = await Promise.all([describing, naming]);
      return { kind: 'schema', tables, events };
    } catch (error) {
      return runFailure(error);
    }
  }

  /**
   * The text is parsed as ClickHouse will parse it to run it: with Weir's FORMAT behind it, which takes the place of any other.
   * What is no query may take the second one, of the tree, for itself: then the tree comes in another format.
   */
  async function parse(text: string): Promise<{ readonly tree: Node } | QueryFailure> {
    const answer = await client.query({
      query: `${EXPLAIN}${text}\nFORMAT ${FORMAT}`,
      format: TREE_FORMAT,
      clickhouse_settings: parseSettings(),
    });
    if (answer.response_headers['x-clickhouse-format'] !== TREE_FORMAT) {
      answer.close();
      return refused(ONLY_SELECT);
    }
    const lines = await answer.json<[string]>();
    const tree = treeOf(lines.map(([line]) => line));
    return tree === null ? refused(ODD_NAME) : { tree };
  }

  /**
   * A client that leaves does not close the connection before the answer begins: ClickHouse's answer is the one sure
   * sign that the query has stopped. `stopped` asks it to stop.
   */
  async function run(
    query: string,
    clickhouse_settings: ClickHouseSettings,
    { queryId, signal }: Asking,
  ): Promise<QueryAnswer | QueryFailure> {
    if (signal.aborted) return ABANDONED;
    const asked = { query, format: FORMAT, clickhouse_settings, query_id: queryId } as const;
    const sending = running.send(queryId, () => client.query(asked));
    const result = await withinLimit(sending, signal);
    if ('kind' in result) {
      const closing = sending.then((late) => late.close());
      closing.catch(() => {});
      return result;
    }
    const lines = linesOf(result.stream());
    const close = () => {
      running.cutOff(queryId);
      result.close();
    };
    signal.addEventListener('abort', close, { once: true });
    try {
      const [names, types, ...begun] = await heading(lines);
      const typeOf = JSON.parse(types) as string[];
      const columns = (JSON.parse(names) as string[]).map((name, index) => ({ name, type: typeOf[index]! }));
      return { kind: 'answer', columns, rows: following(begun, lines, queryId) };
    } catch (error) {
      running.cutOff(queryId);
      throw error;
    }
  }

  /** The answer to what is sent, or why it is not waited for any longer. */
  async function withinLimit<Answer>(sending: Promise<Answer>, signal: AbortSignal): Promise<Answer | QueryFailure> {
    const over = new AbortController();
    const left = AbortSignal.any([signal, over.signal]);
    const late = clock.sleep(READ_LIMITS.maxExecutionS * 1_000 + BEYOND_LIMIT_MS, left);
    const giveUp = late.then(() => (signal.aborted ? ABANDONED : TOO_SLOW));
    try {
      return await Promise.race([sending, giveUp]);
    } finally {
      over.abort();
    }
  }

  async function* following(
    begun: readonly string[],
    lines: AsyncGenerator<string[]>,
    queryId: string,
  ): AsyncGenerator<readonly string[]> {
    try {
      if (begun.length > 0) yield begun;
      yield* lines;
      running.ended(queryId);
    } finally {
      running.cutOff(queryId);
      // A reader that stops early closes the connection.
      await lines.return(undefined);
    }
  }
}

/** What tables of Weir's database may be called in a query. */
const namesIn = (database: string, tables: readonly string[]): ReadonlySet<string> =>
  new Set(tables.flatMap((table) => [table, `${database}.${table}`]));

/** The client has left: this answer is not sent. */
const ABANDONED: QueryFailure = { kind: 'unavailable', isForOperator: false, error: null };

const refused = (message: string): QueryFailure => ({ kind: 'refused', message, error: null });

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
