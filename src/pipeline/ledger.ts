/**
 * What became of every event this process accepted or took from a topic. At any instant accepted + taken = stored +
 * deadLettered + replicated + handedOver + pending, where pending is the channels' own count (invariant I1). Dead letters have their own column of the ledger: those that this
 * process drained, whichever process had written them.
 */
export type Ledger = {
  /** Events accepted with a 2xx answer. */
  accepted: number;
  /** Events refused one by one with a reason. */
  rejected: number;
  /** Events of batches that were cut from a topic. */
  taken: number;
  /** Events that the brokers of a topic confirmed. */
  replicated: number;
  /** Events of batches that were left to whoever reads the topic next. */
  handedOver: number;
  /** Fresh events that ClickHouse confirmed. */
  stored: number;
  /** Fresh events that `failed_events` confirmed. */
  deadLettered: number;
  /** Events recovered at the start that an earlier process had to save to disk; they also count as accepted. */
  recovered: number;
  /** Dead-lettered events that ClickHouse confirmed later. */
  replayed: number;
  /** Dead-lettered events set aside until a person decides. */
  quarantined: number;
  /**
   * Lost acknowledged events, of this process or of an earlier one as found at the start; those that can be counted.
   */
  lost: number;
  /** Bytes found unreadable at the start, which may have held more of them. */
  unreadableBytes: number;
};

export const createLedger = (): Ledger => ({
  accepted: 0,
  rejected: 0,
  taken: 0,
  replicated: 0,
  handedOver: 0,
  stored: 0,
  deadLettered: 0,
  recovered: 0,
  replayed: 0,
  quarantined: 0,
  lost: 0,
  unreadableBytes: 0,
});
