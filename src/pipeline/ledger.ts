/**
 * What became of every event this process accepted. At any instant
 * accepted = stored + deadLettered + saved + pending, where pending is the
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
  /** Fresh events written to a file at shutdown because no store would take them. */
  saved: number;
  /** Events taken up again from such files at start; they also count as accepted. */
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
  saved: 0,
  recovered: 0,
  replayed: 0,
  quarantined: 0,
});
