import { basename } from 'node:path';
import type { JournalFiles, WritableFile } from '../../src/journal/files.ts';

type Change = { readonly position: number; readonly bytes: Buffer } | { readonly length: number };
/** What a reader sees now, what is on disk, and the changes between the two. */
type Inode = { seen: Buffer; synced: Buffer; unsynced: Change[] };
type Entry = { readonly remove: string | null; readonly add: string | null; readonly inode: Inode };

/** The calls a fault can hit. */
export type FileCall = 'create' | 'write' | 'truncate' | 'rename' | 'remove' | 'syncDirectory';
type Fault = { readonly code: 'EIO' | 'ENOSPC' | 'EROFS'; readonly on?: FileCall };

export type FaultyFiles = JournalFiles & {
  /** Fails the changing call this many calls from now (1 is the next), or the first of its kind after it. */
  failIn(calls: number, fault: Fault): void;
  /** Stops the world at the call this many from now: it happens or not, and no call ever returns again. */
  crashIn(calls: number): void;
  readonly crashed: Promise<void>;
  hasCrashed(): boolean;
  /** What a new process finds after the power cut. */
  afterCrash(): FaultyFiles;
  /** How many bytes fit; `Infinity` at first. */
  setCapacity(bytes: number): void;
  bytes(): number;
  /** Changing calls so far, by name. */
  readonly calls: FileCall[];
  /** The file as a reader sees it, to inspect and to damage. */
  contents(): Map<string, Buffer>;
  damage(name: string, change: (content: Buffer) => Buffer): void;
};

const SECTOR = 512;

/**
 * A file system in memory that promises no more than a real one: after a crash, the bytes of a write that did not
 * succeed may be there, or not, or torn, or in another order; one that failed while it was synced drops what was to be
 * on disk, and the next one reports success; an entry of a directory is on disk only once the directory is.
 */
