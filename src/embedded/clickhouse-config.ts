/** The embedded ClickHouse's configuration file: how much of the machine it takes, and which clients it answers. */
import { KEY_HEADER } from '../clickhouse/connection/key.ts';

/** Modest, for a machine of two cores that also runs everything else. */
export const configOf = ({ name, key }: { name: string; key: string | null }): string => `<clickhouse>
  <display_name>${name}</display_name>
${key === null ? '' : doorsOf(key)}  <keep_alive_timeout>30</keep_alive_timeout>
  <max_server_memory_usage>3000000000</max_server_memory_usage>
  <mark_cache_size>67108864</mark_cache_size>
  <background_pool_size>2</background_pool_size>
  <background_common_pool_size>2</background_common_pool_size>
  <background_fetches_pool_size>1</background_fetches_pool_size>
  <background_move_pool_size>1</background_move_pool_size>
  <background_schedule_pool_size>8</background_schedule_pool_size>
  <!-- As every server has it: which views an insert has failed in, where their errors are ignored. -->
  <query_views_log>
    <database>system</database>
    <table>query_views_log</table>
    <partition_by>event_date</partition_by>
    <ttl>event_date + INTERVAL 1 DAY DELETE</ttl>
    <flush_interval_milliseconds>7500</flush_interval_milliseconds>
  </query_views_log>
  <merge_tree>
    <!-- These must not exceed the small pool above, or merges and mutations never start. -->
    <number_of_free_entries_in_pool_to_execute_mutation>1</number_of_free_entries_in_pool_to_execute_mutation>
    <number_of_free_entries_in_pool_to_lower_max_size_of_merge>1</number_of_free_entries_in_pool_to_lower_max_size_of_merge>
    <number_of_free_entries_in_pool_to_execute_optimize_entire_partition>1</number_of_free_entries_in_pool_to_execute_optimize_entire_partition>
    <merge_with_ttl_timeout>3600</merge_with_ttl_timeout>
    <!-- Parts wait for more of their size before they are merged (usually 5): each row is then rewritten less often. -->
    <merge_selector_base>8</merge_selector_base>
  </merge_tree>
</clickhouse>
`;

/**
 * The first matching rule decides, and these rules replace all of ClickHouse's own: `/ping`, `/play`, `/dashboard` and
 * whatever a later version adds are unavailable to everybody. (Users with passwords would be the usual way; they crash
 * the library.)
 */
const doorsOf = (key: string) => `  <http_handlers>
    <rule>
      <headers><${KEY_HEADER}>${key}</${KEY_HEADER}></headers>
      <handler>
        <type>dynamic_query_handler</type>
        <query_param_name>query</query_param_name>
      </handler>
    </rule>
    <rule>
      <handler>
        <type>static</type>
        <status>403</status>
        <content_type>text/plain; charset=UTF-8</content_type>
        <response_content>This ClickHouse belongs to a Weir; ask it through \`weir query\`.\n</response_content>
      </handler>
    </rule>
  </http_handlers>
`;
