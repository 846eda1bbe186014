/**
 * Standard error as a sink that never blocks the process. Writes to anything that may wait forever for a reader (a
 * pipe, a socket, a stopped terminal) do not block; a file is written by one thread of the pool, one write at a time,
 * so that a hanging disk leaves the others to the journal.
 */
import { closeSync, constants, fstatSync, openSync, write, writeSync } from 'node:fs';
import { isatty } from 'node:tty';
import type { Sink } from './output.ts';

const { O_WRONLY, O_NONBLOCK, O_NOCTTY } = constants;

/**
 * `isShared`: whether another process that has the descriptor too can make writes to it block, by merely starting or
 * ending.
 */
export type Destination = Sink & { readonly isShared: boolean };

/**
 * Opens descriptor `fd` for the log. The caller has created Node's own stream for it before: that keeps writes to a
 * pipe or socket from blocking where it cannot be reopened.
 */
export function destinationOf(fd: number): Destination {
  const kind = kindOf(fd);
  if (kind === 'file') return writtenByThread(fd);
  // A file description of our own: what other processes do to theirs, such as Node at its start and end, cannot make
  // our writes block.
  const own = kind === 'socket' ? null : reopen(fd);
  if (own === null && kind === 'terminal') return writtenByThread(fd);
  return writtenAtOnce(own ?? fd, own === null);
}

type Kind = 'pipe' | 'socket' | 'terminal' | 'file';

function kindOf(fd: number): Kind {
  try {
    const status = fstatSync(fd);
    if (status.isFIFO()) return 'pipe';
    if (status.isSocket()) return 'socket';
    return isatty(fd) ? 'terminal' : 'file';
  } catch {
    // Closed: every write will fail with it.
    return 'file';
  }
}

/** null where the system has no such names, or the pipe belongs to another user. */
function reopen(fd: number): number | null {
  try {
    const own = openSync(`/proc/self/fd/${fd}`, O_WRONLY | O_NONBLOCK | O_NOCTTY);
    const [before, now] = [fstatSync(fd), fstatSync(own)];
    if (before.dev === now.dev && before.ino === now.ino) return own;
    closeSync(own);
    return null;
  } catch {
    return null;
  }
}

function writtenAtOnce(fd: number, isShared: boolean): Destination {
  return {
    isShared,
    write(bytes, done) {
      let written: number;
      try {
        written = writeSync(fd, bytes);
      } catch (error) {
        return done(error as Error, 0);
      }
      done(null, written);
    },
    writeNow: (bytes) => writeSync(fd, bytes),
  };
}

function writtenByThread(fd: number): Destination {
  return {
    isShared: false,
    write: (bytes, done) => write(fd, bytes, (error, written) => done(error, written)),
    writeNow: (bytes) => writeSync(fd, bytes),
  };
}
