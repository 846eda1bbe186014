/**
 * Classifies ClickHouse's failures by the error number in the answer's header, never by text that quotes rows: a client
 * must not be able to choose how its own error is treated (invariant I14).
 */
import { type FailureClass, InsertFailure } from '../../pipeline/ports.ts';
import { tlsTroubleOf } from '../../net/tls.ts';
import { classOfCode, isOfReplicas } from './error-codes.ts';
import type { Answer, NotClickHouse } from './verified-answers.ts';
import { failedView, missingTarget } from './table-names.ts';

/** INSERT_WAS_DEDUPLICATED: the rows are already there. */
const ALREADY_LANDED = 389;
const TOO_MANY_PARTS = 252;

/**
 * The parts of a message that are ClickHouse's own and that a client's text cannot reach: the first words, and what
 * follows the last quoted value. ClickHouse escapes line ends and quotes inside quoted values.
 */
const PARTITIONS_PREFIX = /^Code: 252\. DB::Exception: Too many partitions /;
const UNREADABLE_ROW = /: \(at row (\d{1,9})\)\n: While executing /;
const VIOLATING_ROW =
  /^Code: 469\. DB::Exception: Constraint `[^`\n]*` for table [^'"\n]{1,400} is violated at row (\d{1,9})\. Expression: /;

/** The class of a numbered ClickHouse error; `text` is its whole message. */
export function classOf(code: number, text: string): FailureClass | 'landed' {
  if (code === ALREADY_LANDED) return 'landed';
  if (code === TOO_MANY_PARTS && !PARTITIONS_PREFIX.test(text)) return 'capacity';
  // What a view is stored in has replicas like the table itself: sent again, the batch completes it.
  if (failedView(text) !== null) return isOfReplicas(code) ? 'ambiguous' : 'operator';
  if (code === TOO_MANY_PARTS) return 'data';
  return classOfCode(code);
}

/** ClickHouse's answer to an insert, as a failure; null when it confirms that the rows are stored. */
export function failureFromAnswer(answer: Answer): InsertFailure | null {
  const { status, code, text, isWhole, isProven } = answer;
  if (code === null) return failureWithoutCode(answer);
  const meaning = classOf(code, text);
  if (meaning === 'landed' && isProven) return null;
  // The end of the message may name a view or the row at fault. Without an id, the answer is believed only where that
  // is harmless.
  const isTrusted = isProven ? isWhole : COSTS_NOTHING.has(meaning);
  const failureClass = meaning === 'landed' || !isTrusted ? 'ambiguous' : meaning;
  const view = failedView(text);
  const missing = missingTarget(text);
  const where = view ?? missing;
  const pushing = where === null ? '' : view ? ` (while pushing to view ${view})` : ` (no table ${where})`;
  const caveat = isTrusted ? '' : isProven ? ' (the answer was cut short)' : ` (HTTP ${status} without a query id)`;
  const message = `ClickHouse error ${code}: ${withoutData(text)}${pushing}${caveat}`;
  const detail = {
    failureClass,
    code,
    // The table stores its rows before its views receive them.
    mayHaveLanded: view !== null || !FAILS_BEFORE_WRITING.has(failureClass),
    rowHint: rowHintOf(text),
    // The whole text, which quotes rows: for callers that need it, never for logs or clients.
    cause: new Error(text),
  };
  const isOfView = where !== null && isProven && isWhole;
  return isOfView ? new ViewFailure(message, detail, { view, missing }) : new InsertFailure(message, detail);
}

/** An insert that failed in a materialized view, or because a view's target cannot be stored. */
export class ViewFailure extends InsertFailure {
  /** The view as ClickHouse writes it; null where only its target table is named. */
  readonly view: string | null;
  /** The missing target table of a view. */
  readonly missing: string | null;

  constructor(
    message: string,
    detail: ConstructorParameters<typeof InsertFailure>[1],
    { view, missing }: { view: string | null; missing: string | null },
  ) {
    super(message, detail);
    this.view = view;
    this.missing = missing;
  }
}

/** Only an empty 200 confirms that the rows are stored. */
function failureWithoutCode({ status, text, isWhole }: Answer): InsertFailure | null {
  if (status === 200 && isWhole && text === '') return null;
  if (status !== 200) return failureFromStatus(status, `HTTP ${status} from ClickHouse without an error number`);
  const what = isWhole ? 'with unexpected content' : 'cut short';
  return new InsertFailure(`no verdict: an answer ${what}`, { failureClass: 'ambiguous' });
}

/**
 * An answer from something other than ClickHouse: it may have forwarded the rows, and says nothing about their fate.
 */
export function failureFromForeignAnswer({ status, message }: NotClickHouse): InsertFailure {
  return failureFromStatus(status, message);
}

function failureFromStatus(status: number, message: string): InsertFailure {
  const failureClass = classOfStatus(status);
  // 413 comes from something in front that did not forward the request. Any other answer may concern forwarded rows:
  // gateways answer 502, 503 or 504 both when they lost ClickHouse's answer and when they reached no server.
  return new InsertFailure(message, { failureClass, mayHaveLanded: failureClass !== 'too_large' });
}

/** What an answer means for an insert when it cannot confirm that the insert landed. */
function classOfStatus(status: number): FailureClass {
  switch (status) {
    case 401: // Unauthorized
    case 403: // Forbidden
    case 407: // Proxy Authentication Required
    case 411: // Length Required: it wants no chunked bodies
    case 414: // URI Too Long
    case 431: // Request Header Fields Too Large
      return 'operator';
    case 413: // Content Too Large
      return 'too_large';
    case 429: // Too Many Requests
      return 'capacity';
    case 425: // Too Early
      return 'unavailable';
    default:
      // 408 Request Timeout is as ambiguous as an unverified success or a redirect.
      return status >= 500 ? 'unavailable' : 'ambiguous';
  }
}

/** Unless it comes out of a view. Running out of memory can happen at any point and is not among these. */
const FAILS_BEFORE_WRITING: ReadonlySet<FailureClass> = new Set<FailureClass>(['unavailable', 'operator', 'data']);

/** Believed without verification, since the only effect is that the rows wait. */
const COSTS_NOTHING: ReadonlySet<FailureClass | 'landed'> = new Set<FailureClass>([
  'unavailable',
  'capacity',
  'operator',
]);

const MAX_KEPT_CHARACTERS = 300;

/**
 * The beginning of ClickHouse's message up to where it may quote a row. Values come in quotes, in braces or after
 * "Column values"; identifiers in backticks stay.
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

/** Connections that were never established: nothing was sent, so nothing can have landed. */
const NEVER_CONNECTED = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EHOSTDOWN',
  'ENETDOWN',
  'EACCES',
]);
/** Nothing is sent to a server whose certificate is rejected. */
function isDistrust(code: string): boolean {
  const trouble = tlsTroubleOf(code);
  return trouble !== null && trouble !== 'no handshake';
}

const BROKEN = new Set(['ECONNRESET', 'EPIPE']);

/** A request without an answer, as a failure. */
export function failureFromTransport(error: unknown): InsertFailure {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  if (code !== undefined && (NEVER_CONNECTED.has(code) || isDistrust(code))) {
    return new InsertFailure(`ClickHouse cannot be reached (${code})`, { failureClass: 'unavailable', cause: error });
  }
  return new InsertFailure(`no answer from ClickHouse (${code ?? 'cut short'})`, {
    failureClass: 'ambiguous',
    retryAtOnce: code !== undefined && BROKEN.has(code),
    cause: error,
  });
}
