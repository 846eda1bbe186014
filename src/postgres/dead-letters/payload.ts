/** The payload of a dead letter: its rows, compressed. */
import { promisify } from 'node:util';
import { zstdCompress, zstdDecompress } from 'node:zlib';
import { idsOf, splitRows } from '../../event/rows.ts';
import { uuidOf } from '../../event/uuid.ts';

const decompress = promisify(zstdDecompress);

/** Rows as a payload. Takes about a megabyte of memory while it lasts. */
export const compressRows: (rows: Buffer) => Promise<Buffer> = promisify(zstdCompress);

/** The rows of a payload, or null when it is damaged. */
export async function readRows(payload: Buffer): Promise<Buffer | null> {
  try {
    return await decompress(payload);
  } catch {
    // The kind of damage does not matter: nothing can be read.
    return null;
  }
}

/** The rows of one project and the others, each in order; a row that names no project is among the others. */
export function partByProject(rows: Buffer, projectId: string): { own: Buffer[]; others: Buffer[] } {
  const own: Buffer[] = [];
  const others: Buffer[] = [];
  for (const row of splitRows(rows)) (idsOf(row)?.projectId === projectId ? own : others).push(row);
  return { own, others };
}

/**
 * A UUID v8 that follows from parent and rows: splitting twice gives the same ids. Unlike the drain's `partIdOf` it does
 * not tell its age: ClickHouse never saw it, and an ambiguous part has to be asked about.
 */
export function partId(parentId: string, rows: Buffer): string {
  return uuidOf(Buffer.concat([Buffer.from(parentId), rows]));
}

/** The projects that the rows name. */
export const projectsIn = (rows: readonly Buffer[]): string[] => [
  ...new Set(rows.flatMap((row) => idsOf(row)?.projectId ?? [])),
];
