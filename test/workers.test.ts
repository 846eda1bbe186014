/** The parts that several workers are made of, each alone. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '../src/runtime/clock.ts';
import { createRateLimit } from '../src/http/access/rate-limit.ts';
import { JournalLocked } from '../src/journal/lock.ts';
import { createLog } from '../src/log/log.ts';
import { createAbandonedDeliveries } from '../src/workers/abandoned-deliveries.ts';
import { type IpcChannel, createIpcChannel } from '../src/workers/ipc-channel.ts';
import type { WorkerRequests, WorkerMessage } from '../src/workers/messages.ts';
import {
  abandonedWorkers,
  claimWorkerDirectory,
  workerDirectoryOf,
  waitForPredecessors,
  removeWorkerDirectory,
} from '../src/workers/worker-directories.ts';
import { createRestarts } from '../src/workers/restarts.ts';
import type { WorkerSlot } from '../src/workers/worker-slot.ts';
import { createSharedIdempotency, createSharedRateLimit } from '../src/workers/shared-limits.ts';
import { createManualClock, settled } from './support/clock.ts';
import { PROJECT, randomOf } from './support/factory.ts';

describe('restarts', () => {
  const MINUTE_MS = 60_000;

  test('the first is at once, the next ones come ever later, up to half a minute', () => {
    const restarts = createRestarts(() => 0.999_999);
    const delays = Array.from({ length: 12 }, () => restarts.ended(10).delayMs);
    expect(delays.slice(0, 5)).toEqual([0, 500, 1_000, 2_000, 4_000]);
    expect(delays.at(-1)).toBe(30_000);
  });

  test('a process that lived for a minute begins anew', () => {
    const restarts = createRestarts(randomOf(1));
    for (let end = 0; end < 6; end++) restarts.ended(MINUTE_MS - 1);
    expect(restarts.ended(MINUTE_MS - 1)).toMatchObject({ inARow: 7, isTrouble: true });
    expect(restarts.ended(MINUTE_MS)).toEqual({ delayMs: 0, inARow: 1, isTrouble: false });
  });
});

describe('places', () => {
  let dataDir: string;
  beforeEach(() => {
    dataDir = mkdtempSync(join(tmpdir(), 'weir-places-'));
  });
  afterEach(() => rmSync(dataDir, { recursive: true, force: true }));

  const make = (worker: number, ...files: string[]) => {
    const { journalDir, savedDir } = workerDirectoryOf(dataDir, worker);
    for (const dir of [journalDir, savedDir]) mkdirSync(dir, { recursive: true });
    for (const file of files) writeFileSync(join(journalDir, file), '');
  };

  test('worker 1 has what a process alone has, every other one its own', () => {
    expect(workerDirectoryOf('d', 1)).toEqual({ journalDir: 'd/journal', savedDir: 'd/saved' });
    expect(workerDirectoryOf('d', 3)).toEqual({ journalDir: 'd/workers/3/journal', savedDir: 'd/workers/3/saved' });
  });

  test('abandoned are the directories of numbers above the number of workers', () => {
    expect(abandonedWorkers(dataDir, 1)).toEqual([]);
    for (const worker of [2, 3, 12]) make(worker);
    mkdirSync(join(dataDir, 'workers', '4.set-aside'));
    claimWorkerDirectory(dataDir, 5)();
    expect(abandonedWorkers(dataDir, 1)).toEqual([2, 3, 12]);
    expect(abandonedWorkers(dataDir, 3)).toEqual([12]);
  });

  test('a delivered directory goes; with files that could not be read it is kept under another name', () => {
    make(2, 'lock', 'lock.holder', 'reserve', '000000000001.base', '000000000002.log');
    expect(removeWorkerDirectory(dataDir, 2)).toBeNull();
    expect(abandonedWorkers(dataDir, 1)).toEqual([]);
    for (const keptAs of ['2.set-aside', '2.set-aside-2']) {
      make(2, '000000000001.damaged');
      expect(removeWorkerDirectory(dataDir, 2)).toBe(join(dataDir, 'workers', keptAs));
      expect(readdirSync(join(dataDir, 'workers', keptAs, 'journal'))).toEqual(['000000000001.damaged']);
    }
    expect(abandonedWorkers(dataDir, 1)).toEqual([]);
  });

  test('two processes cannot be the same worker', () => {
    const release = claimWorkerDirectory(dataDir, 2);
    expect(() => claimWorkerDirectory(dataDir, 2)).toThrow(JournalLocked);
    claimWorkerDirectory(dataDir, 3)();
    release();
    claimWorkerDirectory(dataDir, 2)();
  });

  test('workers of a killed supervisor are waited for, and not for ever', async () => {
    const log = createLog('silent');
    await waitForPredecessors(dataDir, { clock: systemClock, log, withinMs: 0 });
    expect(existsSync(join(dataDir, 'workers'))).toBe(false);
    const release = claimWorkerDirectory(dataDir, 2);
    const clock = createManualClock();
    let isGone = false;
    const gone = waitForPredecessors(dataDir, { clock, log, withinMs: 10_000 }).then(() => (isGone = true));
    await clock.advance(5_000);
    expect(isGone).toBe(false);
    release();
    await clock.advance(200);
    expect(isGone).toBe(true);
    const again = claimWorkerDirectory(dataDir, 2);
    const late = waitForPredecessors(dataDir, { clock, log, withinMs: 1_000 });
    await clock.advance(1_100);
    await Promise.all([gone, late]);
    again();
  });
});

/** Two links that hear each other, and a way to cut them off. */
function linked() {
  type Ping = { ping: { asks: number; answers: number } };
  type News = { kind: 'news' };
  const clock = createManualClock();
  const failures: string[] = [];
  const told: unknown[] = [];
  /** What is on its way to somebody frozen; null while nobody is. */
  let held: (() => void)[] | null = null;
  const ends: IpcChannel<Ping, News>[] = [];
  const end = (other: 0 | 1) =>
    createIpcChannel<Ping, News, Ping, News>({
      send: (value) => {
        const arrive = () => ends[other]!.receive(value);
        if (held) held.push(arrive);
        else arrive();
      },
      clock,
      answerers: {
        ping: async (asked) => {
          if (asked < 0) throw new Error('negative');
          return asked + 1;
        },
      },
      onMessage: (message) => void told.push(message),
      onFailure: (_, about) => void failures.push(about),
    });
  ends.push(end(1), end(0));
  const freeze = () => (held = []);
  const thaw = () => {
    const late = held ?? [];
    held = null;
    for (const arrive of late) arrive();
  };
  return { clock, failures, told, a: ends[0]!, b: ends[1]!, freeze, thaw };
}

