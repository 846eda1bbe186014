/**
 * What a record of the topic is. A *frame* holds rows as they were encoded; a *tick* holds nothing and ends the batch
 * that is open. The head says which, and by which limits a batch is cut that begins with the frame: so every reader cuts
 * alike, whatever its own settings and version.
 *
 * What these heads mean must never change under one version: other readers cut by it at the same time.
 */
import type { ProjectId } from '../event/event.ts';
import type { BatchId, ProjectShare } from '../pipeline/batch.ts';
import type { TopicEntry, TopicRecord } from './topic-port.ts';

const VERSION = 1;

/** When a batch is closed: at either size, or by a frame made that long after the first one. */
export type CutLimits = { readonly maxEvents: number; readonly maxBytes: number; readonly maxWaitMs: number };

/** Beyond these a head's limits are lowered, so that no record makes a reader hold more. Part of the version. */
const HIGHEST: CutLimits = { maxEvents: 1_000_000, maxBytes: 64 * 1024 * 1024, maxWaitMs: 10 * 60_000 };

export type Frame = {
  readonly id: BatchId;
  /** Epoch ms, by the clock of the process that made it. */
  readonly at: number;
  readonly eventCount: number;
  readonly limits: CutLimits;
  readonly useByProject: ReadonlyMap<ProjectId, ProjectShare>;
  /** It was appended before, to the same partition, and may stand there already, under the same id. */
  readonly isRepeat: boolean;
  /** Its rows may stand in other frames, or be stored already. */
  readonly mayBeElsewhere: boolean;
};

export type Head =
  | ({ readonly kind: 'frame' } & Frame)
  | { readonly kind: 'tick' }
  /** Not written by Weir, or unreadable. */
  | { readonly kind: 'foreign' }
  /** Written by a later version, whose rules are unknown here. */
  | { readonly kind: 'newer'; readonly version: number }
  /** Weir's by its head, and its value cannot be read. */
  | { readonly kind: 'unreadable'; readonly why: string };

/** The most bytes of a head; longer ones are not Weir's. */
const MAX_HEAD_BYTES = 256 * 1024;
/** The most projects in one frame, so that its head stays below that. */
export const MAX_FRAME_PROJECTS = 2_000;
const MAX_ID_LENGTH = 64;
const FIXED_HEAD_BYTES = 256;
const SHARE_BYTES = 48;

/** No head of a frame with events of these projects is longer. */
export function headBytesOf(projects: Iterable<ProjectId>): number {
  let bytes = FIXED_HEAD_BYTES;
  for (const project of projects) bytes += project.length + SHARE_BYTES;
  return bytes;
}

export function encodeFrame({ id, at, eventCount, limits, useByProject, isRepeat, mayBeElsewhere }: Frame): Buffer {
  const { maxEvents, maxBytes, maxWaitMs } = limits;
  const use = [...useByProject].map(([project, { events, bytes }]) => [project, events, bytes]);
  const cut = [maxEvents, maxBytes, maxWaitMs];
  const doubts = { ...(isRepeat && { repeat: true }), ...(mayBeElsewhere && { elsewhere: true }) };
  return Buffer.from(JSON.stringify({ v: VERSION, t: Math.trunc(at), id, n: eventCount, cut, use, ...doubts }));
}

const TICK_HEAD = Buffer.from(JSON.stringify({ v: VERSION, tick: true }));

export const tickEntry = (): TopicEntry => ({ head: TICK_HEAD, chunks: [] });

const FOREIGN: Head = { kind: 'foreign' };

/** What a record is. Depends on nothing but the record; never throws. */
export function readHead({ head, value, unreadable }: Pick<TopicRecord, 'head' | 'value' | 'unreadable'>): Head {
  const members = membersOf(head);
  if (members === null) return FOREIGN;
  const { v, tick } = members;
  if (!isCount(v) || v < 1) return FOREIGN;
  if (v > VERSION) return { kind: 'newer', version: v };
  if (unreadable !== undefined) return { kind: 'unreadable', why: unreadable };
  if (tick === true) return value.length === 0 ? { kind: 'tick' } : FOREIGN;
  return frameOf(members, value) ?? FOREIGN;
}

type Members = Readonly<Record<string, unknown>>;

function membersOf(head: Buffer | null): Members | null {
  if (head === null || head.length > MAX_HEAD_BYTES) return null;
  try {
    const parsed: unknown = JSON.parse(head.toString());
    return typeof parsed === 'object' && parsed !== null ? (parsed as Members) : null;
  } catch {
    return null;
  }
}

const LINE_END = 0x0a;

function frameOf({ t, id, n, cut, use, repeat, elsewhere }: Members, value: Buffer): Head | null {
  const limits = limitsOf(cut);
  const useByProject = useOf(use);
  if (limits === null || useByProject === null) return null;
  if (!Number.isSafeInteger(t) || typeof id !== 'string' || id.length > MAX_ID_LENGTH) return null;
  // A value whose last row has no end would run into the first row of the next frame.
  if (!isCount(n) || n < 1 || value.at(-1) !== LINE_END) return null;
  const frame = { id: id as BatchId, at: t as number, eventCount: n, limits, useByProject };
  return { kind: 'frame', ...frame, isRepeat: repeat === true, mayBeElsewhere: elsewhere === true };
}

function limitsOf(cut: unknown): CutLimits | null {
  if (!Array.isArray(cut) || cut.length !== 3 || !cut.every((limit) => isCount(limit) && limit >= 1)) return null;
  const [events, bytes, ms] = cut as number[];
  return {
    maxEvents: Math.min(events!, HIGHEST.maxEvents),
    maxBytes: Math.min(bytes!, HIGHEST.maxBytes),
    maxWaitMs: Math.min(ms!, HIGHEST.maxWaitMs),
  };
}

function useOf(use: unknown): Map<ProjectId, ProjectShare> | null {
  if (!Array.isArray(use)) return null;
  const shares = new Map<ProjectId, ProjectShare>();
  for (const share of use as unknown[]) {
    if (!Array.isArray(share)) return null;
    const [project, events, bytes] = share as unknown[];
    if (typeof project !== 'string' || project.length > MAX_ID_LENGTH) return null;
    if (!isCount(events) || !isCount(bytes)) return null;
    shares.set(project as ProjectId, { events, bytes });
  }
  return shares;
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
