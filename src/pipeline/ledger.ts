/**
 * What became of every event this process accepted. At any instant
 * accepted = stored + deadLettered + pending, where pending is the
 * channel's own count (invariant I1). Dead letters have their own column of the
 * ledger: what this process took in by draining, whoever wrote it.
 */
export type Ledger = {
  /** Events answered 2xx as taken. */
  accepted: number;
  /** Events refused one by one with a reason. */
  rejected: number;
  /** Fresh events ClickHouse confirmed. */
  stored: number;
  /** Fresh events `failed_events` confirmed. */
  deadLettered: number;
  /** Events taken up at start that an earlier process had to save to disk; they also count as accepted. */
  recovered: number;
  /** Dead-lettered events ClickHouse confirmed later. */
  replayed: number;
  /** Dead-lettered events set aside until a person decides. */
  quarantined: number;
};

export const createLedger = (): Ledger => ({
  accepted: 0,
  rejected: 0,
  stored: 0,
  deadLettered: 0,
  recovered: 0,
  replayed: 0,
  quarantined: 0,
});
