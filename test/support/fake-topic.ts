/**
 * A topic in memory that takes every liberty its port allows: appends that are refused and are there all the same,
 * records that are removed, two holders at once, tenures that end at any moment, reads of any size, gaps between
 * offsets, commits that are lost or late. Faults are properties of the topic, switched on and off.
 */
import type { Clock } from '../../src/runtime/clock.ts';
import { type Bell, createBell } from '../../src/topic/bell.ts';
import {
  type Tenure,
  type TopicEntry,
  TopicFailure,
  type TopicFailureKind,
  type TopicHolder,
  type TopicReader,
  type TopicRecord,
  type TopicWriter,
} from '../../src/topic/topic-port.ts';
import { asRead, recordAt } from './frames.ts';

/** A process: once it is over, nothing answers it any more, and what it sent may arrive or not. While frozen it hears nothing. */
export type Life = { isOver: boolean };

/** What the group knows of a partition; `isBoundary`: as told by Weir. */
type Committed = { readonly offset: number; readonly isBoundary: boolean };

type Partition = {
  readonly log: TopicRecord[];
  /** When each was appended, by the clock of its maker. */
  readonly madeAt: Map<number, number>;
  /** Records before it were removed. */
  begin: number;
  end: number;
  committed: Committed | null;
  holder: Member | null;
  /** Rings when a record was appended. */
  readonly appended: Bell;
};

type Member = {
  readonly life: Life;
  readonly holder: TopicHolder;
  readonly tenures: Map<number, AbortController>;
};

export type FakeTopic = ReturnType<typeof createFakeTopic>;

