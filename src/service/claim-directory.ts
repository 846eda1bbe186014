import { JournalUnusable } from '../composition/durability.ts';
import type { Config } from '../config/config.ts';
import type { Log } from '../log/log.ts';
import { AlreadyRunning, type RuntimeClaim, claimRuntime } from './runtime-file.ts';

const DISK_FULL: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT']);

/**
 * Claims the data directory for this process. Failing to write the runtime file is tolerated, now, when it is published
 * and when it is released; failing to open a required journal is not. Throws `AlreadyRunning`, `JournalUnusable`.
 */
export function claimDirectory({ dataDir, journal }: Config, pid: number, log: Log): RuntimeClaim {
  try {
    const { publish, release } = claimRuntime(dataDir, pid);
    return { publish: tolerantPublish(publish), release: tolerantRelease(release) };
  } catch (error) {
    if (error instanceof AlreadyRunning) throw error;
    const code = codeOf(error);
    // A full disk does not prevent the start: delivering what the journal holds frees space.
    if (journal.mode === 'on' && !DISK_FULL.has(code)) {
      throw new JournalUnusable(
        `the data directory ${dataDir} cannot be used (${code}): make it writable, set WEIR_DATA_DIR to another directory, or INGEST_JOURNAL to prefer or off`,
        { cause: error },
      );
    }
    warn(error);
    return { publish: () => {}, release: () => {} };
  }

  /** A disk may have become full since the directory was claimed. */
  function tolerantPublish(publish: RuntimeClaim['publish']): RuntimeClaim['publish'] {
    return (endpoints) => {
      try {
        publish(endpoints);
      } catch (error) {
        warn(error);
      }
    };
  }

  /** Or read-only. What is left is no claim: its process is gone. */
  function tolerantRelease(release: RuntimeClaim['release']): RuntimeClaim['release'] {
    return () => {
      try {
        release();
      } catch (error) {
        log.warn({ err: error, code: codeOf(error) }, 'runtime.json cannot be removed; the next start replaces it');
      }
    };
  }

  function warn(error: unknown) {
    const code = codeOf(error);
    log.warn({ err: error, code }, 'data directory cannot be written; other commands will not find this process');
  }
}

const codeOf = (error: unknown) => (error as NodeJS.ErrnoException).code || 'unknown error';
