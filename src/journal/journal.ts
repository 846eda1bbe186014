/**
 * The journal: what makes an acknowledgement survive a crash. It stands beside
 * the channel, not in front of it: the channel owns what is pending, the journal
 * can tell after a crash what that was.
 *
 * It promises that an envelope whose `written` resolved is handed out by every
 * later start until its batch is settled, and, once `cut` resolved, in a batch
 * with the same id and the same bytes.
 *
 * One writer works in rounds: everything waiting shares one write and one
 * fdatasync; what arrives meanwhile is the next round. Segments go whole and
 * oldest first, each removal on disk before the next: what settles an envelope
 * is never older than the envelope.
 *
 * Starting, compacting and getting over a failed fsync are one act, `restate`:
 * everything unsettled, which is in memory anyway, is written to one new file
 * whose renaming makes all older ones void in one step. So no file that a
 * failed sync or a crash has touched is ever written again.
 */
import type { KeptAnswer } from '../pipeline/ports.ts';
import { basename, join } from 'node:path';
import type { Clock } from '../clock.ts';
import type { Envelope } from '../event/event.ts';
import type { Log } from '../log.ts';
import { type Batch, type BatchId, freezeBatch } from '../pipeline/batch.ts';
import { failureOf } from '../pipeline/outcome.ts';
import type { JournalFiles, WritableFile } from './files.ts';
import { encodeRecord, type JournalRecord, rangesOf, SEGMENT_HEADER_BYTES, segmentHeader, sizeOf } from './record.ts';
import { type Damage, fileName, type Found, KEY_LIFETIME_MS, nameOf, recover } from './recover.ts';

export type JournalLimits = {
  /** Counts every file of the journal, also while it is being restated. Must exceed twice the largest envelope. */
  readonly maxBytes: number;
  /** The size at which a new segment is begun. */
  readonly segmentBytes: number;
  readonly maxKeys: number;
  readonly maxKeyBytes: number;
};

/**
 * Why the journal did not take something: `full` when settling makes room again,
 * `disk-full` when the disk has none, `failed` when the disk cannot be trusted at
 * the moment. All pass by themselves.
 */
export type JournalTrouble = 'full' | 'disk-full' | 'failed' | 'closed';

export class JournalUnavailable extends Error {
  override readonly name = 'JournalUnavailable';
  readonly reason: JournalTrouble;

  constructor(reason: JournalTrouble, cause?: unknown) {
    super(`the journal takes nothing now: ${reason}`, { cause });
    this.reason = reason;
  }
}

export type Recovered = {
  /** Cut and not settled: to be inserted again as they are. */
  readonly batches: readonly Batch[];
  /** Never cut, in order. */
  readonly envelopes: readonly { readonly sequence: number; readonly envelope: Envelope }[];
  readonly keys: readonly KeptAnswer[];
  readonly damaged: readonly Damage[];
};

export type JournalState =
  | { readonly kind: 'ok' }
  | {
      readonly kind: 'disk-full' | 'failed';
      /** A system error code where there is one, never a path. */ readonly reason: string;
    };

export type Appended = {
  readonly sequence: number;
  /** Resolves when the envelope, and its key, survive a power cut. Rejects with `JournalUnavailable`. May be ignored. */
  readonly written: Promise<void>;
};

export type Journal = {
  readonly recovered: Recovered;
  /** Whether an envelope of that many bytes would be refused now. */
  isFull(bytes: number): boolean;
  /**
   * Writes the envelope, and in the same record the key whose answer it is. When
   * `written` rejects, the journal has forgotten both, but for a crash before the
   * next success.
   */
  append(envelope: Envelope, key?: KeptAnswer): Appended;
  /**
   * Freezes which sequences, in which order, are the batch. Must resolve before the
   * first insert is sent. When it rejects the journal still knows the batch and
   * writes it as soon as it can.
   */
  cut(batchId: BatchId, sequences: readonly number[]): Promise<void>;
  /** The batch has another home. Not to be waited for: unwritten it costs a repeated insert that changes nothing. */
  settle(batchId: BatchId): void;
  /** The envelope will be in no batch: whoever sent it was told no. */
  withdraw(sequence: number): void;
  /** Keeps a key that belongs to no envelope, or replaces its answer. */
  remember(key: KeptAnswer): Promise<void>;
  usage(): { readonly bytes: number; readonly segments: number; readonly unsettled: number; readonly keys: number };
  state(): JournalState;
  /** Writes what is waiting and gives the lock back. What is unsettled stays for the next start. */
  close(): Promise<void>;
};

