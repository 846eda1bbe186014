/**
 * What ClickHouse's failures mean to the client that asked. ClickHouse's own
 * sentence is handed on only where it was made out of the question's text: the
 * sentences of a running query may quote rows.
 */
import { ClickHouseError } from '@clickhouse/client';
import type { QueryFailure } from '../../pipeline/read-ports.ts';
import { NO_SETTINGS, noSuchTable } from './query-guard.ts';
import { READ_LIMITS } from './reader-settings.ts';

/** Numbers and names after ClickHouse's src/Common/ErrorCodes.cpp; an answer's own name would come out of text. */
const NAMES: ReadonlyMap<number, string> = new Map([
  [6, 'CANNOT_PARSE_TEXT'],
  [36, 'BAD_ARGUMENTS'],
  [41, 'CANNOT_PARSE_DATETIME'],
  [42, 'NUMBER_OF_ARGUMENTS_DOESNT_MATCH'],
  [43, 'ILLEGAL_TYPE_OF_ARGUMENT'],
  [46, 'UNKNOWN_FUNCTION'],
  [47, 'UNKNOWN_IDENTIFIER'],
  [53, 'TYPE_MISMATCH'],
  [60, 'UNKNOWN_TABLE'],
  [62, 'SYNTAX_ERROR'],
  [69, 'ARGUMENT_OUT_OF_BOUND'],
  [70, 'CANNOT_CONVERT_TYPE'],
  [72, 'CANNOT_PARSE_NUMBER'],
  [81, 'UNKNOWN_DATABASE'],
  [115, 'UNKNOWN_SETTING'],
  [125, 'INCORRECT_RESULT_OF_SCALAR_SUBQUERY'],
  [153, 'ILLEGAL_DIVISION'],
  [158, 'TOO_MANY_ROWS'],
  [159, 'TIMEOUT_EXCEEDED'],
  [164, 'READONLY'],
  [167, 'TOO_DEEP_AST'],
  [168, 'TOO_BIG_AST'],
  [179, 'MULTIPLE_EXPRESSIONS_FOR_ALIAS'],
  [184, 'ILLEGAL_AGGREGATION'],
  [202, 'TOO_MANY_SIMULTANEOUS_QUERIES'],
  [203, 'NO_FREE_CONNECTION'],
  [207, 'AMBIGUOUS_IDENTIFIER'],
  [215, 'NOT_AN_AGGREGATE'],
  [241, 'MEMORY_LIMIT_EXCEEDED'],
  [279, 'ALL_CONNECTION_TRIES_FAILED'],
  [306, 'TOO_DEEP_RECURSION'],
  [307, 'TOO_MANY_BYTES'],
  [349, 'CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN'],
  [376, 'CANNOT_PARSE_UUID'],
  [386, 'NO_COMMON_TYPE'],
  [394, 'QUERY_WAS_CANCELLED'],
  [395, 'FUNCTION_THROW_IF_VALUE_IS_NON_ZERO'],
  [396, 'TOO_MANY_ROWS_OR_BYTES'],
  [403, 'INVALID_JOIN_ON_EXPRESSION'],
  [407, 'DECIMAL_OVERFLOW'],
  [452, 'SETTING_CONSTRAINT_VIOLATION'],
  [456, 'UNKNOWN_QUERY_PARAMETER'],
  [497, 'ACCESS_DENIED'],
  [516, 'AUTHENTICATION_FAILED'],
]);

/** Found while the names and types of the question are worked out: the sentence is about its text. */
const ABOUT_THE_TEXT: ReadonlySet<number> = new Set([42, 43, 46, 47, 53, 179, 184, 207, 215, 386, 403]);

/** The question may be good; ClickHouse has no time for it. */
const BUSY: ReadonlySet<number> = new Set([202, 203, 279, 394]);
/** The question may be good; Weir's user or its settings are not welcome. */
const FOR_OPERATOR: ReadonlySet<number> = new Set([81, 115, 164, 452, 497, 516]);

const SETTING_REFUSED: ReadonlySet<number> = new Set([115, 164, 452]);

