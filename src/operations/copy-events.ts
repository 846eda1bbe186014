/**
 * Brings the events that Postgres stores into ClickHouse, while Weir goes on storing more of them in Postgres. What
 * ClickHouse has is asked about before anything is sent, so nothing needs to be remembered: whatever ends it, the next
 * run goes on with what is missing (decision 55).
 */
import type { ClickHouseClient } from '@clickhouse/client';
import type { Pool } from 'pg';
import { countStoredEvents, findStoredEvents, isPassingFailure } from '../clickhouse/operations/stored-events.ts';
import { uuidOf } from '../event/uuid.ts';
import { type Backoff, backoffMs } from '../pipeline/backoff.ts';
import { type BatchId, bytesOf } from '../pipeline/batch.ts';
import { type EventStore, InsertFailure } from '../pipeline/ports.ts';
import {
  type EventPartition,
  type EventReader,
  type MonthOfEvents,
  type ReadEvent,
  type ReaderOptions,
  withEventReader,
} from '../postgres/operations/event-reader.ts';
import { ifUnlocked } from '../postgres/migrations/migrate.ts';
import type { Clock } from '../runtime/clock.ts';
import { OperationRefused } from './refused.ts';

type CopyDeps = {
  readonly pool: Pool;
  readonly clickhouse: ClickHouseClient;
  /** Where the events go: that of `clickhouse`. */
  readonly events: Pick<EventStore, 'insert' | 'inspect'>;
  readonly clock: Clock;
  readonly random: () => number;
};

/** A project's events of one month of arrival, in both stores, of those that had arrived when they were counted. */
export type ComparedMonth = {
  readonly projectId: string;
  /** Such as `2026-11`, in UTC. */
  readonly month: string;
  readonly postgres: number;
  readonly clickhouse: number;
};

/** An event that ClickHouse does not take, with the reason. */
export type RefusedEvent = { readonly projectId: string; readonly eventId: string; readonly reason: string };

export type CopyProgress = {
  /** Counts the looks through Postgres; those after the first are for what arrived meanwhile. */
  readonly round: number;
  /** How much of it is done, 0 to 1. */
  readonly done: number;
  readonly copied: number;
  /** Events that ClickHouse had already. */
  readonly found: number;
};

export type CopiedEvents = {
  readonly copied: number;
  readonly found: number;
  readonly refused: number;
  /** Some of those that were refused. */
  readonly examples: readonly RefusedEvent[];
  readonly months: readonly ComparedMonth[];
};

/** The size of an insert, whichever comes first. */
const BATCH = { maxEvents: 10_000, maxBytes: 8 * 1024 * 1024 } as const;
/** Read in one transaction, so that none keeps Postgres from cleaning up for long: 16 MiB of the table. */
const BLOCKS_AT_A_TIME = 2_048;
/** Fewer new events than this in one look, and the next one is the last: it takes a second or so. */
const CAUGHT_UP_EVENTS = 20_000;
const MAX_EXAMPLES = 10;
/** For two minutes or so. */
const ATTEMPTS = 12;
const BACKOFF: Backoff = { firstMs: 500, maxMs: 15_000 };

/** How both stores differ now, of one project or of all; `hasTable`: ClickHouse has its tables. Copies nothing. */
export function compareEvents(
  { pool, clickhouse }: Pick<CopyDeps, 'pool' | 'clickhouse'>,
  { projectId, hasTable }: { projectId: string | null; hasTable: boolean },
): Promise<ComparedMonth[]> {
  return withEventReader(pool, { projectId, since: null }, async (reader) => {
    const months = await reader.count();
    if (!hasTable) return months.map((month) => compared(month, 0));
    return compare(reader.at, months, (month) => countStoredEvents(clickhouse, month));
  });
}

/**
 * Copies the events of one project, or of all, until ClickHouse has what Postgres had when this ended; only one may
 * run at a time. Throws `OperationRefused`, `PostgresFailure`, and what ClickHouse's driver throws.
 */
export async function copyEvents(
  deps: CopyDeps,
  wanted: { projectId: string | null },
  onProgress: (progress: CopyProgress) => void = () => {},
): Promise<CopiedEvents> {
  const copied = await ifUnlocked(deps.pool, deps.clock, 'copying', () => copyAll(deps, wanted, onProgress));
  if (copied !== null) return copied;
  throw new OperationRefused('conflict', 'Another `weir copy` is running. Wait for it, or end it.');
}

async function copyAll(
  deps: CopyDeps,
  { projectId }: { projectId: string | null },
  onProgress: (progress: CopyProgress) => void,
): Promise<CopiedEvents> {
  const { pool, clickhouse } = deps;
  const delivery = createDelivery(deps);
  let since: string | null = null;

  for (let round = 1, read = Infinity; read >= CAUGHT_UP_EVENTS; round++) {
    const options: ReaderOptions = { projectId, since };
    // What this snapshot does not see, the next round reads; what it sees, all later ones do.
    const { mark, partitions } = await withEventReader(pool, options, lookAhead);
    const report = progressOf(partitions, (done) => onProgress({ round, done, ...delivery.sums() }));
    read = 0;
    for (const range of rangesOf(partitions)) {
      read += await withEventReader(pool, options, (reader) => copyRange(reader, range, delivery));
      report(range);
    }
    since = mark;
  }

  const months = await withEventReader(pool, { projectId, since }, async (reader) => {
    for (const range of rangesOf(await reader.partitions())) await copyRange(reader, range, delivery);
    return compare(reader.at, await reader.count(), (month) =>
      persistently(deps, () => countStoredEvents(clickhouse, month), isPassingFailure),
    );
  });
  return { ...delivery.sums(), ...delivery.refusals(), months };
}

