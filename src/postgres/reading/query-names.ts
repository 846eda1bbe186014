/**
 * What a project's query may call, cast to and compare with. Allow lists, because Postgres has three thousand functions
 * and an operator may have added more: among them are some that see files, settings, other sessions, catalogs and
 * other relations, or take a query as text. What is missing here may be added after asking whether it sees anything
 * but its arguments, and how much memory one call may take: `repeat`, `lpad`, `format` and `array_fill` make a gigabyte
 * out of nothing.
 */
const words = (text: string): readonly string[] => text.trim().split(/\s+/);

const AGGREGATES = words(`
  any_value array_agg avg bit_and bit_or bit_xor bool_and bool_or corr count covar_pop covar_samp every json_agg
  json_agg_strict json_object_agg json_object_agg_strict json_object_agg_unique jsonb_agg jsonb_agg_strict
  jsonb_object_agg jsonb_object_agg_strict max min mode percentile_cont percentile_disc regr_avgx regr_avgy
  regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy stddev stddev_pop stddev_samp string_agg sum
  var_pop var_samp variance
`);

const WINDOW = words(`
  cume_dist dense_rank first_value lag last_value lead nth_value ntile percent_rank rank row_number
`);

const NUMBERS = words(`
  abs acos acosd asin asind atan atan2 atan2d atand cbrt ceil ceiling cos cosd cosh cot cotd degrees div exp floor gcd lcm ln log log10 mod pi power radians random round scale sign sin sind sinh sqrt tan tand tanh
  to_number trim_scale trunc width_bucket
`);

const TEXTS = words(`
  ascii bit_count bit_length btrim char_length character_length chr concat concat_ws convert_from decode encode initcap left length like_escape lower ltrim md5 normalize octet_length overlay position regexp_count regexp_instr
  regexp_like regexp_match regexp_matches regexp_replace regexp_split_to_array regexp_split_to_table regexp_substr
  replace reverse right rtrim sha224 sha256 sha384 sha512 similar_to_escape split_part starts_with
  string_to_array string_to_table strpos substr substring to_hex translate trim unistr upper hashtext hashtextextended
`);

const TIMES = words(`
  age clock_timestamp date date_add date_bin date_part date_subtract date_trunc extract isfinite justify_days
  justify_hours justify_interval make_date make_interval make_time make_timestamp make_timestamptz now
  statement_timestamp timestamp timestamptz timezone to_char to_date to_timestamp transaction_timestamp overlaps
`);

const LISTS = words(`
  array_append array_cat array_dims array_length array_lower array_ndims array_position array_positions array_prepend
  array_remove array_replace array_reverse array_sort array_to_string array_upper cardinality generate_series
  generate_subscripts trim_array unnest num_nonnulls num_nulls
`);

const JSON_FUNCTIONS = words(`
  array_to_json json_array_elements json_array_elements_text json_array_length json_build_array json_build_object
  json_each json_each_text json_extract_path json_extract_path_text json_object json_object_keys json_strip_nulls
  json_to_record json_to_recordset json_typeof jsonb_array_elements jsonb_array_elements_text jsonb_array_length
  jsonb_build_array jsonb_build_object jsonb_each jsonb_each_text jsonb_extract_path jsonb_extract_path_text
  jsonb_object jsonb_object_keys jsonb_path_exists jsonb_path_match jsonb_path_query jsonb_path_query_array
  jsonb_path_query_first jsonb_pretty jsonb_strip_nulls jsonb_to_record jsonb_to_recordset jsonb_typeof row_to_json
  to_json to_jsonb
`);

/** Names of types that are called like functions: `text(x)`. Those of times are above. */
const CONVERSIONS = words('bool bpchar float4 float8 int2 int4 int8 interval numeric text time uuid varchar');

export const FUNCTIONS: ReadonlySet<string> = new Set([
  ...AGGREGATES,
  ...WINDOW,
  ...NUMBERS,
  ...TEXTS,
  ...TIMES,
  ...LISTS,
  ...JSON_FUNCTIONS,
  ...CONVERSIONS,
]);

/** Whose one column in FROM has the alias as its name: the names that other functions give their results go first. */
export const RESULTS_CALLED_AS_ALIAS: ReadonlySet<string> = new Set(
  words(`
    generate_series generate_subscripts json_object_keys jsonb_object_keys jsonb_path_query regexp_matches
    regexp_split_to_table string_to_table unnest
  `),
);

/** The columns of functions that name them themselves. */
export const RESULT_COLUMNS: ReadonlyMap<string, readonly string[]> = new Map([
  ['json_each', ['key', 'value']],
  ['json_each_text', ['key', 'value']],
  ['jsonb_each', ['key', 'value']],
  ['jsonb_each_text', ['key', 'value']],
  ['json_array_elements', ['value']],
  ['json_array_elements_text', ['value']],
  ['jsonb_array_elements', ['value']],
  ['jsonb_array_elements_text', ['value']],
]);

/** By Postgres's own name; what people write instead (`integer`), its parser has made into that. */
export const TYPES: ReadonlySet<string> = new Set(
  words(`
    bit bool bpchar bytea cidr date float4 float8 inet int2 int4 int8 interval json jsonb jsonpath numeric text time
    timestamp timestamptz timetz uuid varbit varchar
  `),
);

export const OPERATORS: ReadonlySet<string> = new Set(
  words(`
    + - * / % ^ |/ ||/ @ & | # ~ << >> = <> != < > <= >= || ~~ !~~ ~~* !~~* ~* !~ !~* ^@
    -> ->> #> #>> #- @> <@ ? ?| ?& @? @@ && ~~~ !~~~
  `),
);

/** What stands for a value of the moment; the others name users, databases and schemas. */
export const VALUES_OF_NOW: ReadonlySet<string> = new Set(
  words(`
    SVFOP_CURRENT_DATE SVFOP_CURRENT_TIME SVFOP_CURRENT_TIME_N SVFOP_CURRENT_TIMESTAMP SVFOP_CURRENT_TIMESTAMP_N
    SVFOP_LOCALTIME SVFOP_LOCALTIME_N SVFOP_LOCALTIMESTAMP SVFOP_LOCALTIMESTAMP_N
  `),
);

/** Columns that every table has: they tell of storage that projects share. */
export const SYSTEM_COLUMNS: ReadonlySet<string> = new Set(words('ctid tableoid xmin xmax cmin cmax'));
