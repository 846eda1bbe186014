/**
 * Takes frames from the local channel and appends them to the topic: what waited while earlier ones were on their way is
 * the next one. A frame leaves channel and journal once the brokers have confirmed all of it; until then this holds it
 * completely.
 */
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../log/log.ts';
import type { Batch } from '../pipeline/batch.ts';
import type { Channel } from '../pipeline/channel-port.ts';
import type { Flusher } from '../pipeline/flusher.ts';
import type { Ledger } from '../pipeline/ledger.ts';
import { unlessAborted } from './bell.ts';
import type { CutLimits } from './frame.ts';
import { createFrameAppends } from './frame-appends.ts';
import type { Rows } from './frame-division.ts';
import type { PartitionTurns } from './partition-turns.ts';
import type { TopicWriter } from './topic-port.ts';

export type RelayDeps = {
  /** Its batches have ids of `turns`. */
  readonly channel: Pick<Channel, 'take' | 'settle'>;
  readonly writer: Pick<TopicWriter, 'partitionCount' | 'append' | 'maxRecordBytes'>;
  readonly turns: PartitionTurns;
  readonly ledger: Pick<Ledger, 'replicated'>;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
};

/** In the place of a flusher, for the shutdown too: `stopInserting` has nothing to stop, and no frame is dropped. */
export type Relay = Flusher & {
  /** What keeps events out of the topic, besides brokers that are away: sentences for a person. */
  problems(): readonly string[];
};

/** By then a partition that answers has taken whatever an ended process had sent it. */
const QUIET_MS = 5_000;
/** An event that is too large may fit later: the topic's limit is a setting. */
const TOO_LARGE_RETRY_MS = 60_000;

/** `cut`: the limits by which batches are cut that begin with these frames. */
export function createRelay(deps: RelayDeps, { cut }: { readonly cut: CutLimits }): Relay {
  const { channel, writer, turns, ledger, clock, log } = deps;
  const givenUp = new AbortController();
  const appends = createFrameAppends({ ...deps, stop: givenUp.signal }, { cut });
  const held = new Set<Batch>();
  const inFlight = new Set<Promise<void>>();
  const quiet = new Map<number, Promise<void>>();
  let tooLargeEvents = 0;
  let isBusy = false;

  return {
    // What is still being appended is held, and would wait for brokers for as long as they are away.
    run: async () => void (await unlessAborted(relayAll(), givenUp.signal)),
    isBusy: () => isBusy,
    stopInserting: () => {},
    giveUp: () => givenUp.abort(),
    held: () => [...held],
    problems,
  };

  async function relayAll(): Promise<void> {
    while (await isReady()) {
      const batch = await channel.take();
      if (batch === null) break;
      held.add(batch);
      const work = relay(batch).finally(() => inFlight.delete(work));
      inFlight.add(work);
    }
    await Promise.all(inFlight);
  }

  /** Waits until a partition has nothing under way, so that what arrives meanwhile becomes one frame. */
  async function isReady(): Promise<boolean> {
    isBusy = true;
    try {
      turns.setCount(await writer.partitionCount(givenUp.signal));
    } catch (error) {
      if (givenUp.signal.aborted) return false;
      throw error;
    }
    await turns.someFree();
    isBusy = false;
    return !givenUp.signal.aborted;
  }

  async function relay(batch: Batch): Promise<void> {
    const partition = turns.partitionOf(batch.id);
    const { id, mayHaveLanded: isRepeat = false, mayBeElsewhere = false } = batch;
    if (isRepeat || mayBeElsewhere) await untilQuiet(partition);
    for (let rows: Rows | null = batch; rows !== null;) {
      const left: Rows = rows;
      const appended = await turns.inTurn(partition, () =>
        appends.append(partition, { id, rows: left, isRepeat, mayBeElsewhere }),
      );
      if (appended === 'ended') return;
      rows = appended.tooLarge;
      if (rows !== null) await waitForLargerLimit(batch, rows);
    }
    held.delete(batch);
    ledger.replicated += batch.eventCount;
    channel.settle(batch, 'replicated');
  }

  /**
   * What an ended process sent to a frozen broker may be appended after what this one sends. So a repeat, which must
   * stand behind it, goes some time after the partition's leader was seen at work.
   */
  function untilQuiet(partition: number): Promise<void> {
    const known = quiet.get(partition);
    if (known !== undefined) return known;
    const until = turns
      .inTurn(partition, () => appends.tick(partition))
      .then(() => clock.sleep(QUIET_MS, givenUp.signal));
    quiet.set(partition, until);
    return until;
  }

  /** The others went on; these stay where they are, in the journal too. */
  async function waitForLargerLimit({ id }: Batch, { eventCount }: Rows): Promise<void> {
    tooLargeEvents += eventCount;
    log.error(
      { batchId: id, events: eventCount, maxBytes: writer.maxRecordBytes() },
      'events are too large for the topic',
    );
    await clock.sleep(TOO_LARGE_RETRY_MS, givenUp.signal);
    tooLargeEvents -= eventCount;
  }

  function problems(): readonly string[] {
    const refusal = appends.refusal();
    return [
      ...(refusal === null ? [] : [`the topic refuses events: ${refusal}`]),
      ...(tooLargeEvents === 0
        ? []
        : [
            `${tooLargeEvents} events are larger than the topic takes (${writer.maxRecordBytes()} bytes) and wait: raise max.message.bytes of the topic`,
          ]),
    ];
  }
}
