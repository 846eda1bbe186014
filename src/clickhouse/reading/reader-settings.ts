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
  /** Of memory, for grouping, sorting or joining; what is beyond goes to ClickHouse's disk. */
  maxBytesBeforeDisk: 300_000_000,
  maxBytesOnDisk: 4_000_000_000,
  /** The disk is that of the inserts: with less room left nothing is put there. */
  minFreeDiskBytes: 5_000_000_000,
  maxThreads: 2,
  /** Between two blocks ClickHouse looks whether it should stop: an eighth of its own size, a granule. */
  maxBlockRows: 8192,
} as const;

/** So much of an answer is held back by ClickHouse, so that what fails early fails as a whole. */
const HELD_BACK_BYTES = 1024 * 1024;

/** The tree of a query: a client's 64 KiB may be a very long or a very deep one. */
const MAX_TREE_NODES = 10_000;
const MAX_TREE_DEPTH = 200;

/**
 * Without these a project's rows are not safe from another's questions. A
 * ClickHouse that does not know them refuses them, and then nothing is read.
 */
const ISOLATING: ClickHouseSettings = {
  // Nothing is written, and no setting is changed from within the query.
  readonly: '1',
  // What was tried was tried with the new analyzer.
  enable_analyzer: 1,
  // The order of evaluation: a condition that fails on another project's row tells that the row exists. Both keep the
  // planner from evaluating a query's own conditions together with, and so before, the filter.
  optimize_move_to_prewhere: 0,
  query_plan_merge_filters: 0,
  // What is not read: these speak of all rows of a granule or a part together, so whether a condition is evaluated on
  // a project's own row, where it can fail, tells what other projects' rows hold. The sorting key is left (decision 11).
  use_skip_indexes: 0,
  use_partition_pruning: 0,
  use_statistics: 0,
  use_statistics_for_part_pruning: 0,
};

/**
 * Left out where ClickHouse does not know them, since then there is nothing to
 * switch off: other ways by which rows or numbers of one query could reach
 * another, ways to evaluate something before the filter, and ways to read less
 * by what is known of everybody's rows together.
 */
const PRECAUTIONS: ClickHouseSettings & Record<string, string | number> = {
  // Remembers by the condition alone which granules have no row that fits: another project's answer.
  use_query_condition_cache: 0,
  use_query_condition_cache_for_top_k: 0,
  use_query_cache: 0,
  enable_reads_from_query_cache: 0,
  enable_writes_to_query_cache: 0,
  // Answers from what is known about whole parts.
  optimize_trivial_count_query: 0,
  optimize_trivial_approximate_count_query: 0,
  optimize_trivial_count_with_sparsity_filter: 0,
  optimize_use_implicit_projections: 0,
  optimize_use_projections: 0,
  optimize_use_projection_filtering: 0,
  // Passes over what the sorting key alone would have read.
  use_skip_indexes_on_data_read: 0,
  use_skip_indexes_for_disjunctions: 0,
  use_skip_indexes_for_top_k: 0,
  use_skip_indexes_if_final: 0,
  use_partition_minmax_for_primary_key_pruning: 0,
  use_constant_folding_in_index_analysis: 0,
  enable_full_text_index: 0,
  query_plan_direct_read_from_text_index: 0,
  query_plan_text_index_add_hint: 0,
  query_plan_try_use_vector_search: 0,
  query_plan_optimize_lazy_final: 0,
  enable_join_runtime_filters: 0,
  enable_join_runtime_filters_index_analysis: 0,
  use_top_k_dynamic_filtering: 0,
  // Hands values of the sorting key on as though they were rows.
  read_in_order_use_virtual_row: 0,
  read_in_order_use_virtual_row_per_block: 0,
  // Each moves or adds conditions near the reading.
  optimize_move_to_prewhere_if_final: 0,
  optimize_prewhere_after_pushdown: 0,
  query_plan_optimize_prewhere: 0,
  query_plan_merge_filters_into_join: 0,
  // Choose what is evaluated first by how much others have stored, or asked.
  query_plan_join_swap_table: 'false',
  query_plan_optimize_join_order_limit: 1,
  use_hash_table_stats_for_join_reordering: 0,
  // Other servers may have other settings.
  enable_parallel_replicas: 0,
  automatic_parallel_replicas_mode: 0,
  distributed_index_analysis: 0,
  // Inserts come first: on the disk, and where ClickHouse may say so to its system.
  min_free_disk_space_for_temporary_data: String(READ_LIMITS.minFreeDiskBytes),
  os_threads_nice_value_query: 10,
  allow_introspection_functions: 0,
  allow_ddl: 0,
  dialect: 'clickhouse',
  implicit_select: 0,
};

/** Left out in the same way. */
const COMFORTS: ClickHouseSettings & Record<string, string | number> = {
  // A client may send a name twice: as JSON, an event has the first one, as with JSONExtract, instead of failing the query.
  type_json_skip_duplicated_paths: 1,
};

/**
 * For a query whose rows are filtered by their days: only the index of days, which no condition of the query's own reaches.
 * All copies of an event have one day, so those that are passed over need not be looked for again.
 */
const BY_DAYS: ClickHouseSettings & Record<string, string | number> = {
  use_skip_indexes: 1,
  use_skip_indexes_if_final: 1,
  use_skip_indexes_if_final_exact_mode: 0,
};
const IGNORED_INDEXES = 'ignore_data_skipping_indices';

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
  max_bytes_before_external_group_by: String(READ_LIMITS.maxBytesBeforeDisk),
  max_bytes_before_external_sort: String(READ_LIMITS.maxBytesBeforeDisk),
  // A join that fits into memory is made like any other; one of many millions of links is made piece by piece.
  // The driver's type knows single names; kinds of joins that the first cannot make need the second.
  join_algorithm: 'grace_hash,hash' as 'grace_hash',
  max_bytes_in_join: String(READ_LIMITS.maxBytesBeforeDisk),
  max_temporary_data_on_disk_size_for_query: String(READ_LIMITS.maxBytesOnDisk),
  max_threads: READ_LIMITS.maxThreads,
  max_block_size: String(READ_LIMITS.maxBlockRows),
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

/** The settings that have to do something, or may. */
export const SETTING_NAMES: readonly string[] = Object.keys({
  ...ISOLATING,
  ...PRECAUTIONS,
  ...COMFORTS,
  ...BY_DAYS,
  [IGNORED_INDEXES]: '',
});

/** What keeps projects apart and has no effect any more on a ClickHouse where only `known` of the settings have one. */
export const withoutEffect = (known: readonly string[]): readonly string[] =>
  Object.keys(ISOLATING).filter((name) => !known.includes(name));

/** Whether a ClickHouse that knows these settings can use one index and no other. */
export const knowsOneIndex = (known: readonly string[]): boolean =>
  ['use_skip_indexes_if_final', IGNORED_INDEXES].every((name) => known.includes(name));

/**
 * The settings of a query that sees only what the filters leave. `known`: the settings that have an effect on this
 * ClickHouse. `otherIndexes`: all but the index of days, where the filters go by that; null allows no index.
 */
export function readSettings(
  filters: Record<string, string>,
  known: readonly string[],
  otherIndexes: string | null = null,
): ClickHouseSettings {
  const byDays = otherIndexes === null ? {} : { ...BY_DAYS, [IGNORED_INDEXES]: otherIndexes };
  const optional = Object.entries({ ...PRECAUTIONS, ...COMFORTS, ...byDays }).filter(([name]) => known.includes(name));
  return {
    ...parseSettings(),
    ...Object.fromEntries(optional),
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