describe('directories of former workers', () => {
  let dataDir: string;
  beforeEach(() => {
    dataDir = mkdtempSync(join(tmpdir(), 'weir-abandoned-'));
  });
  afterEach(() => rmSync(dataDir, { recursive: true, force: true }));

  /** A process that has delivered everything at once. */
  const delivered: WorkerSlot = {
    run: async () => ({ wasClean: true }),
    member: () => ({ worker: 0, pid: null, state: 'missing', snapshot: null }),
    refresh: async () => {},
    ask: async () => null,
    tell: () => {},
    stop: () => {},
    kill: () => {},
  };

  test('one that cannot be removed is said and left for the next start, and the others go', async () => {
    for (const worker of [3, 4]) mkdirSync(join(dataDir, 'workers', String(worker), 'journal'), { recursive: true });
    // Kept under another name, which fails for every user where that leads nowhere.
    writeFileSync(join(dataDir, 'workers', '3', 'journal', '000000000001.damaged'), '');
    symlinkSync('nowhere', join(dataDir, 'workers', '3.set-aside'));
    const lines: { level: number; msg: string; worker: number }[] = [];
    const deliveries = createAbandonedDeliveries({
      createSlot: () => delivered,
      onMessage: () => {},
      onUnreadable: () => {},
      remember: async () => true,
      countEnded: () => {},
      dataDir,
      stopping: new AbortController().signal,
      clock: createManualClock(),
      log: createLog('warn', { write: (line: string) => void lines.push(JSON.parse(line)) }),
    });
    await deliveries.run([3, 4]);
    expect(lines).toMatchObject([{ level: 40, worker: 3, msg: 'worker directory cannot be removed; it stays' }]);
    expect(abandonedWorkers(dataDir, 2)).toEqual([3]);
  });
});