const UNKNOWN_TABLE = 60;
const UNKNOWN_IDENTIFIER = 47;
const TIMEOUT_EXCEEDED = 159;
const OWN_SENTENCES: ReadonlyMap<number, string> = new Map([
  [UNKNOWN_TABLE, noSuchTable(null)],
  [158, 'the query would read too many rows; narrow it, for example by timestamp'],
  [
    TIMEOUT_EXCEEDED,
    `the query took longer than ${READ_LIMITS.maxExecutionS} seconds; narrow it, for example by timestamp`,
  ],
  [241, 'the query needs more memory than a query may use; narrow it or group by less'],
  [307, 'the query would read too much; narrow it, for example by timestamp, or name fewer columns'],
  [396, 'the query needs more room on disk than a query may use; narrow it or group by less'],
]);

/** ClickHouse should have given up long ago, and works on. */
export const TOO_SLOW: QueryFailure = {
  kind: 'refused',
  message: OWN_SENTENCES.get(TIMEOUT_EXCEEDED)!,
  error: { store: 'clickhouse', code: TIMEOUT_EXCEEDED, name: 'TIMEOUT_EXCEEDED' },
};

/** Of a text that was only parsed, `offset` bytes behind the beginning, so that everything in the sentence comes from the text. */
export function parseFailure(error: unknown, text: string, offset: number): QueryFailure {
  const found = failure(error, (code, message) =>
    code === 62 ? syntaxSentence(message, text, offset) : shortened(message),
  );
  const isAboutSettings = found.error !== null && SETTING_REFUSED.has(Number(found.error.code));
  // A SETTINGS clause takes effect while it is parsed. That Weir's own settings are taken shows beside it.
  return isAboutSettings ? { kind: 'refused', message: NO_SETTINGS, error: found.error } : found;
}

/** Of a query that ran or was about to. */
export const runFailure = (error: unknown): QueryFailure =>
  failure(error, (code, message) => {
    if (!ABOUT_THE_TEXT.has(code)) return null;
    return (code === UNKNOWN_IDENTIFIER ? unpromotedSentence(message) : null) ?? shortened(message);
  });

function failure(error: unknown, sentenceOf: (code: number, message: string) => string | null): QueryFailure {
  if (!(error instanceof ClickHouseError)) return { kind: 'unavailable', isForOperator: false, error: null };
  const code = Number(error.code);
  const name = NAMES.get(code) ?? 'OTHER';
  const told = { store: 'clickhouse', code, name } as const;
  const isForOperator = FOR_OPERATOR.has(code);
  if (isForOperator || BUSY.has(code)) return { kind: 'unavailable', isForOperator, error: told };
  const sentence = OWN_SENTENCES.get(code) ?? sentenceOf(code, error.message);
  const fallback = `the query failed in ClickHouse (${code} ${name})`;
  return { kind: 'refused', message: sentence ?? fallback, error: told };
}

/** Of a property that has no column, out of ClickHouse's message about it; null when that is about something else. */
export function unpromotedSentence(message: string): string | null {
  const name = UNPROMOTED.exec(message)?.[1];
  if (name === undefined || name.length > MAX_NAME) return null;
  const path = name.split('.').map((part) => `'${part}'`);
  const word = /^[\w.-]+$/.test(name) ? name : `'${name}'`;
  return `there is no column properties.${name}; ask for JSONExtractString(properties, ${path.join(', ')}), or let an operator promote it: weir property promote ${word}`;
}

/** How ClickHouse begins; it goes on with the query and with names that are like it. */
const UNPROMOTED =
  /^(?:Unknown expression(?: or function)? identifier `|Identifier ')(?:[^`'.]*\.){0,3}?properties\.([^`'\\]+)[`']/;
const MAX_NAME = 100;

const MAX_SENTENCE = 500;

function shortened(message: string): string {
  const sentence = message.replaceAll(/\s+/g, ' ').trim();
  return sentence.length <= MAX_SENTENCE ? sentence : `${sentence.slice(0, MAX_SENTENCE).toWellFormed()}…`;
}

/** Where it is in the client's own text, and what was expected there; the rest of the sentence repeats the text. */
function syntaxSentence(message: string, text: string, offset: number): string {
  const position = /failed at position (\d+)/.exec(message)?.[1];
  if (position === undefined) return 'Syntax error';
  // ClickHouse counts bytes, from 1.
  const before = Buffer.from(text).subarray(0, Math.max(0, Number(position) - 1 - offset));
  const lines = before.toString().split('\n');
  const expected = /\. (Expected one of: .*)$/s.exec(message)?.[1] ?? '';
  return shortened(`Syntax error at line ${lines.length}, column ${lines.at(-1)!.length + 1}. ${expected}`);
}
