/**
 * Whose records a journal holds. Every process that opens it writes its name to a file beside the records, together
 * with the file's own location on disk. In a copy of the directory the location is wrong: the process of that name may
 * still run, and send the records that the copy also holds.
 *
 * A moved directory, or a restarted machine, looks like a copy. That only costs a check whether the process still runs.
 */
import { closeSync, fstatSync, fsyncSync, openSync, readFileSync, renameSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import * as v from 'valibot';

export type Origin = {
  /** Processes that may have the same records, and may still run. */
  readonly others: readonly string[];
  /** They have ended: the records are this process's alone. */
  forgetOthers(): void;
};

const OriginJson = v.object({
  writer: v.string(),
  /** For processes whose records have not been delivered from here yet. */
  others: v.array(v.string()),
  place: v.string(),
});

/** The limit for copies of copies, each started and never delivered from. */
const MAX_OTHERS = 16;

/** Records `writer` as the owner of the journal in `dir`. Call it while holding the journal's lock. */
export function claimOrigin(dir: string, writer: string): Origin {
  const path = join(dir, 'origin');
  const found = read(path);
  const others = found === null ? [] : [...found.others, ...(found.isHere ? [] : [found.writer])].slice(-MAX_OTHERS);
  write(path, { writer, others });
  return { others, forgetOthers: () => write(path, { writer, others: [] }) };
}

/** null when there is none, or none that this version understands. */
function read(path: string) {
  try {
    const { writer, others, place } = v.parse(OriginJson, JSON.parse(readFileSync(path, 'utf8')));
    return { writer, others, isHere: place === locationOf(statSync(path, { bigint: true })) };
  } catch {
    // The journal of an earlier version, or a failing disk, which the journal itself reports.
    return null;
  }
}

function write(path: string, { writer, others }: { writer: string; others: readonly string[] }): void {
  const draft = `${path}.draft`;
  try {
    const file = openSync(draft, 'w', 0o600);
    try {
      const place = locationOf(fstatSync(file, { bigint: true }));
      writeSync(file, JSON.stringify({ writer, others, place }));
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(draft, path);
  } catch {
    // A full or failing disk: a copy made now is attributed to the previous process. ClickHouse is still asked about
    // its content.
  }
}

/** A value that no copy shares with its original, not even a copy of the whole disk on another machine. */
function locationOf({ dev, ino, birthtimeNs }: { dev: bigint; ino: bigint; birthtimeNs: bigint }): string {
  return `${dev} ${ino} ${birthtimeNs} ${bootId()}`;
}

function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return ''; // Not Linux.
  }
}
