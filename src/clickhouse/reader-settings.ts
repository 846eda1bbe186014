/** The settings under which a project's query runs: what keeps it to the project's rows, and how much it may use. */
import { type ClickHouseSettings, SettingsMap } from '@clickhouse/client';

/** What one query may use. Generous for a question a person asks, small enough that a few at a time leave room for inserts. */
export const READ_LIMITS = {
  maxExecutionS: 30,
  /** Rows given out; the answer says when there were more. */
  maxRows: 100_000,
  /** Bytes of rows given out, as JSON. */
  maxResultBytes: 64 * 1024 * 1024,
  maxRowsToRead: 1_000_000_000,
  maxBytesToRead: 100_000_000_000,
  maxMemoryBytes: 1_000_000_000,
  maxThreads: 2,
} as const;

/** So much of an answer is held back by ClickHouse, so that what fails early fails as a whole. */
const HELD_BACK_BYTES = 1024 * 1024;

/** The tree of a query: a client's 64 KiB may be a very long or a very deep one. */
const MAX_TREE_NODES = 10_000;
const MAX_TREE_DEPTH = 200;

/**
 * Without these a project's rows are not safe from another's questions. A
 * ClickHouse that does not know them refuses them, and then nothing is read.
 *
 * The order of evaluation is part of it: a condition that fails on another
 * project's row tells that the row exists. Both settings keep the planner from
 * evaluating a query's own conditions together with, and so before, the filter.
 */
const ISOLATING: ClickHouseSettings = {
  // Nothing is written, and no setting is changed from within the query.
  readonly: '1',
  optimize_move_to_prewhere: 0,
  query_plan_merge_filters: 0,
  // What was tried was tried with the new analyzer.
  enable_analyzer: 1,
};

/**
 * Left out where ClickHouse does not know them, since then there is nothing to
 * switch off: other ways by which rows or numbers of one query could reach
 * another, and ways to evaluate something before the filter.
 */
const PRECAUTIONS: ClickHouseSettings = {
  // Remembers by the condition alone which granules have no row that fits: another project's answer.
  use_query_condition_cache: 0,
  use_query_cache: 0,
  // Answers from what is known about whole parts.
  optimize_trivial_count_query: 0,
  optimize_trivial_approximate_count_query: 0,
  optimize_use_implicit_projections: 0,
  optimize_use_projections: 0,
  optimize_move_to_prewhere_if_final: 0,
  // Each moves or adds conditions near the reading.
  query_plan_merge_filters_into_join: 0,
  use_top_k_dynamic_filtering: 0,
  enable_join_runtime_filters: 0,
  allow_introspection_functions: 0,
  allow_ddl: 0,
  dialect: 'clickhouse',
  implicit_select: 0,
};

const LIMITS: ClickHouseSettings = {
  max_execution_time: READ_LIMITS.maxExecutionS,
  // Otherwise a query is refused for what ClickHouse guesses it would take.
  timeout_before_checking_execution_speed: 0,
  // One more than is given out tells that there were more.
  max_result_rows: String(READ_LIMITS.maxRows + 1),
  result_overflow_mode: 'break',
  max_rows_to_read: String(READ_LIMITS.maxRowsToRead),
  max_bytes_to_read: String(READ_LIMITS.maxBytesToRead),
  max_memory_usage: String(READ_LIMITS.maxMemoryBytes),
  max_temporary_data_on_disk_size_for_query: String(READ_LIMITS.maxMemoryBytes),
  max_threads: READ_LIMITS.maxThreads,
  max_ast_elements: String(MAX_TREE_NODES),
  max_ast_depth: String(MAX_TREE_DEPTH),
  http_response_buffer_size: String(HELD_BACK_BYTES),
  cancel_http_readonly_queries_on_client_close: 1,
};

const FORMATTING: ClickHouseSettings = {
  // What a number in JavaScript would round.
  output_format_json_quote_64bit_integers: 1,
  output_format_json_quote_decimals: 1,
};

export const PRECAUTION_NAMES: readonly string[] = Object.keys(PRECAUTIONS);

/** The settings of a query that sees only what the filters leave. `known`: those of the precautions that this ClickHouse has. */
export function readSettings(filters: Record<string, string>, known: readonly string[]): ClickHouseSettings {
  const precautions = Object.entries(PRECAUTIONS).filter(([name]) => known.includes(name));
  return {
    ...parseSettings(),
    ...Object.fromEntries(precautions),
    additional_table_filters: SettingsMap.from(escaped(filters)),
  };
}

/** The settings for having a text parsed, which reads nothing. */
export function parseSettings(): ClickHouseSettings {
  return { ...LIMITS, ...FORMATTING, ...ISOLATING };
}

/** The driver puts keys and values between single quotes as they are. */
function escaped(filters: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(filters).map(([table, filter]) => [escape(table), escape(filter)]));
}

const escape = (text: string) => text.replaceAll(/[\\']/g, (character) => `\\${character}`);
