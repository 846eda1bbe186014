/**
 * The last home of a batch when a shutdown finds neither store willing: a file
 * of its own, synced to disk, taken up again by the next start under the same id
 * and with the same bytes, so that ClickHouse recognises what had landed after
 * all. Everything here is synchronous: it is also what a second signal runs.
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
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import * as v from 'valibot';
import type { ProjectId } from '../event/event.ts';
import type { Batch, BatchId } from '../pipeline/batch.ts';

/** A file that does not hold what it says was set aside under `keptAs`. */
export type Unreadable = { readonly keptAs: string };

const SUFFIX = '.batch';

const Header = v.object({
  version: v.literal(1),
  id: v.string(),
  eventCount: v.number(),
  byteCount: v.number(),
  sha256: v.string(),
  projects: v.record(v.string(), v.object({ events: v.number(), bytes: v.number() })),
});

/** Writes the batch to a file in `dir`. When this returns, it survives a power cut. Throws when it could not. */
export function saveBatch(dir: string, batch: Batch): void {
  mkdirSync(dir, { recursive: true });
  const path = pathOf(dir, batch.id);
  const draft = `${path}.draft`;
  const header: v.InferOutput<typeof Header> = {
    version: 1,
    id: batch.id,
    eventCount: batch.eventCount,
    byteCount: batch.byteCount,
    sha256: hash('sha256', Buffer.concat(batch.chunks)),
    projects: Object.fromEntries(batch.useByProject),
  };
  const file = openSync(draft, 'w', 0o600);
  try {
    for (const part of [Buffer.from(`${JSON.stringify(header)}\n`), ...batch.chunks]) writeWhole(file, part);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(draft, path);
  syncDirectory(dir);
}

/** Every batch that was saved in `dir`. Unreadable files are set aside, never a reason not to start. */
export function readSavedBatches(dir: string): { batches: Batch[]; unreadable: Unreadable[] } {
  const batches: Batch[] = [];
  const unreadable: Unreadable[] = [];
  for (const name of listed(dir)) {
    const path = join(dir, name);
    const batch = parseBatch(readFileSync(path));
    if (batch) batches.push(batch);
    else {
      renameSync(path, `${path}.unreadable`);
      unreadable.push({ keptAs: `${path}.unreadable` });
    }
  }
  return { batches, unreadable };
}

export const hasSavedBatches = (dir: string): boolean => listed(dir).length > 0;

/** Removes the file of a batch that has another home now. */
export function removeSavedBatch(dir: string, id: BatchId): void {
  rmSync(pathOf(dir, id), { force: true });
}

const pathOf = (dir: string, id: string) => join(dir, `${id}${SUFFIX}`);

function listed(dir: string): string[] {
  // Nothing was ever saved; and a disk that is read-only now must not keep Weir from starting.
  if (!existsSync(dir)) return [];
  return readdirSync(dir)
    .filter((name) => name.endsWith(SUFFIX))
    .sort();
}

function parseBatch(content: Buffer): Batch | null {
  const headerEnd = content.indexOf('\n');
  const header = v.safeParse(Header, parseJson(content.toString('utf8', 0, Math.max(headerEnd, 0))));
  const rows = content.subarray(headerEnd + 1);
  if (!header.success || rows.length !== header.output.byteCount || hash('sha256', rows) !== header.output.sha256) {
    return null;
  }
  const { id, eventCount, byteCount, projects } = header.output;
  const useByProject = new Map(Object.entries(projects)) as Map<ProjectId, { events: number; bytes: number }>;
  return { id: id as BatchId, chunks: [rows], eventCount, byteCount, useByProject, mayHaveLanded: true };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // No header is as unreadable as a wrong one.
    return null;
  }
}

function writeWhole(file: number, bytes: Buffer): void {
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
