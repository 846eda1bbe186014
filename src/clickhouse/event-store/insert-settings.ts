/** The settings of every insert of a batch: what makes it land once, and what ClickHouse need not do at once (decision 64). */
import type { ClickHouseSettings } from '@clickhouse/client';

export const INSERTING = {
  insert_deduplicate: 1,
  deduplicate_blocks_in_dependent_materialized_views: 1,
  // Copies within a batch are taken out by the first merge, and by FINAL until then, like those of two batches. Here it
  // would be a second pass over every row of the table, and over what the views have grouped already.
  optimize_on_insert: 0,
  // The first merge builds them, as every merge does. Until then a part is read whole: two granules of one batch.
  materialize_skip_indexes_on_insert: 0,
  // The views group ten thousand rows: finding the compiled code for that costs more than it saves.
  compile_expressions: 0,
  compile_aggregate_expressions: 0,
} as const satisfies ClickHouseSettings;
