/**
 * Dead letters as a file: for each letter one line that describes it, followed by its rows exactly as stored. Rows
 * begin with `{"project_id"`, the other lines with `{"weir_letter"`, so either can be filtered out; the description
 * gives the number of the following bytes and their hash.
 */
import { hash } from 'node:crypto';
import * as v from 'valibot';
import { idsOf, splitRows } from '../event/rows.ts';
import type { ImportedDeadLetter } from '../postgres/dead-letters/import.ts';
import type { DeadLetterEntry } from '../postgres/dead-letters/dead-letter-queries.ts';

/** The file is not what `weir dlq export` wrote; the message says where. */
export class BadDeadLetterFile extends Error {
  override readonly name = 'BadDeadLetterFile';
}

const Instant = v.pipe(
  v.string(),
  v.isoTimestamp(),
  v.transform((text) => new Date(text)),
);
const Count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const Positive = v.pipe(v.number(), v.safeInteger(), v.minValue(1));
const Uuid = v.pipe(v.string(), v.regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/));
/** More than any batch, less than what would fill the memory. */
const MAX_DEAD_LETTER_BYTES = 256 * 1024 * 1024;
const MAX_HEADER_BYTES = 1024 * 1024;

const Header = v.object({
  weir_letter: v.literal(1),
  id: Uuid,
  parent_id: v.nullable(Uuid),
  generation: Count,
  events: Positive,
  bytes: v.pipe(Positive, v.maxValue(MAX_DEAD_LETTER_BYTES)),
  sha256: v.string(),
  project_ids: v.array(Uuid),
  group: v.string(),
  error_class: v.string(),
  error_code: v.nullable(v.pipe(v.number(), v.safeInteger())),
  last_error: v.pipe(v.string(), v.maxLength(2_000)),
  ambiguous: v.boolean(),
  attempt_count: Count,
  exposed_ms: Count,
  created_at: Instant,
  last_attempt_at: v.nullable(Instant),
  quarantined_at: v.nullable(Instant),
  quarantine_reason: v.nullable(v.string()),
});

/** The line before the rows, line end included. */
export function headerOf(letter: DeadLetterEntry, rows: Buffer): Buffer {
  const header: v.InferInput<typeof Header> = {
    weir_letter: 1,
    id: letter.id,
    parent_id: letter.parentId,
    generation: letter.generation,
    events: letter.eventCount,
    bytes: rows.length,
    sha256: hash('sha256', rows),
    project_ids: [...letter.projectIds],
    group: letter.group,
    error_class: letter.errorClass,
    error_code: letter.errorCode,
    last_error: letter.lastError,
    ambiguous: letter.ambiguous,
    attempt_count: letter.attemptCount,
    exposed_ms: letter.exposedMs,
    created_at: letter.createdAt.toISOString(),
    last_attempt_at: letter.lastAttemptAt?.toISOString() ?? null,
    quarantined_at: letter.quarantinedAt?.toISOString() ?? null,
    quarantine_reason: letter.quarantineReason,
  };
  return Buffer.from(`${JSON.stringify(header)}\n`);
}

/** The letters of a file, one at a time. Throws `BadDeadLetterFile` at the first one that was changed. */
export async function* readDeadLetterFile(source: AsyncIterable<Uint8Array>): AsyncGenerator<ImportedDeadLetter> {
  const bytes = createReader(source);
  for (let place = 1; ; place++) {
    const line = await bytes.line();
    if (line === null) return;
    const header = parseHeader(line);
    if (header === null) {
      throw new BadDeadLetterFile(
        `Letter ${place} of the file does not begin with a header as \`weir dlq export\` writes it (a file made with --rows-only cannot be imported)`,
      );
    }
    const rows = await bytes.exactly(header.bytes);
    const problem = rows === null ? 'ends too early' : problemOf(header, rows);
    if (problem !== null) throw new BadDeadLetterFile(`Letter ${place} of the file (${header.id}) ${problem}`);
    yield { letter: deadLetterOf(header), rows: rows! };
  }
}

type Header = v.InferOutput<typeof Header>;

function parseHeader(line: Buffer): Header | null {
  try {
    const parsed = v.safeParse(Header, JSON.parse(line.toString('utf8')));
    if (!parsed.success) return null;
    const { quarantined_at, quarantine_reason } = parsed.output;
    return (quarantined_at === null) === (quarantine_reason === null) ? parsed.output : null;
  } catch {
    // A line without JSON is no description.
    return null;
  }
}

function problemOf(header: Header, bytes: Buffer): string | null {
  if (hash('sha256', bytes) !== header.sha256) {
    return 'has a wrong checksum: its rows were changed. A letter is imported unchanged or not at all';
  }
  const rows = splitRows(bytes);
  if (rows.length !== header.events || bytes.at(-1) !== 0x0a) return `does not hold ${header.events} rows`;
  const found = new Set(rows.flatMap((row) => idsOf(row)?.projectId ?? []));
  const isSame = found.size === header.project_ids.length && header.project_ids.every((id) => found.has(id));
  return isSame ? null : 'names projects other than those of its rows';
}

function deadLetterOf(header: Header): DeadLetterEntry {
  return {
    id: header.id,
    parentId: header.parent_id,
    generation: header.generation,
    state: header.quarantined_at === null ? 'waiting' : 'quarantined',
    eventCount: header.events,
    rawBytes: header.bytes,
    projectIds: header.project_ids,
    group: header.group,
    errorClass: header.error_class,
    errorCode: header.error_code,
    lastError: header.last_error,
    ambiguous: header.ambiguous,
    attemptCount: header.attempt_count,
    exposedMs: header.exposed_ms,
    createdAt: header.created_at,
    lastAttemptAt: header.last_attempt_at,
    visibleAt: header.created_at,
    quarantinedAt: header.quarantined_at,
    quarantineReason: header.quarantine_reason,
  };
}

function createReader(source: AsyncIterable<Uint8Array>) {
  const chunks = source[Symbol.asyncIterator]();
  let held: Buffer[] = [];
  let size = 0;

  return { line, exactly };

  /** The next line without its end, null at the end of the file. */
  async function line(): Promise<Buffer | null> {
    for (;;) {
      const all = gathered();
      const end = all.indexOf(0x0a);
      if (end !== -1) return take(end + 1).subarray(0, end);
      if (size > MAX_HEADER_BYTES || !(await pull())) return size === 0 ? null : take(size);
    }
  }

  /** This many bytes, null when there are fewer. */
  async function exactly(count: number): Promise<Buffer | null> {
    while (size < count) if (!(await pull())) return null;
    return take(count);
  }

  async function pull(): Promise<boolean> {
    const next = await chunks.next();
    if (next.done) return false;
    held.push(Buffer.from(next.value));
    size += next.value.length;
    return true;
  }

  function gathered(): Buffer {
    if (held.length !== 1) held = [Buffer.concat(held)];
    return held[0]!;
  }

  function take(count: number): Buffer {
    const all = gathered();
    held = [all.subarray(count)];
    size -= count;
    return all.subarray(0, count);
  }
}