type Segment = { readonly number: number; readonly path: string; bytes: number; unsettled: number };
type Live = { readonly sequence: number; readonly envelope: Envelope; readonly bytes: number; segment: Segment | null };
type Waiting = {
  readonly record: JournalRecord;
  readonly done: (segment: Segment) => void;
  readonly failed: (error: JournalUnavailable) => void;
};
type KeptKey = { readonly key: KeptAnswer; readonly bytes: number; segment: Segment | null };

/** The most bytes of one round: at 100 MB/s it delays the next by 40 ms. */
const MAX_ROUND_BYTES = 4 * 1024 * 1024;
/** What batch and settled record come to for an envelope that is a batch of its own. */
const CONTROL_BYTES = 2 * (16 + 16 + 4 + 16);
const FIRST_RETRY_MS = 1_000;
const MAX_RETRY_MS = 30_000;
/** Of files that were damaged, only the latest are kept, and never more than a quarter of what the journal may use. */
const MAX_DAMAGED_FILES = 4;
/**
 * Disk set aside while there is some, given up when there is none: settling
 * makes room, but must be written first. Thousands of records.
 */
const MAX_RESERVE_BYTES = 256 * 1024;
const RESERVE_FILE = 'reserve';
/** Where what an earlier process wrote is, until it is restated. */
const EARLIER: Segment = { number: 0, path: '', bytes: 0, unsettled: 0 };

