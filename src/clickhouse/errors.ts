/**
 * What ClickHouse's failures mean. Decided by the error number in the answer's
 * header, never by text that quotes rows: a client must not be able to choose
 * how its own error is treated (invariant I14).
 */
import { type FailureClass, InsertFailure } from '../pipeline/ports.ts';

/**
 * Error numbers by meaning, after ClickHouse's src/Common/ErrorCodes.cpp. What
 * is absent is `unknown`.
 */
const CLASS_OF_CODE = new Map<number, FailureClass>([
  ...classed('unavailable', [
    202, // TOO_MANY_SIMULTANEOUS_QUERIES
    203, // NO_FREE_CONNECTION
    242, // TABLE_IS_READ_ONLY
    279, // ALL_CONNECTION_TRIES_FAILED
  ]),
  ...classed('ambiguous', [
    159, // TIMEOUT_EXCEEDED
    209, // SOCKET_TIMEOUT
    210, // NETWORK_ERROR
    236, // ABORTED
    319, // UNKNOWN_STATUS_OF_INSERT
    394, // QUERY_WAS_CANCELLED
  ]),
  ...classed('capacity', [
    241, // MEMORY_LIMIT_EXCEEDED
    243, // NOT_ENOUGH_SPACE
    252, // TOO_MANY_PARTS; "too many partitions" is told apart below
  ]),
  ...classed('operator', [
    16, // NO_SUCH_COLUMN_IN_TABLE
    47, // UNKNOWN_IDENTIFIER
    60, // UNKNOWN_TABLE
    81, // UNKNOWN_DATABASE
    115, // UNKNOWN_SETTING
    164, // READONLY
    497, // ACCESS_DENIED
    516, // AUTHENTICATION_FAILED
  ]),
  ...classed('data', [
    6, // CANNOT_PARSE_TEXT
    25, // CANNOT_PARSE_ESCAPE_SEQUENCE
    26, // CANNOT_PARSE_QUOTED_STRING
    27, // CANNOT_PARSE_INPUT_ASSERTION_FAILED
    38, // CANNOT_PARSE_DATE
    41, // CANNOT_PARSE_DATETIME
    53, // TYPE_MISMATCH
    69, // ARGUMENT_OUT_OF_BOUND
    72, // CANNOT_PARSE_NUMBER
    117, // INCORRECT_DATA
    321, // VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
    349, // CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
    376, // CANNOT_PARSE_UUID
    469, // VIOLATED_CONSTRAINT
  ]),
]);

/** INSERT_WAS_DEDUPLICATED: the rows are already there. */
const ALREADY_LANDED = 389;
const TOO_MANY_PARTS = 252;

/**
 * Parts of ClickHouse's own sentence, read where the client's text cannot reach:
 * the first words of the message, and what follows the last quoted value. Line
 * ends and quotes inside quoted values are escaped by ClickHouse.
 */
const PARTITIONS_PREFIX = /^Code: 252\. DB::Exception: Too many partitions /;
const VIEW_SUFFIX =
  /: while pushing to view ((?:`[^`'"\n]{1,200}`|[\w.-]){1,400})(?: \([0-9a-f-]{36}\))?\. \([A-Z0-9_]+\)(?: \(version [^\n()]*(?:\([^\n()]*\))?\))?\s*$/;
const UNREADABLE_ROW = /: \(at row (\d{1,9})\)\n: While executing /;
const VIOLATING_ROW =
  /^Code: 469\. DB::Exception: Constraint `[^`\n]*` for table [^'"\n]{1,400} is violated at row (\d{1,9})\. Expression: /;

/** The class of a numbered ClickHouse error; `text` is its whole message. */
export function classOf(code: number, text: string): FailureClass | 'landed' {
  if (code === ALREADY_LANDED) return 'landed';
  if (code === TOO_MANY_PARTS && !PARTITIONS_PREFIX.test(text)) return 'capacity';
  if (VIEW_SUFFIX.test(text)) return 'operator';
  if (code === TOO_MANY_PARTS) return 'data';
  return CLASS_OF_CODE.get(code) ?? 'unknown';
}

/** An answer with an error number in its header, as a failure; null when it says that the rows are there. */
export function failureFromAnswer(status: number, code: number | null, text: string): InsertFailure | null {
  if (code === null) return failureFromStatus(status);
  const meaning = classOf(code, text);
  if (meaning === 'landed') return null;
  const view = VIEW_SUFFIX.exec(text)?.[1];
  const pushing = view === undefined ? '' : ` (while pushing to view ${view})`;
  return new InsertFailure(`ClickHouse error ${code}: ${withoutData(text)}${pushing}`, {
    failureClass: meaning,
    code,
    // The table has its rows before its views get them.
    mayHaveLanded: view !== undefined || !FAILS_BEFORE_WRITING.has(meaning),
    rowHint: rowHintOf(text),
    // The whole text, which quotes rows: for whoever asks for it, never for logs or clients.
    cause: new Error(text),
  });
}

/** Unless it comes out of a view. Running out of memory can happen at any point and is not among them. */
const FAILS_BEFORE_WRITING: ReadonlySet<FailureClass> = new Set<FailureClass>(['unavailable', 'operator', 'data']);

const MAX_KEPT_CHARACTERS = 300;

/**
 * The beginning of ClickHouse's sentence up to where it may quote a row. Values
 * come in quotes, braces or after "Column values"; identifiers in backticks stay.
 */
function withoutData(text: string): string {
  const sentence = text.replace(/^Code: \d+\. DB::Exception: /, '');
  return sentence
    .split(/['"{\n]|Column values/, 1)[0]!
    .slice(0, MAX_KEPT_CHARACTERS)
    .trim();
}

/** ClickHouse counts rows from 1. */
function rowHintOf(text: string): number | null {
  const found = VIOLATING_ROW.exec(text) ?? UNREADABLE_ROW.exec(text);
  return found ? Number(found[1]) - 1 : null;
}

/** An answer without an error number does not come from ClickHouse but from something in front of it. */
function failureFromStatus(status: number): InsertFailure {
  const isGateway = status === 502 || status === 503 || status === 504;
  return new InsertFailure(`HTTP ${status} without a ClickHouse error number`, {
    failureClass: isGateway ? 'unavailable' : 'unknown',
    // A gateway that lost the answer says 502 or 504 like one that found nobody.
    mayHaveLanded: status !== 503,
  });
}

/** Connections that were never made: nothing was sent, so nothing can have landed. */
const NEVER_CONNECTED = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EHOSTDOWN',
  'ENETDOWN',
  'EACCES',
  'CERT_HAS_EXPIRED',
]);
const BROKEN = new Set(['ECONNRESET', 'EPIPE']);

/** A request that got no answer, as a failure. */
export function failureFromTransport(error: unknown): InsertFailure {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  if (code !== undefined && NEVER_CONNECTED.has(code)) {
    return new InsertFailure(`ClickHouse cannot be reached (${code})`, { failureClass: 'unavailable', cause: error });
  }
  return new InsertFailure(`no answer from ClickHouse (${code ?? 'cut short'})`, {
    failureClass: 'ambiguous',
    retryAtOnce: code !== undefined && BROKEN.has(code),
    cause: error,
  });
}

function classed(failureClass: FailureClass, codes: readonly number[]): [number, FailureClass][] {
  return codes.map((code) => [code, failureClass]);
}
