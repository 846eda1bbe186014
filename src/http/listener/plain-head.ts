/**
 * Reads the head of a request as nearly every client writes it: complete, in one chunk, and unambiguous in HTTP/1.1. It
 * refuses nothing: any other head, good or bad, is null, and left to Node's HTTP server, which knows all of the
 * protocol. So it only has to be right about what it accepts; a test compares it with Node's own parser.
 */
import type { IncomingHttpHeaders } from 'node:http';

export type PlainHead = {
  /** `OPTIONS` is the preflight of a browser. */
  readonly method: 'POST' | 'OPTIONS';
  readonly target: string;
  /** The headers that Weir reads, by their names in lower case. */
  readonly headers: IncomingHttpHeaders;
  /** The length of the body, by Content-Length; 0 for `OPTIONS`. */
  readonly bodyBytes: number;
  /** Where the body begins. */
  readonly end: number;
};

/** Longer heads are for Node, which has its own limit. */
const MAX_HEAD_BYTES = 8 * 1024;
/** Every front door refuses larger bodies, but Node has to count them. */
const MAX_LENGTH_DIGITS = 9;

/** The role of a header in a plain head. */
type Use =
  /** Passed on to the front door. */
  | 'read'
  /** Required. */
  | 'host'
  /** Announces the end of the body. */
  | 'length'
  /** May only announce that the connection is kept, which it is. */
  | 'kept'
  /** Changes the meaning of the request. */
  | 'not plain';

const USES: Readonly<Record<string, Use>> = {
  authorization: 'read',
  'x-api-key': 'read',
  origin: 'read',
  'idempotency-key': 'read',
  'x-request-id': 'read',
  'access-control-request-headers': 'read',
  'webhook-request-origin': 'read',
  'content-encoding': 'read',
  host: 'host',
  'content-length': 'length',
  connection: 'kept',
  'proxy-connection': 'not plain',
  'transfer-encoding': 'not plain',
  upgrade: 'not plain',
  expect: 'not plain',
};

type Known = { readonly name: string; readonly bytes: Buffer; readonly use: Use };

/** The headers that matter, by the length of their names. */
const KNOWN: readonly (readonly Known[])[] = knownByLength();

function knownByLength(): Known[][] {
  const byLength: Known[][] = [];
  for (const [name, use] of Object.entries(USES)) {
    (byLength[name.length] ??= []).push({ name, bytes: Buffer.from(name), use });
  }
  return Array.from(byLength, (known) => known ?? []);
}

const POST = Buffer.from('POST /');
const OPTIONS = Buffer.from('OPTIONS /');
const VERSION = Buffer.from(' HTTP/1.1\r\n');
const TAB = 0x09;
const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;
const COLON = 0x3a;

/** 1 for the characters of a name: RFC 9110's `tchar`. */
const IS_NAME = tableOf((byte) => /[!#$%&'*+\-.^_`|~0-9A-Za-z]/.test(String.fromCharCode(byte)));
/** 1 for the characters of a value: anything but control characters; the tab is allowed. */
const IS_VALUE = tableOf((byte) => byte === TAB || (byte >= SPACE && byte !== 0x7f));
/** 1 for the characters of a target: visible ASCII without a fragment. */
const IS_TARGET = tableOf((byte) => byte > SPACE && byte < 0x7f && byte !== 0x23);

function tableOf(isIn: (byte: number) => boolean): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, byte) => Number(isIn(byte)));
}

/** The head that the bytes begin with; null when it is not plain, or incomplete. */
export function readPlainHead(bytes: Buffer): PlainHead | null {
  const isPost = isAt(bytes, 0, POST);
  if (!isPost && !isAt(bytes, 0, OPTIONS)) return null;
  const targetStart = (isPost ? POST : OPTIONS).length - 1;
  let at = targetStart;
  while (IS_TARGET[bytes[at]!] === 1) at += 1;
  if (!isAt(bytes, at, VERSION)) return null;
  const target = bytes.toString('latin1', targetStart, at);
  at += VERSION.length;

  const headers: Record<string, string> = {};
  let hasHost = false;
  let bodyBytes = -1;
  while (bytes[at] !== CR) {
    const nameStart = at;
    while (IS_NAME[bytes[at]!] === 1) at += 1;
    if (bytes[at] !== COLON || at === nameStart || at > MAX_HEAD_BYTES) return null;
    const known = knownAt(bytes, nameStart, at);
    at += 1;
    while (bytes[at] === SPACE || bytes[at] === TAB) at += 1;
    const valueStart = at;
    while (IS_VALUE[bytes[at]!] === 1) at += 1;
    let valueEnd = at;
    while (valueEnd > valueStart && (bytes[valueEnd - 1] === SPACE || bytes[valueEnd - 1] === TAB)) valueEnd -= 1;
    if (bytes[at] !== CR || bytes[at + 1] !== LF) return null;
    at += 2;
    if (known === null) continue;
    switch (known.use) {
      case 'not plain':
        return null;
      case 'kept':
        if (bytes.toString('latin1', valueStart, valueEnd).toLowerCase() !== 'keep-alive') return null;
        break;
      case 'host':
        if (hasHost) return null;
        hasHost = true;
        break;
      case 'length':
        if (bodyBytes >= 0) return null;
        bodyBytes = numberAt(bytes, valueStart, valueEnd);
        if (bodyBytes < 0) return null;
        break;
      case 'read':
        if (headers[known.name] !== undefined) return null;
        // A copy: a slice of a longer string would keep that alive for as long as, say, a key is remembered.
        headers[known.name] = bytes.toString('latin1', valueStart, valueEnd);
    }
  }
  if (bytes[at + 1] !== LF || at > MAX_HEAD_BYTES || !hasHost) return null;
  if (isPost ? bodyBytes < 0 : bodyBytes > 0) return null;
  return { method: isPost ? 'POST' : 'OPTIONS', target, headers, bodyBytes: Math.max(bodyBytes, 0), end: at + 2 };
}

function knownAt(bytes: Buffer, start: number, end: number): Known | null {
  const candidates = KNOWN[end - start];
  if (candidates === undefined) return null;
  for (const known of candidates) if (isNamed(bytes, start, known.bytes)) return known;
  return null;
}

/** Whether the name, which must be as long, matches in any case. In names, `| 0x20` changes only letters. */
function isNamed(bytes: Buffer, start: number, name: Buffer): boolean {
  for (let i = 0; i < name.length; i += 1) if ((bytes[start + i]! | 0x20) !== name[i]) return false;
  return true;
}

function isAt(bytes: Buffer, at: number, expected: Buffer): boolean {
  for (let i = 0; i < expected.length; i += 1) if (bytes[at + i] !== expected[i]) return false;
  return true;
}

/** -1 for anything but a number of the usual size and spelling. */
function numberAt(bytes: Buffer, start: number, end: number): number {
  if (end === start || end - start > MAX_LENGTH_DIGITS) return -1;
  let number = 0;
  for (let at = start; at < end; at += 1) {
    const digit = bytes[at]! - 0x30;
    if (digit < 0 || digit > 9) return -1;
    number = number * 10 + digit;
  }
  return number;
}
