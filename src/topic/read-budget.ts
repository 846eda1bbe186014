/**
 * How many bytes all partitions together may hold. Where none of what is held can be delivered, since all of it is in
 * batches that are still open, one partition reads on until it has closed one, or nothing comes: by so much the limit may
 * be exceeded, and by one record for each partition that reads, since a read ends with a whole one.
 */
export type ReadBudget = {
  join(reader: object): void;
  /** It reads no more. */
  leave(reader: object): void;
  /** How many bytes that reader may read now; they count as held. Null when there is no room. */
  admit(reader: object): number | null;
  /** What was read, instead of the bytes that were admitted. `isIdle`: the reader holds nothing now. */
  read(reader: object, admitted: number, bytes: number, isIdle: boolean): void;
  /** Nothing has come of its read for a while: another may read on. */
  waits(reader: object): void;
  /** So many bytes that were read belong to no batch. */
  drop(bytes: number): void;
  /** So many of the bytes held are in batches that can be delivered. */
  closed(reader: object, bytes: number): void;
  /** They are not held any more. */
  delivered(bytes: number): void;
  held(): number;
};

const MAX_READ_BYTES = 2 * 1024 * 1024;
const MIN_READ_BYTES = 16 * 1024;

export function createReadBudget(maxBytes: number): ReadBudget {
  const readers = new Set<object>();
  let held = 0;
  let deliverable = 0;
  let readsOn: object | null = null;

  return {
    join: (reader) => void readers.add(reader),
    leave(reader) {
      readers.delete(reader);
      endReadingOn(reader);
    },
    admit(reader) {
      // Idle partitions wait for records too: together they leave half of it to those that are busy.
      const share = Math.floor(maxBytes / 2 / Math.max(readers.size, 1));
      const bytes = Math.max(MIN_READ_BYTES, Math.min(MAX_READ_BYTES, share));
      if (held + bytes > maxBytes) {
        if (deliverable > 0 || (readsOn !== null && readsOn !== reader)) return null;
        readsOn = reader;
      }
      held += bytes;
      return bytes;
    },
    read(reader, admitted, bytes, isIdle) {
      held += bytes - admitted;
      if (isIdle || bytes === 0) endReadingOn(reader);
    },
    waits: endReadingOn,
    drop(bytes) {
      held -= bytes;
    },
    closed(reader, bytes) {
      deliverable += bytes;
      endReadingOn(reader);
    },
    delivered(bytes) {
      deliverable -= bytes;
      held -= bytes;
    },
    held: () => held,
  };

  function endReadingOn(reader: object) {
    if (readsOn === reader) readsOn = null;
  }
}
