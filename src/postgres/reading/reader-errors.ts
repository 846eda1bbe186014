/**
 * What Postgres's failures mean to the client that asked. Postgres's own sentence is handed on only where it was made
 * out of the question's text: the sentences of a running query may quote rows.
 */
import type { QueryFailure, StoreError } from '../../pipeline/read-ports.ts';
import { ConnectFailure } from '../connection/errors.ts';
import { MAX_ROW_BYTES, RowTooLarge } from './row-stream.ts';
import type { SyntaxError } from './query-parser.ts';

/** What one query may use. */
export const READ_LIMITS = {
  maxExecutionS: 30,
  /** Rows given out; the answer says when there were more. */
  maxRows: 100_000,
  /** Bytes of rows given out, as JSON. */
  maxResultBytes: 64 * 1024 * 1024,
  /** For one sort or hash table, of which a query may have several. */
  workMemMb: 32,
  /** Of temporary files, where the user may set that. */
  maxBytesOnDisk: 4 * 1024 ** 3,
  maxParallelWorkers: 2,
} as const;

/** Names after Postgres's errcodes.txt. */
const NAMES: ReadonlyMap<string, string> = new Map(
  Object.entries({
    '21000': 'cardinality_violation',
    '22000': 'data_exception',
    '22001': 'string_data_right_truncation',
    '22003': 'numeric_value_out_of_range',
    '22004': 'null_value_not_allowed',
    '22007': 'invalid_datetime_format',
    '22008': 'datetime_field_overflow',
    '22009': 'invalid_time_zone_displacement_value',
    '2200H': 'sequence_generator_limit_exceeded',
    '2201B': 'invalid_regular_expression',
    '2201E': 'invalid_argument_for_logarithm',
    '2201F': 'invalid_argument_for_power_function',
    '2201G': 'invalid_argument_for_width_bucket_function',
    '2201W': 'invalid_row_count_in_limit_clause',
    '2201X': 'invalid_row_count_in_result_offset_clause',
    '2202E': 'array_subscript_error',
    '22011': 'substring_error',
    '22012': 'division_by_zero',
    '22013': 'invalid_preceding_or_following_size',
    '22015': 'interval_field_overflow',
    '22021': 'character_not_in_repertoire',
    '22023': 'invalid_parameter_value',
    '22025': 'invalid_escape_sequence',
    '22030': 'duplicate_json_object_key_value',
    '22032': 'invalid_json_text',
    '22033': 'invalid_sql_json_subscript',
    '22P02': 'invalid_text_representation',
    '22P03': 'invalid_binary_representation',
    '22P05': 'untranslatable_character',
    '25006': 'read_only_sql_transaction',
    '42501': 'insufficient_privilege',
    '42601': 'syntax_error',
    '42702': 'ambiguous_column',
    '42703': 'undefined_column',
    '42712': 'duplicate_alias',
    '42725': 'ambiguous_function',
    '42803': 'grouping_error',
    '42804': 'datatype_mismatch',
    '42809': 'wrong_object_type',
    '42846': 'cannot_coerce',
    '42883': 'undefined_function',
    '42P01': 'undefined_table',
    '42P09': 'ambiguous_alias',
    '42P10': 'invalid_column_reference',
    '42P18': 'indeterminate_datatype',
    '42P19': 'invalid_recursion',
    '42P20': 'windowing_error',
    '42P22': 'indeterminate_collation',
    '53100': 'disk_full',
    '53200': 'out_of_memory',
    '53300': 'too_many_connections',
    '53400': 'configuration_limit_exceeded',
    '54000': 'program_limit_exceeded',
    '54001': 'statement_too_complex',
    '54011': 'too_many_columns',
    '54023': 'too_many_arguments',
    '57014': 'query_canceled',
    '0A000': 'feature_not_supported',
  }),
);

const TOO_SLOW_SENTENCE = `the query took longer than ${READ_LIMITS.maxExecutionS} seconds; narrow it, for example by timestamp`;
const OWN_SENTENCES: ReadonlyMap<string, string> = new Map([
  ['57014', TOO_SLOW_SENTENCE],
  ['53200', 'the query needs more memory than a query may use; narrow it or group by less'],
  ['53400', 'the query needs more room on disk than a query may use; narrow it or group by less'],
  ['54000', 'a value in the query is larger than Postgres can hold'],
  ['54001', 'the query is nested too deeply'],
]);

/** Found while the names and types of the question are worked out: the sentence is about its text. */
const ABOUT_THE_TEXT = /^(42(?!501|P01)|0A000|54011|54023)/;
/** The question may be good; Postgres has no time or room for it, or is not there. */
const PASSING = /^(08|53(?!200|400)|57P|58|40|55P03|25006|25P0)/;
/** The question may be good; Weir's user, its role or its tables are not as they should be. */
const FOR_OPERATOR = /^(28|3D|3F|42501|42P01)/;

const storeError = (code: string): StoreError => ({ store: 'postgres', code, name: NAMES.get(code) ?? 'other' });

/** Postgres should have given up long ago, and works on. */
export const TOO_SLOW: QueryFailure = { kind: 'refused', message: TOO_SLOW_SENTENCE, error: storeError('57014') };

export const refused = (message: string): QueryFailure => ({ kind: 'refused', message, error: null });

/** Of a text that was only parsed, so that everything in the sentence comes from the text. */
export function parseFailure({ message, position }: SyntaxError, text: string): QueryFailure {
  const sentence = `${shortened(message)} (${placeOf(text, position)})`;
  return { kind: 'refused', message: sentence, error: storeError('42601') };
}

/** Of a query that ran or was about to. Accepts any thrown value. */
export function runFailure(thrown: unknown, text: string): QueryFailure {
  const error = (thrown instanceof ConnectFailure ? thrown.cause : thrown) as Thrown;
  if (error instanceof RowTooLarge)
    return refused(`a row of the answer is larger than ${MAX_ROW_BYTES / 1024 ** 2} MiB; name fewer columns`);
  const code = typeof error?.code === 'string' && /^[0-9A-Z]{5}$/.test(error.code) ? error.code : null;
  if (code === null) return { kind: 'unavailable', isForOperator: false, error: null };
  const isForOperator = FOR_OPERATOR.test(code);
  if (isForOperator || PASSING.test(code) || thrown instanceof ConnectFailure)
    return { kind: 'unavailable', isForOperator, error: storeError(code) };
  return { kind: 'refused', message: sentenceOf(code, error, text), error: storeError(code) };
}

type Thrown = (Error & { readonly code?: unknown; readonly position?: unknown }) | null | undefined;

function sentenceOf(code: string, error: Thrown, text: string): string {
  const own = OWN_SENTENCES.get(code);
  if (own !== undefined) return own;
  if (!ABOUT_THE_TEXT.test(code)) return `the query failed in Postgres (${code} ${storeError(code).name})`;
  const place = Number(error?.position) > 0 ? ` (${placeOf(text, Number(error!.position) - 1)})` : '';
  return `${shortened(error?.message ?? '')}${place}`;
}

/** Postgres counts characters, not units of UTF-16. */
function placeOf(text: string, position: number): string {
  const before = Array.from(text).slice(0, position);
  const line = before.filter((character) => character === '\n').length + 1;
  return `line ${line}, column ${position - before.lastIndexOf('\n')}`;
}

const MAX_SENTENCE = 500;

function shortened(message: string): string {
  const sentence = message.replaceAll(/\s+/g, ' ').trim();
  return sentence.length <= MAX_SENTENCE ? sentence : `${sentence.slice(0, MAX_SENTENCE).toWellFormed()}…`;
}
