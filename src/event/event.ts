/** The tenant. Every event belongs to exactly one. */
export type ProjectId = string & { readonly __brand: 'ProjectId' };

/** One request's accepted events, already encoded: the unit that is queued or refused whole. */
export type Envelope = {
  readonly projectId: ProjectId;
  readonly eventCount: number;
  /**
   * The rows: NDJSON, one line an event, each line ended by `\n`. These are the
   * exact bytes ClickHouse will read; nothing downstream parses or re-encodes them.
   */
  readonly rows: Buffer;
};

/** Why one event of a request was refused; `index` is its place in the request, from 0, `id` what it was sent with, where its format says so. */
export type Rejection = { readonly index: number; readonly reason: string; readonly id?: string };

/** The most rejections an answer lists. The counts are exact beyond it. */
export const MAX_LISTED_REJECTIONS = 100;