export function createFakeTopic(
  { clock, random }: { clock: Clock; random: () => number },
  { partitionCount = 3, topicId = 'topic-1' }: { partitionCount?: number; topicId?: string } = {},
) {
  const partitions: Partition[] = Array.from({ length: partitionCount }, () => ({
    log: [],
    madeAt: new Map(),
    begin: 0,
    end: 0,
    committed: null,
    holder: null,
    appended: createBell(),
  }));
  const members = new Set<Member>();
  const expired = new Set<Member>();

  const topic = {
    partitions,
    /** No broker answers: everything waits until that ends. */
    down: false,
    /** Reads of these wait until they are no more among them, as where no broker leads a partition. */
    leaderless: new Set<number>(),
    /** The next appends reject so, whether the record is there or not. */
    refuse: null as TopicFailureKind | null,
    maxRecordBytes: 1_000_000,
    /** How long a read waits for a record. */
    readWaitMs: 500,
    latencyMs: () => 0,
    /** The chance that a commit is lost, or that it arrives late, after other commits. */
    losesCommit: () => false,
    delaysCommit: () => 0,
    gap: () => 0,
    /** Appends of one process to one partition at a time, at most; must stay 1. */
    mostAtOnce: 0,
    writer,
    reader,
    rebalance,
    expire,
    rejoin,
    remove,
    resetOffset,
    append: land,
    records: (partition: number) => partitions[partition]!.log,
    lagOf: (partition: number) => partitions[partition]!.end - (partitions[partition]!.committed?.offset ?? 0),
  };
  return topic;

  /** Answers only the living. */
  async function answerTo<T>(life: Life, work: () => Promise<T>): Promise<T> {
    const never = new Promise<never>(() => {});
    if (life.isOver) return never;
    try {
      const answer = await work();
      return life.isOver ? await never : answer;
    } catch (error) {
      if (life.isOver) return never;
      throw error;
    }
  }

  async function reached(signal?: AbortSignal) {
    const latencyMs = topic.latencyMs();
    if (latencyMs > 0) await clock.sleep(latencyMs, signal);
    while (topic.down) {
      if (signal?.aborted) return;
      await clock.sleep(100, signal);
    }
  }

  function land(
    partition: number,
    { head, value }: { head: Buffer | null; value: Buffer },
    madeAt = clock.now(),
  ): number {
    const to = partitions[partition]!;
    const offset = to.end + topic.gap();
    to.log.push(recordAt(offset, { head, value }, madeAt));
    to.madeAt.set(offset, madeAt);
    to.end = offset + 1;
    to.appended.ring();
    return offset;
  }

  function writer(life: Life): TopicWriter {
    let isClosed = false;
    let isKnown = false;
    const underWay = new Set<number>();
    return {
      partitionCount: () =>
        answerTo(life, async () => {
          if (!isKnown) await reached();
          isKnown = true;
          return partitions.length;
        }),
      append: (partition, entry) => answerTo(life, () => append(partition, entry)),
      maxRecordBytes: () => topic.maxRecordBytes,
      isUp: () => !topic.down,
      trouble: () => (topic.down ? 'no broker answers' : null),
      async close() {
        isClosed = true;
      },
    };

    async function append(partition: number, appended: TopicEntry) {
      const entry = asRead(appended);
      if (underWay.has(partition)) topic.mostAtOnce = 2;
      underWay.add(partition);
      const madeAt = clock.now();
      try {
        await reached();
        if (isClosed) throw new TopicFailure('closed', { kind: 'closed' });
        if (appended.head.length + entry.value.length > topic.maxRecordBytes) {
          throw new TopicFailure('the record is too large', { kind: 'too_large' });
        }
        const refusal = topic.refuse;
        // What an ended process had sent may still arrive; it cannot once a later one was answered.
        if (refusal === null || random() < 0.5) if (!life.isOver || random() < 0.5) land(partition, entry, madeAt);
        await reached();
        if (refusal !== null) throw new TopicFailure(`refused: ${refusal}`, { kind: refusal });
      } finally {
        underWay.delete(partition);
      }
    }
  }

  function reader(life: Life): TopicReader {
    return {
      async run(holder, signal) {
        const member: Member = { life, holder, tenures: new Map() };
        members.add(member);
        rebalance();
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
        members.delete(member);
        expired.delete(member);
        for (const [partition] of member.tenures) lose(member, partition);
        rebalance();
      },
      isUp: () => !topic.down,
      trouble: () => null,
      isMember: () => [...members].some((member) => member.life === life),
      held: () => ({ partitions: heldBy(life), of: partitions.length }),
    };
  }

  function heldBy(life: Life): number[] {
    return partitions.flatMap(({ holder }, partition) => (holder?.life === life ? [partition] : []));
  }

  /** Gives the partitions to the living members. `shift`: to others than before. */
  function rebalance(shift = 0) {
    for (const member of members) if (member.life.isOver) members.delete(member);
    const all = [...members];
    for (const [partition, state] of partitions.entries()) {
      const next = all.length === 0 ? null : all[(partition + shift) % all.length]!;
      if (next === state.holder) continue;
      if (state.holder !== null && members.has(state.holder)) lose(state.holder, partition);
      state.holder = next;
      if (next !== null) give(next, partition);
    }
  }

  /** The group has not heard of the member for too long. It does not know yet, and goes on. */
  function expire(life: Life) {
    for (const member of members) {
      if (member.life !== life) continue;
      members.delete(member);
      expired.add(member);
    }
    rebalance();
  }

  /** It learns of that, and takes part again. */
  function rejoin(life: Life) {
    for (const member of expired) {
      if (member.life !== life) continue;
      expired.delete(member);
      for (const [partition] of member.tenures) lose(member, partition);
      if (!life.isOver) members.add(member);
    }
    rebalance();
  }

  function lose(member: Member, partition: number) {
    member.tenures.get(partition)?.abort('given to another member');
    member.tenures.delete(partition);
    if (partitions[partition]!.holder === member) partitions[partition]!.holder = null;
  }

  function give(member: Member, partition: number) {
    const over = new AbortController();
    member.tenures.get(partition)?.abort('anew');
    member.tenures.set(partition, over);
    if (!member.life.isOver) member.holder.taken(tenureOf(member, partition, over));
  }

  function tenureOf(member: Member, partition: number, end: AbortController): Tenure {
    const state = partitions[partition]!;
    const committed = state.committed ?? { offset: 0, isBoundary: true };
    const isGone = committed.offset < state.begin;
    const isBeyond = committed.offset > state.end;
    const start = isGone || isBeyond ? state.begin : committed.offset;
    const over = end.signal;
    return {
      partition,
      topicId,
      start,
      isBoundary: start === committed.offset ? committed.isBoundary : start === 0,
      takenAt: state.end,
      removed: state.log.filter(({ offset }) => offset >= committed.offset && offset < start).length,
      over,
      read: (offset, maxBytes) => answerTo(member.life, () => read(state, offset, maxBytes, over)),
      offsetAt: (at) => answerTo(member.life, () => offsetAt(state, at, over)),
      commit: (offset) => answerTo(member.life, () => commit(member, partition, offset)),
    };
  }

  async function read(state: Partition, offset: number, maxBytes: number, over: AbortSignal) {
    await reached(over);
    while (topic.leaderless.has(partitions.indexOf(state)) && !over.aborted) await clock.sleep(100, over);
    if (offset >= state.end) await waitForRecord(state, over);
    // What was removed ends the tenure: where its records went is for the next one to tell.
    if (offset < state.begin) {
      const partition = partitions.indexOf(state);
      const { holder } = state;
      if (holder?.tenures.get(partition)?.signal === over) give(holder, partition);
    }
    if (over.aborted) throw new Error('the tenure is over');
    const records: TopicRecord[] = [];
    let bytes = 0;
    const most = 1 + Math.floor(random() * 20);
    for (const record of state.log) {
      if (record.offset < offset) continue;
      if (records.length >= most || (records.length > 0 && bytes + record.value.length > maxBytes)) break;
      // As from a socket: whoever reads may do with it what it likes.
      records.push({ ...record, value: Buffer.from(record.value) });
      bytes += record.value.length;
    }
    return { records, end: state.end };
  }

  async function offsetAt({ log, madeAt, begin, end }: Partition, at: number, over: AbortSignal) {
    await reached(over);
    if (over.aborted) throw new Error('the tenure is over');
    const found = log.find(({ offset }) => offset >= begin && madeAt.get(offset)! >= at)?.offset ?? end;
    return found > begin || begin === 0 ? found : null;
  }

  async function waitForRecord(state: Partition, over: AbortSignal) {
    const waited = new AbortController();
    const late = clock.sleep(topic.readWaitMs, AbortSignal.any([over, waited.signal]));
    await Promise.race([state.appended.next(), late]);
    waited.abort('answered');
  }

  /** Only what the present holder says counts. */
  async function commit(member: Member, partition: number, offset: number) {
    const state = partitions[partition]!;
    const lateMs = topic.delaysCommit();
    await reached();
    if (topic.losesCommit()) return;
    const apply = () => {
      if (state.holder === member) state.committed = { offset, isBoundary: true };
    };
    if (lateMs > 0) void clock.sleep(lateMs).then(apply);
    else apply();
  }

  /** As retention does. */
  function remove(partition: number, before: number) {
    partitions[partition]!.begin = Math.max(partitions[partition]!.begin, before);
  }

  /** As a tool does, while nobody reads or with everybody beginning anew; `isBoundary` is false for the tool's own places. */
  function resetOffset(partition: number, offset: number, { isBoundary = false } = {}) {
    const state = partitions[partition]!;
    state.committed = { offset, isBoundary };
    if (state.holder !== null) give(state.holder, partition);
  }
}
