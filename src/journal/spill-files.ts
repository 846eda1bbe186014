/**
 * The last resort of a batch when a shutdown finds that no store takes it: a file of its own, synced to disk, which the
 * next start takes up under the same id and with the same bytes, so that ClickHouse recognises it if it had landed
 * after all. Everything here is synchronous: a second signal runs it too.
 */
import { hash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import * as v from 'valibot';
import type { ProjectId } from '../event/event.ts';
import type { Batch, BatchId } from '../pipeline/batch.ts';

/**
 * A file whose contents do not match its header. `keptAs`: where it was set aside, or its own place if that failed.
 * `events`: the number in the header, when that is readable.
 */
export type DamagedFile = { readonly keptAs: string; readonly bytes: number; readonly events: number | null };

/** A file of which nothing could be read, for that reason. It may be whole, and stays where it is. */
export type UnreadFile = { readonly path: string; readonly error: unknown };

export type SavedBatches = {
  readonly batches: Batch[];
  readonly damaged: DamagedFile[];
  readonly unread: UnreadFile[];
};

const SUFFIX = '.batch';

const Header = v.object({
  version: v.literal(1),
  id: v.string(),
  eventCount: v.number(),
  byteCount: v.number(),
  sha256: v.string(),
  projects: v.record(v.string(), v.object({ events: v.number(), bytes: v.number() })),
  mayBeElsewhere: v.optional(v.boolean(), false),
});

/** Writes the batch to a file in `dir`. When this returns, it survives a power cut. Throws on failure. */
export function saveBatch(dir: string, batch: Batch): void {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const path = savedPathOf(dir, batch.id);
  const draft = `${path}.draft`;
  const header: v.InferOutput<typeof Header> = {
    version: 1,
    id: batch.id,
    eventCount: batch.eventCount,
    byteCount: batch.byteCount,
    sha256: hash('sha256', Buffer.concat(batch.chunks)),
    projects: Object.fromEntries(batch.useByProject),
    mayBeElsewhere: batch.mayBeElsewhere === true,
  };
  try {
    const file = openSync(draft, 'w', 0o600);
    try {
      for (const part of [Buffer.from(`${JSON.stringify(header)}\n`), ...batch.chunks]) writeFully(file, part);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(draft, path);
  } catch (error) {
    // A smaller batch, or the record of the loss, may fit where this one did not.
    rmSync(draft, { force: true });
    throw error;
  }
  syncDirectory(dir);
}

const LOST = '.lost';

/**
 * Records that the batch is lost, for the next start to report and count. A disk without room for a batch may have some
 * for a few bytes; silent when it has not.
 */
export function recordLoss(dir: string, { id, eventCount }: Pick<Batch, 'id' | 'eventCount'>): void {
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    writeFileSync(join(dir, `${id}${LOST}`), String(eventCount), { mode: 0o600 });
  } catch {
    // The log and the exit code have reported it.
  }
}

/** How many events were in batches that an earlier process recorded as lost. Removes the records. */
export function takeRecordedLosses(dir: string): number {
  if (!existsSync(dir)) return 0;
  let events = 0;
  for (const name of readdirSync(dir).filter((file) => file.endsWith(LOST))) {
    const path = join(dir, name);
    try {
      // An empty record found no room either: a batch has at least one event.
      events += Number(readFileSync(path, 'utf8')) || 1;
      rmSync(path);
    } catch {
      // On a read-only disk it stays, and is as true at the next start.
    }
  }
  return events;
}

/** Every batch that was saved in `dir`. Files that cannot be read, or make no sense, never prevent a start. */
export function readSavedBatches(dir: string): SavedBatches {
  const saved: SavedBatches = { batches: [], damaged: [], unread: [] };
  for (const name of listed(dir)) {
    const path = join(dir, name);
    let content: Buffer;
    try {
      content = readFileSync(path);
    } catch (error) {
      saved.unread.push({ path, error });
      continue;
    }
    const batch = parseBatch(content);
    if (batch) saved.batches.push(batch);
    else {
      const events = headerOf(content)?.eventCount ?? null;
      saved.damaged.push({ keptAs: setAside(path), bytes: content.length, events });
    }
  }
  return saved;
}

/** Returns where the file is now. */
function setAside(path: string): string {
  const aside = `${path}.unreadable`;
  try {
    renameSync(path, aside);
    return aside;
  } catch {
    // On a read-only disk it stays, and is reported again at the next start.
    return path;
  }
}

/** Whether there are any but those files, named by their paths. */
export const hasSavedBatches = (dir: string, but: ReadonlySet<string>): boolean =>
  listed(dir).some((name) => !but.has(join(dir, name)));

/** Removes the file of a batch that has reached a store. Throws when that fails. */
export function removeSavedBatch(dir: string, id: BatchId): void {
  rmSync(savedPathOf(dir, id), { force: true });
}

export const savedPathOf = (dir: string, id: string) => join(dir, `${id}${SUFFIX}`);

function listed(dir: string): string[] {
  // Nothing was ever saved; and a disk that is now read-only must not keep Weir from starting.
  if (!existsSync(dir)) return [];
  return readdirSync(dir)
    .filter((name) => name.endsWith(SUFFIX))
    .sort();
}

function headerOf(content: Buffer): v.InferOutput<typeof Header> | null {
  const text = content.toString('utf8', 0, Math.max(content.indexOf('\n'), 0));
  const header = v.safeParse(Header, parseJson(text));
  return header.success ? header.output : null;
}

function parseBatch(content: Buffer): Batch | null {
  const header = headerOf(content);
  const rows = content.subarray(content.indexOf('\n') + 1);
  if (header === null || rows.length !== header.byteCount || hash('sha256', rows) !== header.sha256) return null;
  const { id, eventCount, byteCount, projects, mayBeElsewhere } = header;
  const useByProject = new Map(Object.entries(projects)) as Map<ProjectId, { events: number; bytes: number }>;
  return {
    id: id as BatchId,
    chunks: [rows],
    eventCount,
    byteCount,
    useByProject,
    mayHaveLanded: true,
    ...(mayBeElsewhere && { mayBeElsewhere }),
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // A missing header counts as a wrong one.
    return null;
  }
}

function writeFully(file: number, bytes: Buffer): void {
  for (let at = 0; at < bytes.length;) at += writeSync(file, bytes, at);
}

/** A rename is on disk only once its directory is. */
function syncDirectory(dir: string): void {
  const handle = openSync(dir, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}
