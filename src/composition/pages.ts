/** What the health pages and the metrics report, and the values they are computed from. */
import type { Config } from '../config/config.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Credentials } from '../http/access/credentials.ts';
import { type HealthSnapshot, type ServiceHealth, readHealthSnapshot } from '../http/health/health-snapshot.ts';
import { type Log, droppedLines } from '../log/log.ts';
import type { createJournalSyncs } from '../metrics/journal-syncs.ts';
import { createMetrics } from '../metrics/metrics.ts';
import type { MetricsPage } from '../metrics/pages.ts';
import { processPage } from '../metrics/runtime.ts';
import type { Connectivity } from './connectivity.ts';
import type { Intake } from './intake.ts';
import type { SchemaKeeper } from './schema-keeper.ts';
import type { PipelineState } from './state.ts';
import type { Topic } from './topic.ts';
import type { ChannelUsage } from '../pipeline/channel-port.ts';
import type { RejectedKeeper } from '../pipeline/rejected-keeper.ts';
import type { EventStorage } from '../pipeline/storage-port.ts';
import type { ControlStorage } from './storage.ts';

/** The state of a Weir at one moment. A plain value: workers send theirs to each other. */
export type Snapshot = { readonly healthSnapshot: HealthSnapshot; readonly metrics: MetricsPage };

/** What the pages report: this process alone, or all workers together. */
export type Pages = { health(): Promise<ServiceHealth>; metrics(withProcess: boolean): Promise<string> };

type PageParts = {
  readonly config: Config;
  readonly version: string;
  readonly storage: EventStorage;
  /** null without one. */
  readonly topic: Topic | null;
  readonly control: ControlStorage;
  readonly connectivity: Connectivity;
  readonly intake: Intake;
  readonly state: PipelineState;
  readonly schema: SchemaKeeper;
  readonly credentials: Credentials;
  readonly journalSyncs: ReturnType<typeof createJournalSyncs>;
  readonly keeper: RejectedKeeper | null;
};

const sumOf = (one: ChannelUsage, other: Pick<ChannelUsage, 'events' | 'bytes'>): ChannelUsage => ({
  ...one,
  events: one.events + other.events,
  bytes: one.bytes + other.bytes,
});

export function createPages(parts: PageParts, { clock, log }: { clock: Clock; log: Log }) {
  const { config, version, storage, control, connectivity, intake, state, schema, credentials, journalSyncs } = parts;
  const { topic } = parts;
  const { channel, durability, sizeLimit } = intake;
  const { progress } = state;
  const usage = () => (topic === null ? channel.usage() : sumOf(channel.usage(), topic.usage()));
  const journal = durability.facts;
  const metrics = createMetrics(
    {
      ...state,
      ...connectivity,
      eventStore: storage.name,
      channel: { usage },
      topic: topic && topic.metrics,
      journal,
      journalSyncs,
      progress: progress.read,
      schema: schema.facts,
      postgresPool: control.usage,
      processPage,
      version,
      hasRoom: () => control.room.shortSince() === null,
      now: clock.now,
      foreignViewFailures: storage.foreignViewFailures,
      droppedLogLines: () => droppedLines(log),
      keeper: parts.keeper,
    },
    config.channel,
  );
  const healthSnapshot = () =>
    readHealthSnapshot({
      role: config.role,
      topic: () => topic && topic.health(),
      ...state,
      ...connectivity,
      eventStore: storage.name,
      channel: { usage, isFull: channel.isFull },
      credentials,
      schema: schema.facts,
      journal,
      journalRefusal: durability.refusal,
      progress: progress.read,
      notices: () => [...storage.notices(), sizeLimit.notice()].filter((notice) => notice !== null),
      noRoomSince: control.room.shortSince,
    });
  const own: Pages = {
    health: async () => ({ healthSnapshot: healthSnapshot(), reasons: [], workers: null }),
    metrics: metrics.text,
  };
  return {
    metrics,
    snapshot: async (): Promise<Snapshot> => ({ healthSnapshot: healthSnapshot(), metrics: await metrics.page() }),
    own,
  };
}
