/** The topic between intake and inserts, as this process sees it. */
import { Gauge, type Registry } from '@prometheus-io/client';
import { TOPIC_PENDING } from './pages.ts';
import { createReadMetrics } from './read-metrics.ts';

/** What is not stored yet of one partition. */
export type PartitionLag = {
  readonly partition: number;
  readonly records: number;
  /** In records that were read. */
  readonly events: number;
  readonly bytes: number;
  /** Since the oldest of them was made; null where there is none. */
  readonly seconds: number | null;
};

export type TopicMetrics = {
  /** Whether brokers answer; null while that is unknown. */
  readonly isUp: () => boolean | null;
  /** Taken from it and not settled. */
  readonly pending: () => number;
  /** Of the partitions that this process reads. */
  readonly lag: () => readonly PartitionLag[];
  readonly counts: () => {
    /** Records that the brokers removed before they were read. */
    readonly removed: number;
    /** Records that Weir did not write. */
    readonly foreign: number;
  };
};

const LAGS = {
  weir_topic_lag_records: ['Records of the partition that are not stored yet.', ({ records }: PartitionLag) => records],
  weir_topic_lag_events: ['Events in those of them that were read.', ({ events }: PartitionLag) => events],
  weir_topic_lag_bytes: ['Bytes of rows in those of them that were read.', ({ bytes }: PartitionLag) => bytes],
  weir_topic_lag_seconds: [
    'How long the oldest record of the partition that is not stored has waited.',
    ({ seconds }: PartitionLag) => seconds ?? 0,
  ],
} as const;

export function registerTopic(registry: Registry, { isUp, pending, lag, counts }: TopicMetrics): void {
  for (const [name, [help, read]] of Object.entries(LAGS)) {
    registry.registerMetric(
      new Gauge({
        name,
        help,
        labelNames: ['partition'],
        aggregator: 'max',
        registers: [],
        collect() {
          // A partition that another process reads now is that one's to report.
          this.reset();
          for (const one of lag()) this.set({ partition: String(one.partition) }, read(one));
        },
      }),
    );
  }
  const { readGauges, readCounters } = createReadMetrics(registry);
  readGauges('sum', {
    weir_topic_partitions: ['Partitions that this process reads.', () => lag().length],
    [TOPIC_PENDING]: ['Those of the pending events that were taken from the topic.', pending],
  });
  readGauges('min', {
    weir_topic_up: ['1 while brokers of the topic answer.', () => (isUp() === null ? null : Number(isUp()))],
  });
  readCounters({
    weir_topic_removed_records_total: [
      'Records that the brokers removed before Weir had read them: they are lost.',
      () => counts().removed,
    ],
    weir_topic_foreign_records_total: [
      'Records of the topic that Weir did not write, or cannot read; they are skipped.',
      () => counts().foreign,
    ],
  });
}