describe('a link', () => {
  test('brings every answer to its question, in both directions, and messages', async () => {
    const { a, b, told } = linked();
    expect(await Promise.all([a.ask('ping', 1, 1_000), b.ask('ping', 10, 1_000), a.ask('ping', 2, 1_000)])).toEqual([
      2, 11, 3,
    ]);
    a.tell({ kind: 'news' });
    expect(told).toEqual([{ kind: 'news' }]);
  });

  test.each(['ready', null, undefined, 7, {}, { kind: 7 }, { 'watch:import': ['file:///x.mjs'] }])(
    'takes no notice of what others send over the same channel: %j',
    (foreign) => {
      const received: unknown[] = [];
      const channel = createIpcChannel({
        send: () => {},
        clock: createManualClock(),
        answerers: {},
        onMessage: (message: unknown) => void received.push(message),
        onFailure: () => {},
      });
      channel.receive(foreign);
      expect(received).toEqual([]);
      channel.receive({ kind: 'running' });
      expect(received).toEqual([{ kind: 'running' }]);
    },
  );

  test('has no answer when none comes in time, when the other side fails, and when it is gone', async () => {
    const { a, clock, failures, freeze } = linked();
    expect(await a.ask('ping', -1, 1_000)).toBeNull();
    expect(failures).toEqual(['ping']);
    freeze();
    const late = a.ask('ping', 1, 500);
    const gone = a.ask('ping', 1, 60_000);
    await clock.advance(500);
    expect(await late).toBeNull();
    a.close();
    expect(await gone).toBeNull();
    expect(await a.ask('ping', 1, 60_000)).toBeNull();
  });

  test('does not pile up questions for a side that is frozen, and asks again when that replies', async () => {
    const { a, clock, freeze, thaw } = linked();
    const sent = freeze();
    const asked = Array.from({ length: 20_000 }, () => a.ask('ping', 1, 100));
    await clock.advance(100);
    expect(await Promise.all(asked)).toEqual(asked.map(() => null));
    expect(await a.ask('ping', 1, 100)).toBeNull();
    expect(sent).toHaveLength(20_000);
    thaw();
    await settled();
    expect(await a.ask('ping', 1, 100)).toBe(2);
  });
});

describe('what a worker asks of the supervisor', () => {
  /** A supervisor that answers as the test says; `null` is none. */
  function supervisor(answer: unknown) {
    const told: WorkerMessage[] = [];
    const link = {
      ask: async () => answer,
      tell: (message: WorkerMessage) => void told.push(message),
      receive: () => {},
      close: () => {},
    } as unknown as IpcChannel<WorkerRequests, WorkerMessage>;
    return { link, told };
  }
  const answer = { status: 202, body: '{}', ack: 'queued' } as const;

  test('a granted key is worked on, and released with the answer', async () => {
    const { link, told } = supervisor({ kind: 'granted' });
    const idempotency = createSharedIdempotency(link);
    expect(await idempotency.once(PROJECT, 'k', 'hash', async () => answer)).toEqual(answer);
    expect(told).toEqual([{ kind: 'release', claim: 1, answer }]);
  });

  test('work that fails releases the key without an answer', async () => {
    const { link, told } = supervisor({ kind: 'granted' });
    const failing = createSharedIdempotency(link).once(PROJECT, 'k', 'hash', () => Promise.reject(new Error('no')));
    await expect(failing).rejects.toThrow('no');
    expect(told).toEqual([{ kind: 'release', claim: 1, answer: null }]);
  });

  test('without an answer nothing is taken, and a late grant is given back', async () => {
    const { link, told } = supervisor(null);
    const work = () => Promise.reject(new Error('must not run'));
    expect(await createSharedIdempotency(link).once(PROJECT, 'k', 'hash', work)).toBe('unavailable');
    expect(told).toEqual([{ kind: 'release', claim: 1, answer: null }]);
  });

  test('the keys of its journal are told in parts, the last of which says so', () => {
    const { link, told } = supervisor(null);
    const idempotency = createSharedIdempotency(link);
    for (let key = 0; key < 1_200; key++) {
      idempotency.restore({ projectId: PROJECT, key: String(key), bodyHash: '', answer: '', at: 0 });
    }
    idempotency.report();
    expect(told.map((message) => message.kind === 'keys' && [message.keys.length, message.isAll])).toEqual([
      [500, false],
      [500, false],
      [200, false],
      [0, true],
    ]);
  });

  test('the rate is the one of all workers, and its own while the supervisor does not answer', async () => {
    const allowance = { requests: 1, perMs: 60_000 };
    const limited = await createRateLimit({ ...allowance, requests: 0 })(PROJECT);
    expect(await createSharedRateLimit(supervisor({ refusal: limited }).link, allowance)(PROJECT)).toEqual(limited);
    expect(await createSharedRateLimit(supervisor({ refusal: null }).link, allowance)(PROJECT)).toBeNull();
    const own = createSharedRateLimit(supervisor(null).link, allowance);
    expect(await own(PROJECT)).toBeNull();
    expect(await own(PROJECT)).toMatchObject({ refused: 'rate_limited' });
    await settled();
  });
});