/** Takes the lock, reads what is there, and opens for writing. Throws `JournalLocked`, or when the directory cannot be used at all. */
export async function openJournal(
  { dir, files, clock, log }: { dir: string; files: JournalFiles; clock: Clock; log: Log },
  limits: JournalLimits,
): Promise<Journal> {
  await files.makeDirectory(dir);
  const release = await files.lock(dir);
  const found = await recover({ files, clock }, dir).catch((error: unknown) => {
    release();
    throw error;
  });
  reportDamage(found.damaged, log);

  let nextSequence = found.nextSequence;
  let nextNumber = Math.max(0, ...found.files.map(({ number }) => number)) + 1;
  let current: { readonly segment: Segment; readonly file: WritableFile } | null = null;
  /** Oldest first; the last one is being written. */
  let segments: Segment[] = [];
  /** Files that are void or set aside: path and size. */
  let voided = found.files.filter(({ kind }) => kind !== 'damaged');
  let damagedFiles = found.files.filter(({ kind }) => kind === 'damaged');
  const reserveSize = Math.min(MAX_RESERVE_BYTES, Math.floor(limits.maxBytes / 64));
  let reserveBytes = 0;
  let isVoidGone = false;

  const live = new Map<number, Live>();
  const batches = new Map<BatchId, readonly number[]>();
  const keys = new Map<string, KeptKey>();
  let liveBytes = 0;
  let keyBytes = 0;

  let queue: Waiting[] = [];
  let queuedBytes = 0;
  let state: JournalState = { kind: 'ok' };
  let working: Promise<void> | null = null;
  let healing: Promise<void> | null = null;
  let isRestating = false;
  let closed = false;
  const closing = new AbortController();

  takeUp(found);
  await giveUpReserve();
  const recovered = recoveredFrom(found);
  const failure = await restate();
  if (failure !== null) fail(failure);

  return {
    recovered,
    isFull,
    append,
    cut,
    settle,
    withdraw,
    remember,
    usage: () => ({ bytes: bytesOnDisk(), segments: segments.length, unsettled: live.size, keys: keys.size }),
    state: () => state,
    close,
  };

  function takeUp({ envelopes, batches: cutBefore, keys: keptBefore }: Found) {
    for (const [sequence, envelope] of envelopes) addLive(sequence, envelope, EARLIER);
    for (const [batchId, sequences] of cutBefore) batches.set(batchId, sequences);
    for (const key of keptBefore.values()) keep(key, EARLIER);
  }

  function isFull(bytes: number) {
    // Twice, because there must be room to restate everything at any moment.
    const needed = bytesOnDisk() + queuedBytes + owed() + 2 * (bytes + CONTROL_BYTES + SEGMENT_HEADER_BYTES);
    return state.kind !== 'ok' || closed || needed > limits.maxBytes;
  }

  /** What is still to be written for what is known now: control records, and all of it once more should it be restated. */
  function owed() {
    return liveBytes + live.size * 2 * CONTROL_BYTES + keyBytes + reserveSize + 4 * SEGMENT_HEADER_BYTES;
  }

  function bytesOnDisk() {
    return bytesIn(segments) + bytesIn(voided) + bytesIn(damagedFiles) + reserveBytes;
  }

  function append(envelope: Envelope, key?: KeptAnswer): Appended {
    const sequence = nextSequence++;
    const record: JournalRecord = { type: 'envelope', sequence, envelope, key: key ?? null };
    const refusal = refusalOf(record);
    if (refusal) return { sequence, written: ignorable(Promise.reject(refusal)) };
    const entry = addLive(sequence, envelope, null);
    const kept = key && keep(key, null);
    const written = enqueue(record, (segment) => {
      entry.segment = segment;
      segment.unsettled++;
      if (kept) kept.segment = segment;
    }).catch((error: unknown) => {
      removeLive(sequence);
      if (kept && keys.get(nameOf(kept.key)) === kept) forget(kept);
      throw error;
    });
    return { sequence, written: ignorable(written) };
  }

  function remember(key: KeptAnswer): Promise<void> {
    const record: JournalRecord = { type: 'key', key };
    const refusal = refusalOf(record);
    // Kept although it is refused: the next restating writes it.
    const kept = keep(key, EARLIER);
    if (refusal) return ignorable(Promise.reject(refusal));
    return ignorable(
      enqueue(record, (segment) => {
        kept.segment = segment;
      }),
    );
  }

  /** Why a record that is not needed to settle others is not taken now. */
  function refusalOf(record: JournalRecord): JournalUnavailable | null {
    if (closed) return new JournalUnavailable('closed');
    if (state.kind !== 'ok') return new JournalUnavailable(state.kind);
    return isFull(sizeOf(record)) ? new JournalUnavailable('full') : null;
  }

  function cut(batchId: BatchId, asked: readonly number[]): Promise<void> {
    const sequences = asked.filter((sequence) => live.has(sequence));
    batches.set(batchId, sequences);
    return ignorable(enqueue({ type: 'batch', batchId, ranges: rangesOf(sequences) }));
  }

  function settle(batchId: BatchId) {
    const sequences = batches.get(batchId);
    if (!sequences) return;
    batches.delete(batchId);
    drop(sequences, { type: 'settled', batchId, ranges: rangesOf(sequences) });
  }

  function withdraw(sequence: number) {
    drop([sequence], { type: 'withdrawn', sequence });
  }

  /** Forgets envelopes now; their segments hear of it only when the record that says so is on disk. */
  function drop(sequences: readonly number[], record: JournalRecord) {
    const dropped = sequences.flatMap((sequence) => removeLive(sequence) ?? []);
    // A failure is nobody's to handle: restating leaves out what was dropped.
    void ignorable(
      enqueue(record, () => {
        for (const { segment } of dropped) if (segment) segment.unsettled--;
      }),
    );
  }

  function addLive(sequence: number, envelope: Envelope, segment: Segment | null): Live {
    const bytes = sizeOf({ type: 'envelope', sequence, envelope, key: null });
    const entry: Live = { sequence, envelope, bytes, segment };
    live.set(sequence, entry);
    liveBytes += bytes;
    return entry;
  }

  function removeLive(sequence: number): Live | undefined {
    const entry = live.get(sequence);
    if (live.delete(sequence)) liveBytes -= entry!.bytes;
    return entry;
  }

  /** The oldest keys go when there are too many: an old key's client has long had its answer. */
  function keep(key: KeptAnswer, segment: Segment | null): KeptKey {
    const earlier = keys.get(nameOf(key));
    if (earlier) forget(earlier);
    const kept: KeptKey = { key, bytes: sizeOf({ type: 'key', key }), segment };
    keys.set(nameOf(key), kept);
    keyBytes += kept.bytes;
    for (const oldest of keys.values()) {
      if ((keys.size <= limits.maxKeys && keyBytes <= limits.maxKeyBytes) || oldest === kept) break;
      forget(oldest);
    }
    return kept;
  }

  function forget(kept: KeptKey) {
    if (keys.delete(nameOf(kept.key))) keyBytes -= kept.bytes;
  }

  /** Resolves when the record is on disk. */
  function enqueue(record: JournalRecord, onWritten: (segment: Segment) => void = () => {}): Promise<void> {
    if (closed) return Promise.reject(new JournalUnavailable('closed'));
    // Control records wait for room on a full disk; and for a restating, which does not see what changes meanwhile.
    const canWait = isControl(record) && (state.kind === 'disk-full' || isRestating);
    if (state.kind !== 'ok' && !canWait) return Promise.reject(new JournalUnavailable(state.kind));
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const done = (segment: Segment) => {
      onWritten(segment);
      resolve();
    };
    queue.push({ record, done, failed: reject });
    queuedBytes += sizeOf(record);
    work();
    return promise;
  }

  function work() {
    if (working !== null || state.kind !== 'ok') return;
    // Rounds handle every failure of the disk, so that only a bug could reject this.
    working = rounds().finally(() => {
      working = null;
      if (queue.length > 0) work();
    });
  }

  async function rounds() {
    // One turn of the microtask queue, so that what is asked for together is written together.
    await Promise.resolve();
    while (queue.length > 0 && state.kind === 'ok') {
      const round = takeRound();
      let segment: Segment;
      try {
        segment = await write(round.map(({ record }) => record));
      } catch (error) {
        await roundFailed(round, error);
        continue;
      }
      for (const { done } of round) done(segment);
      await tidy();
    }
  }

  function takeRound(): Waiting[] {
    let count = 0;
    let bytes = 0;
    while (count < queue.length) {
      const size = sizeOf(queue[count]!.record);
      if (count > 0 && bytes + size > MAX_ROUND_BYTES) break;
      bytes += size;
      count++;
    }
    queuedBytes -= bytes;
    return queue.splice(0, count);
  }

  /** Writes and syncs the records, in the current segment or a new one. A failure leaves the segment as it was, or abandoned. */
  async function write(records: readonly JournalRecord[]): Promise<Segment> {
    const { segment, file } = await segmentFor(totalSize(records));
    const bytes = encodeAll(records, segment.number, segment.bytes);
    try {
      await file.write(bytes, segment.bytes);
    } catch (error) {
      if (!isDiskFull(error)) throw new Abandoned(error);
      // What was written of it must not stand in front of what comes later.
      await file.truncate(segment.bytes).catch(abandon);
      throw error;
    }
    await file.sync().catch(abandon);
    segment.bytes += bytes.length;
    return segment;
  }

  async function segmentFor(bytes: number) {
    if (current && current.segment.bytes + bytes <= limits.segmentBytes) return current;
    if (current && current.segment.bytes === SEGMENT_HEADER_BYTES) return current;
    const number = nextNumber++;
    const path = join(dir, fileName(number, 'log'));
    const file = await files.create(path).catch((error: unknown) => {
      throw isDiskFull(error) ? error : new Abandoned(error);
    });
    const segment: Segment = { number, path, bytes: SEGMENT_HEADER_BYTES, unsettled: 0 };
    try {
      await file.write(segmentHeader(number), 0);
      await files.syncDirectory(dir);
    } catch (error) {
      await file.close().catch(ignore);
      await files.remove(path).catch(ignore);
      throw isDiskFull(error) ? error : new Abandoned(error);
    }
    // All of it was synced when it was written.
    await current?.file.close().catch(ignore);
    current = { segment, file };
    segments.push(segment);
    return current;
  }

  async function roundFailed(round: readonly Waiting[], error: unknown) {
    if (error instanceof Abandoned) {
      refuse(round, 'failed', error.cause);
      fail(error.cause);
      return;
    }
    const control = round.filter(({ record }) => isControl(record));
    refuse(
      round.filter(({ record }) => !isControl(record)),
      'disk-full',
      error,
    );
    queue.unshift(...control);
    for (const { record } of control) queuedBytes += sizeOf(record);
    if (control.length > 0 && reserveBytes > 0) await giveUpReserve();
    else diskFull(error);
  }

  /** Everything else in line is refused too; control records wait, for they are what makes room. */
  function diskFull(error: unknown) {
    if (state.kind === 'ok') log.error({ err: error }, 'disk full: the journal takes nothing until there is room');
    state = { kind: 'disk-full', reason: codeOf(error) };
    const refused = queue.filter(({ record }) => !isControl(record));
    queue = queue.filter(({ record }) => isControl(record));
    queuedBytes = totalSize(queue.map(({ record }) => record));
    refuse(refused, 'disk-full', error);
    heal();
  }

  /** What the failed file holds is not to be trusted, whatever a second sync would say: it is written anew elsewhere. */
  function fail(error: unknown) {
    log.error({ err: error }, 'journal failed: it takes nothing until everything is written anew');
    state = { kind: 'failed', reason: codeOf(error) };
    refuse(queue.splice(0), 'failed', error);
    queuedBytes = 0;
    heal();
  }

  function refuse(waiting: readonly Waiting[], reason: JournalTrouble, cause: unknown) {
    for (const { failed } of waiting) failed(new JournalUnavailable(reason, cause));
  }

  function heal() {
    // Handles every failure of the disk, so that only a bug could reject it.
    healing ??= retry();
  }

  async function retry() {
    for (let waitMs = FIRST_RETRY_MS; ; waitMs = Math.min(waitMs * 2, MAX_RETRY_MS)) {
      await clock.sleep(waitMs, closing.signal);
      await working;
      if (closed || state.kind === 'ok') return;
      if (state.kind === 'disk-full') {
        const error = await tryRoom();
        if (error instanceof Abandoned) fail(error.cause);
        if (error !== null) continue;
      } else {
        const error = await restate();
        if (error !== null) {
          refuse(queue.splice(0), 'failed', error);
          queuedBytes = 0;
          log.warn({ err: error }, 'journal still fails');
          continue;
        }
      }
      state = { kind: 'ok' };
      healing = null;
      log.info({ unsettled: live.size }, 'journal works again');
      work();
      return;
    }
  }

  /** Whether there is room again: for the control records that wait, and for the reserve. */
  async function tryRoom(): Promise<unknown> {
    let waiting = queue.splice(0);
    queuedBytes = 0;
    try {
      const segment = await write(waiting.map(({ record }) => record));
      for (const { done } of waiting) done(segment);
      waiting = [];
      await removeSettled();
      await refillReserve();
      return reserveBytes > 0 ? null : new Error('no room for the reserve');
    } catch (error) {
      queue.unshift(...waiting);
      queuedBytes = totalSize(queue.map(({ record }) => record));
      if (!isDiskFull(error) || reserveBytes === 0) return error;
      await giveUpReserve();
      return tryRoom();
    }
  }

  /** After a round: room is made, nobody waits for it but the next round. */
  async function tidy() {
    try {
      await removeSettled();
      const written = bytesIn(segments);
      if (written * 2 > limits.maxBytes && (liveBytes + keyBytes) * 4 < written) {
        // Something old is still unsettled and holds back everything behind it.
        const error = await restate();
        if (error !== null) fail(error);
      }
    } catch (error) {
      if (isDiskFull(error)) diskFull(error);
      else fail(error instanceof Abandoned ? error.cause : error);
    }
  }

  async function removeSettled() {
    while (segments.length > 1 && segments[0]!.unsettled === 0 && (await removeVoided())) {
      const oldest = segments[0]!;
      await carryKeys(oldest);
      await files.remove(oldest.path);
      // On disk before the next one goes: a settled record must not vanish before what it settles.
      await files.syncDirectory(dir);
      segments.shift();
    }
  }

  /** Keys outlive the segment they are in. */
  async function carryKeys(from: Segment) {
    const carried: KeptKey[] = [];
    for (const kept of keys.values()) {
      if (kept.segment !== from) continue;
      if (isExpired(kept.key)) forget(kept);
      else carried.push(kept);
    }
    if (carried.length === 0) return;
    const segment = await write(carried.map(({ key }) => ({ type: 'key', key })));
    for (const kept of carried) kept.segment = segment;
  }

  /**
   * Writes everything unsettled to one new file; when it is on disk under its
   * name, whatever is older counts no more. Returns why it could not; then
   * nothing has changed.
   */
  async function restate(): Promise<unknown> {
    const number = nextNumber++;
    const draft = join(dir, fileName(number, 'draft'));
    const path = join(dir, fileName(number, 'base'));
    const segment: Segment = { number, path, bytes: 0, unsettled: 0 };
    // What waits in line is left out: it is not acknowledged, and may yet be refused.
    const entries = [...live.values()].filter((entry) => entry.segment !== null);
    const kept = [...keys.values()].filter((entry) => entry.segment !== null && !isExpired(entry.key));
    const records = recordsOf(entries, kept);
    let file: WritableFile | null = null;
    let isRenamed = false;
    isRestating = true;
    try {
      file = await files.create(draft);
      await file.write(segmentHeader(number), 0);
      segment.bytes = SEGMENT_HEADER_BYTES;
      for (const chunk of chunked(records)) {
        await file.write(encodeAll(chunk, number, segment.bytes), segment.bytes);
        segment.bytes += totalSize(chunk);
      }
      await file.sync();
      await files.rename(draft, path);
      isRenamed = true;
      await files.syncDirectory(dir);
    } catch (error) {
      await file?.close().catch(ignore);
      // Complete or not, it holds nothing that is not elsewhere, and the next try has a higher number.
      const left = isRenamed ? path : draft;
      const isGone = !isRenamed && (await failureOf(files.remove(draft))) === null;
      if (file && !isGone) voided.push({ path: left, number, kind: 'draft', bytes: segment.bytes, isDamaged: false });
      if (isDiskFull(error)) await giveUpReserve();
      isRestating = false;
      return error;
    }
    isRestating = false;
    await current?.file.close().catch(ignore);
    voided.push(...segments.map((old) => ({ ...old, kind: 'log' as const, isDamaged: false })));
    current = { segment, file };
    segments = [segment];
    isVoidGone = false;
    adoptPlaces(segment, entries, kept);
    await removeVoided();
    await refillReserve();
    return null;
  }

  function isExpired({ at }: KeptAnswer) {
    return at + KEY_LIFETIME_MS <= clock.now();
  }

  function recordsOf(entries: readonly Live[], kept: readonly KeptKey[]): JournalRecord[] {
    return [
      ...entries.map(({ sequence, envelope }) => ({ type: 'envelope' as const, sequence, envelope, key: null })),
      ...[...batches].map(([batchId, sequences]) => ({
        type: 'batch' as const,
        batchId,
        ranges: rangesOf(sequences),
      })),
      ...kept.map(({ key }) => ({ type: 'key' as const, key })),
    ];
  }

  /** What was settled while the file was written is still in it, and waits in line or is written again. */
  function adoptPlaces(segment: Segment, entries: readonly Live[], kept: readonly KeptKey[]) {
    for (const entry of entries) entry.segment = segment;
    segment.unsettled = entries.length;
    for (const entry of kept) entry.segment = segment;
  }

  /**
   * Removes what the latest base has made void, or sets it aside. Until this has
   * succeeded, that base must stay: without it the older files would count again.
   */
  async function removeVoided(): Promise<boolean> {
    if (isVoidGone) return true;
    const left: typeof voided = [];
    for (const file of voided) {
      const error = await failureOf(file.isDamaged ? setAside(file) : files.remove(file.path));
      if (error !== null && codeOf(error) !== 'ENOENT') left.push(file);
    }
    voided = left;
    await boundDamaged();
    const unsynced = await failureOf(files.syncDirectory(dir));
    isVoidGone = left.length === 0 && unsynced === null;
    return isVoidGone;
  }

  async function boundDamaged() {
    damagedFiles.sort((a, b) => a.number - b.number);
    while (damagedFiles.length > MAX_DAMAGED_FILES || bytesIn(damagedFiles) > limits.maxBytes / 4) {
      await files.remove(damagedFiles[0]!.path).catch(ignore);
      damagedFiles = damagedFiles.slice(1);
    }
  }

  async function setAside(file: (typeof voided)[number]) {
    const path = join(dir, fileName(file.number, 'damaged'));
    await files.rename(file.path, path);
    damagedFiles.push({ ...file, path, kind: 'damaged' });
    log.warn({ file: basename(path), bytes: file.bytes }, 'journal file was damaged and is set aside');
  }

  async function refillReserve() {
    if (reserveBytes > 0) return;
    const path = join(dir, RESERVE_FILE);
    await files.remove(path).catch(ignore);
    try {
      const file = await files.create(path);
      await file.write(Buffer.alloc(reserveSize), 0);
      await file.sync();
      await file.close();
      reserveBytes = reserveSize;
    } catch {
      // Without it settling may have to wait for room; nothing is lost.
      await files.remove(path).catch(ignore);
    }
  }

  async function giveUpReserve() {
    await files.remove(join(dir, RESERVE_FILE)).catch(ignore);
    reserveBytes = 0;
  }

  async function close() {
    closed = true;
    closing.abort();
    await working;
    await healing;
    refuse(queue.splice(0), 'closed', undefined);
    await current?.file.close().catch(ignore);
    release();
  }
}

