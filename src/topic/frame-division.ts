/** Divides the rows of a batch into frames that the topic takes: between envelopes, and within one only if it must. */
import type { ProjectId } from '../event/event.ts';
import { idsOf, splitRows } from '../event/rows.ts';
import type { Batch, ProjectShare } from '../pipeline/batch.ts';
import { MAX_FRAME_PROJECTS, headBytesOf } from './frame.ts';

/** Rows that go into the topic together. */
export type Rows = Pick<Batch, 'chunks' | 'eventCount' | 'byteCount' | 'useByProject'>;

export type Division = {
  /** In order. Each is at most as large as the topic takes, with its head. */
  readonly frames: readonly Rows[];
  /** Rows of which each alone is larger; null when there are none. */
  readonly tooLarge: Rows | null;
};

/** How many bytes the rows take as one record, at most. */
export const recordBytesOf = ({ byteCount, useByProject }: Rows): number =>
  byteCount + headBytesOf(useByProject.keys());

/** `maxBytes`: of a record, with its head. */
export function divideRows(rows: Rows, maxBytes: number): Division {
  const isOneFrame = rows.useByProject.size <= MAX_FRAME_PROJECTS && recordBytesOf(rows) <= maxBytes;
  if (isOneFrame) return { frames: [rows], tooLarge: null };
  const frames: Rows[] = [];
  let open = beginPart();
  const tooLarge = beginPart();
  const add = (piece: Buffer) => {
    const use = useOf(piece, rows);
    if (!hasRoom(beginPart(), piece, use, maxBytes)) return false;
    if (!hasRoom(open, piece, use, maxBytes)) {
      frames.push(open);
      open = beginPart();
    }
    put(open, piece, use);
    return true;
  };
  for (const chunk of rows.chunks) {
    if (add(chunk)) continue;
    for (const row of splitRows(chunk)) if (!add(row)) put(tooLarge, row, useOf(row, rows));
  }
  if (open.eventCount > 0) frames.push(open);
  return { frames, tooLarge: tooLarge.eventCount === 0 ? null : tooLarge };
}

export function joinRows(parts: readonly Rows[]): Rows {
  const all = beginPart();
  for (const { chunks, eventCount, byteCount, useByProject } of parts) {
    all.chunks.push(...chunks);
    all.eventCount += eventCount;
    all.byteCount += byteCount;
    addUse(all.useByProject, useByProject);
  }
  return all;
}

/** Adds the shares of `more`. */
export function addUse(use: Map<ProjectId, ProjectShare>, more: ReadonlyMap<ProjectId, ProjectShare>): void {
  for (const [project, { events, bytes }] of more) {
    const so = use.get(project);
    use.set(project, { events: (so?.events ?? 0) + events, bytes: (so?.bytes ?? 0) + bytes });
  }
}

type Use = { readonly rows: number; readonly byProject: ReadonlyMap<ProjectId, ProjectShare> };

type Part = {
  readonly chunks: Buffer[];
  eventCount: number;
  byteCount: number;
  readonly useByProject: Map<ProjectId, ProjectShare>;
};

const beginPart = (): Part => ({ chunks: [], eventCount: 0, byteCount: 0, useByProject: new Map() });

function hasRoom(part: Part, piece: Buffer, { byProject }: Use, maxBytes: number): boolean {
  const projects = new Set([...part.useByProject.keys(), ...byProject.keys()]);
  return projects.size <= MAX_FRAME_PROJECTS && part.byteCount + piece.length + headBytesOf(projects) <= maxBytes;
}

function put(part: Part, piece: Buffer, { rows, byProject }: Use): void {
  part.chunks.push(piece);
  part.eventCount += rows;
  part.byteCount += piece.length;
  addUse(part.useByProject, byProject);
}

/** What the rows say themselves of their projects. */
function useOf(piece: Buffer, of: Rows): Use {
  const byProject = new Map<ProjectId, ProjectShare>();
  const rows = splitRows(piece);
  for (const row of rows) {
    const project = projectOf(row, of);
    if (project !== null) addUse(byProject, new Map([[project, { events: 1, bytes: row.length }]]));
  }
  return { rows: rows.length, byProject };
}

function projectOf(row: Buffer, { useByProject }: Rows): ProjectId | null {
  const [only, other] = useByProject.keys();
  if (only !== undefined && other === undefined) return only;
  return (idsOf(row)?.projectId as ProjectId | undefined) ?? null;
}
