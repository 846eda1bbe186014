/** Failures of the journal's disk: errors for the rest of Weir, and for the journal's own parts. */

/** An error after which the segment must not be written any more. */
export class SegmentAbandoned extends Error {
  override readonly name = 'SegmentAbandoned';

  constructor(cause: unknown) {
    super('segment abandoned', { cause });
  }
}

/**
 * A file of an earlier process cannot be read. What it holds is not known, so nothing may take its place: another start
 * may read it.
 */
export class JournalFileUnreadable extends Error {
  override readonly name = 'JournalFileUnreadable';
  readonly file: string;
  readonly code: string;

  constructor(file: string, cause: unknown) {
    super(`the journal file ${file} cannot be read`, { cause });
    this.file = file;
    this.code = codeOf(cause);
  }
}

export function isDiskFull(error: unknown): boolean {
  return error instanceof Error && ['ENOSPC', 'EDQUOT'].includes(codeOf(error));
}

/** The system's error code where there is one; never a path. */
export function codeOf(error: unknown): string {
  const code = error instanceof Error ? (error as { code?: unknown }).code : null;
  return typeof code === 'string' ? code : 'unknown';
}

/** For clean-ups whose failure changes nothing: the file is superseded, or is closed with the process. */
export function ignore(): void {}