/** An error after which the segment is not to be written any more. */
class Abandoned extends Error {
  override readonly name = 'Abandoned';

  constructor(cause: unknown) {
    super('segment abandoned', { cause });
  }
}

function abandon(error: unknown): never {
  throw new Abandoned(error);
}

/** For clean-ups whose failure changes nothing: the file is void, or is closed with the process. */
function ignore(): void {}

/** A promise whose rejection may go unheard: the caller decides whether it matters. */
function ignorable<T>(promise: Promise<T>): Promise<T> {
  promise.catch(ignore);
  return promise;
}

const isControl = ({ type }: JournalRecord) => type === 'batch' || type === 'settled' || type === 'withdrawn';

const bytesIn = (files: readonly { readonly bytes: number }[]) => files.reduce((sum, { bytes }) => sum + bytes, 0);

const totalSize = (records: readonly JournalRecord[]) => records.reduce((sum, record) => sum + sizeOf(record), 0);

function isDiskFull(error: unknown): boolean {
  return error instanceof Error && ['ENOSPC', 'EDQUOT'].includes(codeOf(error));
}

function codeOf(error: unknown): string {
  const code = error instanceof Error ? (error as { code?: unknown }).code : null;
  return typeof code === 'string' ? code : 'unknown';
}

function encodeAll(records: readonly JournalRecord[], segment: number, offset: number): Buffer {
  const bytes = Buffer.allocUnsafe(totalSize(records));
  let at = 0;
  for (const record of records) at += encodeRecord(record, bytes, at, { segment, offset: offset + at });
  return bytes;
}

