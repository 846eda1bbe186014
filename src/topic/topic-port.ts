/**
 * The topic as the parts around it see it: an ordered log for each partition, kept by brokers, which producers append
 * to and which members of one group read. `kafka/` implements it; nothing here knows that vendor.
 *
 * What the parts rely on, and every implementation must keep:
 *
 * - A record whose `append` resolved is on every in-sync replica, once. One whose `append` rejected, or whose process
 *   ended first, may be in the log or not, once or never.
 * - The records of one partition have ascending offsets (with gaps), and every reader sees the same bytes at the same
 *   offset. After an unclean election of a leader that may be broken; so nothing is told apart by offsets alone.
 * - Two members may hold one partition at the same time: the one that lost it does not know yet.
 */

/** A record as it is appended: opaque bytes, and a head that says what they are (`frame.ts`). */
export type TopicEntry = {
  /** Written as one header of the record. */
  readonly head: Buffer;
  /** Its value, in pieces; none for a tick. */
  readonly chunks: readonly Buffer[];
};

/** A record as it is read. `head` is null for one that Weir did not write. */
export type TopicRecord = {
  readonly offset: number;
  /** When it was made or appended, by whatever clock `Tenure.offsetAt` goes by in this topic; epoch ms. */
  readonly time: number;
  readonly head: Buffer | null;
  /** Whoever reads it may give its memory back (`runtime/freed-memory.ts`): it is nobody else's. */
  readonly value: Buffer;
  /** `fingerprintOf` the value as it stands in the log, which may be packed. */
  readonly fingerprint: Buffer;
  /** Why the value cannot be read, which is then as it is stored; absent for nearly all. */
  readonly unreadable?: string;
};

export type TopicWriter = {
  /** How many partitions the topic has. Resolves once a broker has told; never rejects before `signal` aborts. */
  partitionCount(signal: AbortSignal): Promise<number>;
  /**
   * Appends one record to the partition. Resolves when all in-sync replicas have it; repeats itself, without doubling
   * the record, for as long as the broker is away. Rejects with `TopicFailure` when the broker refuses the record for
   * good (`too_large`, `denied`), when it is `unclear` whether the record is in the log and no longer safe to repeat it
   * as the same, or when the writer was closed. One append of a partition is under way at a time.
   */
  append(partition: number, entry: TopicEntry): Promise<void>;
  /** The largest value, with its head, in bytes, that the topic takes uncompressed; known once a broker has told. */
  maxRecordBytes(): number;
  /** Whether brokers answer: null until the first did or failed to. */
  isUp(): boolean | null;
  /** Why not, for a person; null while they do. */
  trouble(): string | null;
  /** Ends appends that are under way: they reject. */
  close(): Promise<void>;
};

/**
 * `too_large`: more than the topic takes. `denied`: rights or settings. `unclear`: the record may be in the log, and the
 * broker no longer knows its producer; it can be appended as a repeat. `closed`: the writer ended first.
 */
export type TopicFailureKind = 'too_large' | 'denied' | 'unclear' | 'closed';

/** The message holds no event data and is safe to log. */
export class TopicFailure extends Error {
  override readonly name = 'TopicFailure';
  readonly kind: TopicFailureKind;

  constructor(message: string, { kind, cause }: { kind: TopicFailureKind; cause?: unknown }) {
    super(message, { cause });
    this.kind = kind;
  }
}

/** The time during which a member holds a partition. */
export type Tenure = {
  readonly partition: number;
  /** Identifies the topic for good: not its name, which another one may bear later. */
  readonly topicId: string;
  /** The offset to begin at. */
  readonly start: number;
  /**
   * Whether a batch is known to begin at `start`: it was committed by Weir, or it is 0 and nothing was removed. Elsewhere
   * other readers may have cut differently.
   */
  readonly isBoundary: boolean;
  /** The end of the partition when the tenure began: what stands before it may have been sent by an earlier holder. */
  readonly takenAt: number;
  /** Records between the committed offset and `start` that the broker removed unread. */
  readonly removed: number;
  /** Aborts when the partition was given to another member, or may have been. */
  readonly over: AbortSignal;
  /**
   * The records from `offset` on, in order, at least one unless none came within the wait (about half a second), about
   * `maxBytes` of values, one record more at most; `end`: the offset behind the last record of the partition, as
   * the broker last told. Waits for as long as the broker is away. Rejects once the tenure is over, never else.
   */
  read(offset: number, maxBytes: number): Promise<{ readonly records: readonly TopicRecord[]; readonly end: number }>;
  /**
   * An offset from which on all records stand that their makers appended at that time (epoch ms) or later, as near to
   * the first of them as the broker can tell; null where older ones than it still has may be among them. Waits and
   * rejects as `read` does.
   */
  offsetAt(epochMs: number): Promise<number | null>;
  /**
   * Everything before `offset`, where a batch begins, needs no reader any more. Resolves when the group knows; never
   * rejects: a commit that failed is made good by the next one or costs a repeat that changes nothing.
   */
  commit(offset: number): Promise<void>;
};

/** What a member of the group is told. */
export type TopicHolder = {
  /** The partition is this member's now. Must not throw. */
  taken(tenure: Tenure): void;
};

export type TopicReader = {
  /** Takes part in the group until `signal` aborts, then leaves it in order. Never rejects. */
  run(holder: TopicHolder, signal: AbortSignal): Promise<void>;
  isUp(): boolean | null;
  trouble(): string | null;
  /** Whether this process is a member of the group now. */
  isMember(): boolean;
  /** The partitions that this member holds, and how many the topic has; null until known. */
  held(): { readonly partitions: readonly number[]; readonly of: number } | null;
};