const lookAhead = async (reader: EventReader) => ({ mark: reader.mark, partitions: await reader.partitions() });

type Range = Parameters<EventReader['events']>[0];

function* rangesOf(partitions: readonly EventPartition[]): Generator<Range> {
  for (const { name, blocks } of partitions) {
    for (let from = 0; from < blocks; from += BLOCKS_AT_A_TIME) {
      yield { partition: name, from, to: Math.min(blocks, from + BLOCKS_AT_A_TIME) };
    }
  }
}

function progressOf(partitions: readonly EventPartition[], say: (done: number) => void): (range: Range) => void {
  const total = partitions.reduce((sum, { blocks }) => sum + blocks, 0);
  let passed = 0;
  return ({ from, to }) => {
    passed += to - from;
    say(passed / total);
  };
}

/**
 * Cuts the events of a range into batches and delivers them; resolves to how many there were. The same events make the
 * same batches, whose ids follow from their bytes: one that is still on its way from a run that was killed is told.
 */
async function copyRange(reader: EventReader, range: Range, delivery: Delivery): Promise<number> {
  let batch: ReadEvent[] = [];
  let bytes = 0;
  let read = 0;
  const deliver = async () => {
    if (batch.length > 0) await delivery.deliver(batch);
    batch = [];
    bytes = 0;
  };
  for await (const events of reader.events(range)) {
    read += events.length;
    for (const event of events) {
      if (batch.length >= BATCH.maxEvents || bytes + event.row.length > BATCH.maxBytes) await deliver();
      batch.push(event);
      bytes += event.row.length;
    }
  }
  await deliver();
  return read;
}

type Delivery = ReturnType<typeof createDelivery>;

function createDelivery({ clickhouse, events, ...time }: Omit<CopyDeps, 'pool'>) {
  let [copied, found, refused] = [0, 0, 0];
  const examples: RefusedEvent[] = [];

  return {
    sums: () => ({ copied, found }),
    refusals: () => ({ refused, examples }),
    /** Resolves when ClickHouse has them all, or refused them. */
    async deliver(batch: readonly ReadEvent[]): Promise<void> {
      const stored = await persistently(time, () => findStoredEvents(clickhouse, batch), isPassingFailure);
      const missing = batch.filter((_, index) => !stored[index]);
      found += batch.length - missing.length;
      await send(missing);
    },
  };

  async function send(batch: readonly ReadEvent[]): Promise<void> {
    if (batch.length === 0) return;
    const chunks = batch.map(({ row }) => row);
    const insertable = { id: uuidOf(Buffer.concat(chunks, bytesOf(chunks))) as BatchId, chunks };
    let mayHaveLanded = false;
    try {
      await persistently(
        time,
        () => events.insert({ ...insertable, mayHaveLanded }),
        (error) => {
          mayHaveLanded ||= error instanceof InsertFailure && error.mayHaveLanded;
          return isPassing(error);
        },
      );
      copied += batch.length;
    } catch (error) {
      if (!(error instanceof InsertFailure)) throw error;
      await sendSome(batch, error);
    }
  }

  /** After a failure that will not pass: less at a time, or without the events that are to blame. */
  async function sendSome(batch: readonly ReadEvent[], failure: InsertFailure): Promise<void> {
    if (failure.failureClass === 'too_large' && batch.length > 1) {
      const half = Math.ceil(batch.length / 2);
      await send(batch.slice(0, half));
      return send(batch.slice(half));
    }
    if (failure.failureClass !== 'data') throw notTaken(failure);
    const { refusals } = await events.inspect(batch.map(({ row }) => row));
    const bad = new Map(
      refusals.flatMap(({ rows, failure: why }) => rows.map((index) => [index, why.message] as const)),
    );
    // Otherwise the same would be sent again and again.
    if (bad.size === 0) throw notTaken(failure);
    refused += bad.size;
    for (const [index, reason] of bad) {
      const { projectId, eventId } = batch[index]!;
      if (examples.length < MAX_EXAMPLES) examples.push({ projectId, eventId, reason });
    }
    return send(batch.filter((_, index) => !bad.has(index)));
  }
}

/** Does the work again, after a while, when it failed in a way that may pass. */
async function persistently<T>(
  { clock, random }: Pick<CopyDeps, 'clock' | 'random'>,
  work: () => Promise<T>,
  isWorthIt: (error: unknown) => boolean,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (!isWorthIt(error) || attempt === ATTEMPTS) throw error;
      await clock.sleep(backoffMs(attempt, BACKOFF, random));
    }
  }
}

type CountedMonth = Parameters<typeof countStoredEvents>[1];

const isPassing = (error: unknown) =>
  error instanceof InsertFailure && ['unavailable', 'ambiguous', 'capacity', 'unknown'].includes(error.failureClass);

const notTaken = (failure: InsertFailure) =>
  new OperationRefused('store', `ClickHouse does not take the events: ${failure.message}.`, { cause: failure });

async function compare(
  at: number,
  months: readonly MonthOfEvents[],
  countStored: (month: CountedMonth) => ReturnType<typeof countStoredEvents>,
): Promise<ComparedMonth[]> {
  const all: ComparedMonth[] = [];
  for (const [month, projects] of Map.groupBy(months, (one) => one.month)) {
    const until = Math.max(...projects.map(({ lastReceivedAt }) => lastReceivedAt));
    const stored = await countStored({ month, until, at });
    all.push(...projects.map((one) => compared(one, stored.get(one.projectId) ?? 0)));
  }
  return all;
}

const compared = ({ projectId, month, events }: MonthOfEvents, clickhouse: number): ComparedMonth => ({
  projectId,
  month,
  postgres: events,
  clickhouse,
});