export function createFaultyFiles(
  random: () => number,
  onDisk: ReadonlyMap<string, Buffer> = new Map(),
  { ignoreDirectorySync = false } = {},
): FaultyFiles {
  const names = new Map<string, Inode>();
  const syncedNames = new Map<string, Inode>();
  let entries: Entry[] = [];
  const calls: FileCall[] = [];
  const faults: { in: number; fault: Fault }[] = [];
  let crashAt = Infinity;
  let capacity = Infinity;
  let isLocked = false;
  const { promise: crashed, resolve: crash } = Promise.withResolvers<void>();
  for (const [name, content] of onDisk) {
    const inode: Inode = { seen: content, synced: content, unsynced: [] };
    names.set(name, inode);
    syncedNames.set(name, inode);
  }

  return {
    makeDirectory: async () => {},
    list: async () => [...names.keys()],
    read: async (path) => Buffer.from(inodeOf(path).seen),
    size: async (path) => inodeOf(path).seen.length,
    create: (path) =>
      changing('create', () => {
        const name = basename(path);
        if (names.has(name)) throw failure('EEXIST');
        const inode: Inode = { seen: Buffer.alloc(0), synced: Buffer.alloc(0), unsynced: [] };
        names.set(name, inode);
        entries.push({ remove: null, add: name, inode });
        return fileOf(inode);
      }),
    rename: (from, to) =>
      changing('rename', () => {
        const inode = inodeOf(from);
        names.delete(basename(from));
        names.set(basename(to), inode);
        entries.push({ remove: basename(from), add: basename(to), inode });
      }),
    remove: (path) =>
      changing('remove', () => {
        const inode = inodeOf(path);
        names.delete(basename(path));
        entries.push({ remove: basename(path), add: null, inode });
      }),
    syncDirectory: () =>
      changing('syncDirectory', () => {
        if (ignoreDirectorySync) return;
        for (const entry of entries.splice(0)) applyEntry(syncedNames, entry);
      }),
    lock: async () => {
      if (isLocked) throw failure('EBUSY');
      isLocked = true;
      return () => {
        isLocked = false;
      };
    },
    failIn: (count, fault) => faults.push({ in: calls.length + count, fault }),
    crashIn: (count) => {
      crashAt = calls.length + count;
    },
    crashed,
    hasCrashed: () => calls.length >= crashAt,
    afterCrash: () => {
      // Writers that still use this one are dead.
      crashAt = 0;
      return createFaultyFiles(random, survivors(), { ignoreDirectorySync });
    },
    setCapacity: (bytes) => {
      capacity = bytes;
    },
    bytes: used,
    calls,
    contents: () => new Map([...names].map(([name, { seen }]) => [name, seen])),
    damage: (name, change) => {
      const inode = inodeOf(name);
      inode.seen = change(Buffer.from(inode.seen));
      inode.synced = inode.seen;
    },
  };

  function fileOf(inode: Inode): WritableFile {
    return {
      write: (bytes, position) =>
        changing('write', (isFailing) => {
          const room = Math.max(0, capacity - used());
          const grows = Math.max(0, position + bytes.length - inode.seen.length);
          const fits = grows <= room ? bytes.length : bytes.length - (grows - room);
          const partial = isFailing ? Math.floor(random() * (fits + 1)) : fits;
          const kept = Buffer.from(bytes.subarray(0, partial));
          change(inode, { position, bytes: kept });
          if (fits < bytes.length) throw failure('ENOSPC');
          if (!isFailing) sync(inode, 1);
          // After a failed sync the pages count as clean: the next sync succeeds and does not write them.
          else if (random() < 0.5) sync(inode, 0.3);
        }),
      truncate: (length) =>
        changing('truncate', (isFailing) => {
          change(inode, { length });
          if (!isFailing) sync(inode, 1);
        }),
      close: async () => {
        if (calls.length >= crashAt) await new Promise(() => {});
      },
    };
  }

  /** Every change to the disk goes through here: it happens, or fails, or is where the world ends. */
  async function changing<T>(name: FileCall, act: (isFailing: boolean) => T): Promise<T> {
    for (let turns = Math.floor(random() * 4); turns >= 0; turns--) await Promise.resolve();
    if (calls.length >= crashAt) return new Promise(() => {});
    calls.push(name);
    const index = faults.findIndex((due) => due.in <= calls.length && (due.fault.on ?? name) === name);
    const [due] = index === -1 ? [] : faults.splice(index, 1);
    if (calls.length >= crashAt) {
      try {
        if (random() < 0.7) act(random() < 0.5);
      } catch {
        // The caller is dead and gets no error.
      }
      crash();
      return new Promise(() => {});
    }
    if (due) {
      // A failed write may have written a part, or lost it.
      if (name === 'write') act(true);
      throw failure(due.fault.code);
    }
    return act(false);
  }

  function inodeOf(path: string): Inode {
    const inode = names.get(basename(path));
    if (!inode) throw failure('ENOENT');
    return inode;
  }

  function change(inode: Inode, made: Change) {
    inode.seen = applied(inode.seen, made);
    inode.unsynced.push(made);
  }

  function sync(inode: Inode, chance: number) {
    for (const unsynced of inode.unsynced) if (random() < chance) inode.synced = applied(inode.synced, unsynced);
    inode.unsynced = [];
  }

  function used() {
    return [...names.values()].reduce((sum, { seen }) => sum + seen.length, 0);
  }

  function survivors(): Map<string, Buffer> {
    // Only the process died: everything it wrote is there.
    if (random() < 0.2) return new Map([...names].map(([name, { seen }]) => [name, seen]));
    // All, nothing, or anything in between of the unsynced changes.
    const chance = [0, 0.5, 1][Math.floor(random() * 3)]!;
    for (const entry of entries) if (random() < chance) applyEntry(syncedNames, entry);
    return new Map([...syncedNames].map(([name, inode]) => [name, tornContent(inode, chance)]));
  }

  function tornContent({ synced, unsynced }: Inode, chance: number): Buffer {
    const inOrder = random() < 0.5 ? unsynced : [...unsynced].sort(() => random() - 0.5);
    return inOrder.reduce<Buffer>(
      (content, made) => (random() < chance ? applied(content, torn(made)) : content),
      synced,
    );
  }

  /** The whole write, its beginning, or only some of its sectors. */
  function torn(made: Change): Change {
    const how = random();
    if (!('bytes' in made) || how < 0.4) return made;
    const { position, bytes } = made;
    if (how < 0.7) return { position, bytes: bytes.subarray(0, Math.floor(random() * (bytes.length + 1))) };
    const sectors = Buffer.alloc(bytes.length);
    for (let at = 0; at < bytes.length; at += SECTOR) if (random() < 0.6) bytes.copy(sectors, at, at, at + SECTOR);
    return { position, bytes: sectors };
  }
}

function applied(content: Buffer, made: Change): Buffer {
  if ('length' in made) return Buffer.concat([content.subarray(0, made.length)], made.length);
  const grown = Buffer.concat([content], Math.max(content.length, made.position + made.bytes.length));
  made.bytes.copy(grown, made.position);
  return grown;
}

function applyEntry(names: Map<string, Inode>, { remove, add, inode }: Entry) {
  if (remove !== null && names.get(remove) === inode) names.delete(remove);
  if (add !== null) names.set(add, inode);
}

function failure(code: string): Error {
  return Object.assign(new Error(code), { code });
}
