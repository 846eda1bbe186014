import type { ProjectId } from './event.ts';
import { rawStringOf } from './raw-json.ts';

/** The most bytes one row may take, with `properties` and `extras` as sent, without its line end. */
export const MAX_ROW_BYTES = 256 * 1024;

/** The fields of a row, which are columns of the table. Frozen: dead letters and journals hold such rows. */
export const ROW_FIELDS = [
  'project_id',
  'event_id',
  'event',
  'anonymous_id',
  'user_id',
  'timestamp',
  'session_id',
  'properties',
  'extras',
  'properties_sent',
  'extras_sent',
  'source',
  'received_at',
  'expires_at',
] as const;

/** What all rows of one request have in common. */
export type RowOrigin = {
  readonly projectId: ProjectId;
  /** The front door the events came through. */
  readonly source: string;
  /** When the request arrived, in epoch milliseconds. */
  readonly receivedAt: number;
  /** Seconds from arrival until the rows expire; null keeps them. */
  readonly retentionSeconds: number | null;
};

/** One event's own part of its row: raw JSON as byte text, on one line, except where noted. */
export type RowParts = {
  /** A UUID in lower case, without quotes. */
  readonly eventId: string;
  readonly event: string;
  readonly anonymousId: string | null;
  readonly userId: string | null;
  /** Epoch milliseconds. */
  readonly timestamp: number;
  readonly sessionId: string | null;
  readonly properties: string;
  readonly extras: string;
  /** Where `properties` or `extras` hold a readable form of it: what was sent. */
  readonly propertiesSent?: string;
  readonly extrasSent?: string;
};

export type EncodeRow = (pieces: RowParts) => string;

/** The last result: with one event per request, many come from the same project within a millisecond. */
let known: { readonly origin: RowOrigin; readonly encodeRow: EncodeRow } | null = null;

/**
 * The function that encodes an event as its row: one line of byte text, line end
 * included, the exact bytes that will be stored. The field names and their order
 * are frozen: dead letters and journals hold them.
 */
export function rowEncoder({ projectId, source, receivedAt, retentionSeconds }: RowOrigin): EncodeRow {
  if (
    known?.origin.projectId !== projectId ||
    known.origin.source !== source ||
    known.origin.receivedAt !== receivedAt ||
    known.origin.retentionSeconds !== retentionSeconds
  ) {
    const origin = { projectId, source, receivedAt, retentionSeconds };
    known = { origin, encodeRow: createRowEncoder(origin) };
  }
  return known.encodeRow;
}

function createRowEncoder(origin: RowOrigin): EncodeRow {
  const head = `{"project_id":${rawStringOf(origin.projectId)},"event_id":"`;
  const expiry = origin.retentionSeconds === null ? '' : `,"expires_at":"${expiresAt(origin)}"`;
  const tail = `,"source":${rawStringOf(origin.source)},"received_at":"${isoOf(origin.receivedAt)}"${expiry}}\n`;

  return function encodeRow(pieces) {
    const sent = pieces.propertiesSent === undefined && pieces.extrasSent === undefined ? '' : sentMembers(pieces);
    return `${head}${pieces.eventId}","event":${pieces.event},"anonymous_id":${pieces.anonymousId},"user_id":${pieces.userId},"timestamp":"${isoOf(pieces.timestamp)}","session_id":${pieces.sessionId},"properties":${pieces.properties},"extras":${pieces.extras}${sent}${tail}`;
  };
}

function sentMembers({ propertiesSent, extrasSent }: RowParts): string {
  const properties = propertiesSent === undefined ? '' : `,"properties_sent":${propertiesSent}`;
  return extrasSent === undefined ? properties : `${properties},"extras_sent":${extrasSent}`;
}

const digits = (number: number, length: number) => String(number).padStart(length, '0');

/** The text of every minute of a day, every second of a minute and every millisecond of a second. */
const MINUTES = Array.from(
  { length: 1440 },
  (_, minute) => `${digits(Math.floor(minute / 60), 2)}:${digits(minute % 60, 2)}:`,
);
const SECONDS = Array.from({ length: 60 }, (_, second) => `${digits(second, 2)}.`);
const MILLISECONDS = Array.from({ length: 1000 }, (_, ms) => `${digits(ms, 3)}Z`);

const DAY_MS = 86_400_000;

/** The date prefixes of recently written days. Events of today and of another day alternate. */
const DATES = new Map<number, string>();
const MAX_DATES = 1_024;

/** Equals `toISOString` for 1970 and later, several times as fast. */
export function isoOf(epochMs: number): string {
  const ms = epochMs % DAY_MS;
  const date = DATES.get(epochMs - ms) ?? dateOf(epochMs - ms);
  const second = SECONDS[Math.floor(ms / 1000) % 60];
  return `${date}${MINUTES[Math.floor(ms / 60_000)]}${second}${MILLISECONDS[ms % 1000]}`;
}

function dateOf(day: number): string {
  if (DATES.size >= MAX_DATES) DATES.clear();
  const date = new Date(day).toISOString().slice(0, 11);
  DATES.set(day, date);
  return date;
}

/** The last second that fits the 32 bits of a ClickHouse `DateTime`, in 2106. */
const LATEST_EXPIRY_MS = 4_294_967_295_000;

function expiresAt({ receivedAt, retentionSeconds }: RowOrigin): string {
  const expiryMs = Math.min(receivedAt + (retentionSeconds ?? 0) * 1000, LATEST_EXPIRY_MS);
  return `${new Date(expiryMs).toISOString().slice(0, 19)}Z`;
}

/** How many bytes of rows are kept as text before they are written out. */
const WRITE_BYTES = 256 * 1024;

/** Collects rows and returns them as one chunk of NDJSON. */
export type RowWriter = { write(row: string): void; finish(): Buffer };

/**
 * Text is copied to memory outside the heap at intervals, so that the strings that rows are made of die young: ten
 * megabytes of tiny events would otherwise keep four hundred alive. Rows are written one by one, because joining them
 * first takes twice as long.
 */
export function createRowWriter(): RowWriter {
  const chunks: Buffer[] = [];
  let rows: string[] = [];
  let byteCount = 0;

  return {
    write(row) {
      rows.push(row);
      byteCount += row.length;
      if (byteCount >= WRITE_BYTES) flush();
    },
    finish() {
      flush();
      return chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks);
    },
  };

  function flush(): void {
    const chunk = Buffer.allocUnsafe(byteCount);
    let at = 0;
    for (const row of rows) at += chunk.write(row, at, 'latin1');
    chunks.push(chunk);
    rows = [];
    byteCount = 0;
  }
}
