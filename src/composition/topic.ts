/**
 * The topic between intake and inserts, for one process: the relay that appends what its intake took, and the channel
 * from which its flusher takes batches. Loaded only with `CHANNEL=kafka`. This is the one place that chooses the
 * software behind the topic.
 */
import { randomUUIDv7 } from 'node:crypto';
import type { Clock } from '../runtime/clock.ts';
import { type Config, FLUSH_MAX_BYTES } from '../config/config.ts';
import type { KafkaSettings } from '../config/kafka-settings.ts';
import type { TopicHealth } from '../http/health/health-snapshot.ts';
import { openTopicReader } from '../kafka/reader.ts';
import { openTopicWriter } from '../kafka/writer.ts';
import type { Log } from '../log/log.ts';
import type { TopicMetrics } from '../metrics/topic-metrics.ts';
import type { Channel } from '../pipeline/channel-port.ts';
import type { Ledger } from '../pipeline/ledger.ts';
import { createPartitionTurns } from '../topic/partition-turns.ts';
import { type Relay, createRelay } from '../topic/relay.ts';
import { serialWriter } from '../topic/serial-writer.ts';
import { type TopicChannel, createTopicChannel } from '../topic/topic-channel.ts';
import type { TopicReader } from '../topic/topic-port.ts';
import type { Frames } from './intake.ts';

export type Topic = {
  /** What intake makes of what waits. */
  readonly frames: Frames;
  /** Brings them from intake's channel into the topic. Call it once. */
  relayFrom(channel: Pick<Channel, 'take' | 'settle'>): Relay;
  /** From which a flusher takes batches; null for a process that does not insert. */
  readonly channel: TopicChannel | null;
  readonly metrics: TopicMetrics;
  health(): TopicHealth;
  /** Events and bytes of rows taken from it and not settled. */
  usage(): { readonly events: number; readonly bytes: number };
  /** Ends appends that are under way. */
  close(): Promise<void>;
};

type TopicParts = {
  readonly settings: KafkaSettings;
  readonly config: Config;
  readonly ledger: Ledger;
  /** Whether this process inserts what it reads. */
  readonly inserts: boolean;
};

/** Small enough, with heads and projects, for the 1 MB that topics take by default. */
const FRAME_BYTES = 700 * 1024;
const NOTHING = { events: 0, bytes: 0 };

/** Connects when it is first used. Throws `KafkaFailure` where a file of the settings cannot be read. */
export async function openTopic(
  { settings, config, ledger, inserts }: TopicParts,
  runtime: { clock: Clock; log: Log; random: () => number },
): Promise<Topic> {
  // Frames and ticks go to the same partitions.
  const writer = serialWriter(await openTopicWriter(runtime, settings));
  const reader = inserts ? await openTopicReader(runtime, settings) : null;
  const turns = createPartitionTurns({ newUuid: randomUUIDv7 });
  const { maxEvents, maxWaitMs } = config.flush;
  const cut = { maxEvents, maxBytes: FLUSH_MAX_BYTES, maxWaitMs };
  const channel = reader && createTopicChannel({ reader, writer, ...runtime }, config.channel);
  let relay: Relay | null = null;

  return {
    frames: { newFrameId: turns.newFrameId, maxEvents, maxBytes: FRAME_BYTES },
    relayFrom(from) {
      relay = createRelay({ channel: from, writer, turns, ledger, ...runtime }, { cut });
      return relay;
    },
    channel,
    metrics: {
      isUp,
      pending: () => channel?.usage().events ?? 0,
      lag: () => channel?.lag() ?? [],
      counts: () => channel?.counts() ?? { removed: 0, foreign: 0 },
    },
    health,
    usage: () => channel?.usage() ?? NOTHING,
    close: () => writer.close(),
  };

  function isUp(): boolean | null {
    const known = [writer.isUp(), reader?.isUp() ?? null].filter((one) => one !== null);
    return known.length === 0 ? null : known.every(Boolean);
  }

  function health(): TopicHealth {
    return {
      name: settings.topic,
      isUp: isUp(),
      trouble: writer.trouble() ?? reader?.trouble() ?? null,
      reading: reader && channel && readingOf(reader, channel),
      problems: [...(relay?.problems() ?? []), ...(channel?.problems() ?? [])],
    };
  }
}

function readingOf(reader: TopicReader, channel: TopicChannel): TopicHealth['reading'] {
  const lag = channel.lag();
  return {
    isMember: reader.isMember(),
    partitions: lag.length,
    lagRecords: lag.reduce((sum, { records }) => sum + records, 0),
    lagSeconds: Math.max(0, ...lag.map(({ seconds }) => seconds ?? 0)),
  };
}
