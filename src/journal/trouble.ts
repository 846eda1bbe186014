/** What can be wrong with the journal's disk, as the rest of Weir hears of it, and as the journal's own parts tell each other. */

/**
 * Why the journal did not take something: `full` when settling makes room again,
 * `disk-full` when the disk has none, `failed` when the disk cannot be trusted at
 * the moment. All pass by themselves.
 */
export type JournalTrouble = 'full' | 'disk-full' | 'failed' | 'closed';

export class JournalUnavailable extends Error {
  override readonly name = 'JournalUnavailable';
  readonly reason: JournalTrouble;

  constructor(reason: JournalTrouble, cause?: unknown) {
    super(`the journal takes nothing now: ${reason}`, { cause });
    this.reason = reason;
  }
}

/** An error after which the segment is not to be written any more. */
export class Abandoned extends Error {
  override readonly name = 'Abandoned';

  constructor(cause: unknown) {
    super('segment abandoned', { cause });
  }
}

export function isDiskFull(error: unknown): boolean {
  return error instanceof Error && ['ENOSPC', 'EDQUOT'].includes(codeOf(error));
}

/** The system's code for it where there is one; never a path. */
export function codeOf(error: unknown): string {
  const code = error instanceof Error ? (error as { code?: unknown }).code : null;
  return typeof code === 'string' ? code : 'unknown';
}

/** For clean-ups whose failure changes nothing: the file is void, or is closed with the process. */
export function ignore(): void {}
