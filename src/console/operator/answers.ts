/** The types of what the operator API answers, for the page. */

/** A change that takes a while, as `GET /jobs/:id` answers it. */
export type Job = {
  readonly id: string;
  readonly kind: string;
  /** The name of who began it. */
  readonly by: string;
  /** ISO 8601. */
  readonly startedAt: string;
  readonly state: 'running' | 'done' | 'failed' | 'stopped';
  readonly progress: { readonly step: string; readonly done: number; readonly total: number | null };
  readonly result: unknown;
  readonly error: string | null;
};
