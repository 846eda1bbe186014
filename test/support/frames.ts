/** Records of a topic as the relay writes them, and as others might. */
import { fingerprintOf } from '../../src/topic/batch-identity.ts';
import type { ProjectId } from '../../src/event/event.ts';
import type { BatchId } from '../../src/pipeline/batch.ts';
import { type CutLimits, encodeFrame, tickEntry } from '../../src/topic/frame.ts';
import type { TopicEntry, TopicRecord } from '../../src/topic/topic-port.ts';
import { PROJECT } from './factory.ts';
import { batchIdAt } from './rows.ts';

export const CUT: CutLimits = { maxEvents: 10, maxBytes: 10_000, maxWaitMs: 2_000 };

export type FrameSpec = {
  readonly n: number;
  readonly rows?: readonly Buffer[];
  readonly at?: number;
  /** When its id was made; `at` when left out. */
  readonly madeAt?: number;
  readonly id?: BatchId;
  readonly limits?: CutLimits;
  readonly isRepeat?: boolean;
  readonly mayBeElsewhere?: boolean;
  readonly projectId?: ProjectId;
};

/** `n` makes frames distinct: it is in the id and in the row that stands for rows that are not given. */
export function frameOf({ n, rows = [plainRow(n)], at = 0, limits = CUT, ...more }: FrameSpec) {
  const value = Buffer.concat(rows);
  const { id = batchIdAt(Math.max(0, more.madeAt ?? at), n) } = more;
  const useByProject = new Map([[more.projectId ?? PROJECT, { events: rows.length, bytes: value.length }]]);
  const { isRepeat = false, mayBeElsewhere = false } = more;
  const frame = { id, at, eventCount: rows.length, limits, useByProject, isRepeat, mayBeElsewhere };
  return { head: encodeFrame(frame), value };
}

export const plainRow = (n: number, bytes = 20): Buffer => Buffer.from(`${String(n).padStart(bytes - 1, '0')}\n`);

/** What readers get of an entry. */
export const asRead = ({ head, chunks }: TopicEntry): Pick<TopicRecord, 'head' | 'value'> => ({
  head,
  value: Buffer.concat(chunks),
});

/** The same where it stands in the log. */
export const recordAt = (offset: number, entry: Pick<TopicRecord, 'head' | 'value'>, time = 0): TopicRecord => ({
  ...entry,
  offset,
  time,
  fingerprint: fingerprintOf(entry.value),
});

export const tick = asRead(tickEntry());

/** What others may write into the topic. */
export const STRANGERS: readonly { readonly head: Buffer | null; readonly value: Buffer }[] = [
  { head: null, value: Buffer.from('{"some":"event"}') },
  { head: Buffer.from('not json'), value: Buffer.from('x\n') },
  { head: Buffer.from('{"v":1,"t":1,"n":1}'), value: Buffer.from('x\n') },
  { head: Buffer.from('null'), value: Buffer.alloc(0) },
];