/** Records in pieces of about a round. */
function* chunked(records: readonly JournalRecord[]): Generator<JournalRecord[]> {
  let chunk: JournalRecord[] = [];
  let bytes = 0;
  for (const record of records) {
    chunk.push(record);
    bytes += sizeOf(record);
    if (bytes < MAX_ROUND_BYTES) continue;
    yield chunk;
    chunk = [];
    bytes = 0;
  }
  if (chunk.length > 0) yield chunk;
}

function recoveredFrom({ envelopes, batches, keys, damaged }: Found): Recovered {
  const inBatches = new Set([...batches.values()].flat());
  return {
    batches: [...batches].map(([id, sequences]) =>
      freezeBatch(
        id,
        sequences.map((at) => envelopes.get(at)!),
      ),
    ),
    envelopes: [...envelopes].flatMap(([sequence, envelope]) =>
      inBatches.has(sequence) ? [] : { sequence, envelope },
    ),
    keys: [...keys.values()],
    damaged,
  };
}

function reportDamage(damaged: readonly Damage[], log: Log) {
  for (const damage of damaged) {
    if (damage.kind === 'batch') {
      log.error({ batchId: damage.batchId, missing: damage.missing }, 'envelopes of a batch are unreadable');
    } else if (damage.kind === 'file') {
      log.error({ file: damage.file, err: damage.cause }, 'journal file cannot be read');
    } else {
      const { file, offset, bytes, torn } = damage;
      log[torn ? 'info' : 'error']({ file, offset, bytes }, torn ? 'torn end of the journal cut' : 'journal damaged');
    }
  }
}
