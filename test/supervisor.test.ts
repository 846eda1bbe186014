/** How a supervisor starts, with processes that say and do what the test tells them. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { parseConfig } from '../src/config/config.ts';
import { createLog } from '../src/log/log.ts';
import type { Exit, WorkerProcess } from '../src/workers/fork.ts';
import type { Assignment, WorkerMessage } from '../src/workers/messages.ts';
import { type Supervisor, WorkerCannotStart, startSupervisor } from '../src/workers/supervisor.ts';
import { createManualClock, settled } from './support/clock.ts';

/** A process as the supervisor sees it. */
type Puppet = WorkerProcess & { tells(message: WorkerMessage): void; ends(exit: Exit): void };

let dataDir: string;
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'weir-supervisor-'));
});
afterEach(() => rmSync(dataDir, { recursive: true, force: true }));

/** A supervisor that starts two workers, unless `settings` say otherwise. */
function begin(settings: Record<string, string> = {}) {
  const puppets: Puppet[] = [];
  const assignments: Assignment[] = [];
  const clock = createManualClock();
  const end = new AbortController();
  const starting = startSupervisor({
    fork(onMessage) {
      const { promise, resolve } = Promise.withResolvers<Exit>();
      const puppet: Puppet = {
        pid: puppets.length + 1,
        exited: promise,
        send(message) {
          if ((message as { kind: string }).kind === 'start') assignments.push(message as Assignment);
          if ((message as { kind: string }).kind === 'stop') resolve({ code: 0, signal: null });
        },
        kill: () => resolve({ code: null, signal: 'SIGKILL' }),
        tells: onMessage,
        ends: resolve,
      };
      puppets.push(puppet);
      return puppet;
    },
    config: parseConfig({ WEIR_WORKERS: '2', WEIR_DATA_DIR: dataDir, ...settings }, () => ''),
    access: {
      databaseUrl: 'postgres://nobody',
      clickhouse: { url: 'http://nobody', username: 'default', password: '', key: null },
    },
    version: 'test',
    clock,
    random: () => 0.5,
    log: createLog('silent'),
    signal: end.signal,
  });
  const outcome = starting.then(
    (supervisor) => supervisor,
    (error: unknown) => error,
  );
  return { puppets, assignments, clock, end, outcome };
}

const FAILED: Exit = { code: 1, signal: null };
const REASON: WorkerMessage = { kind: 'cannot start', message: 'the journal cannot be used' };

test.each(['before the other listens', 'after the other listens'])(
  'a worker that cannot start ends the start: %s',
  async (when) => {
    const { puppets, outcome } = begin();
    await settled();
    const [first, second] = puppets;
    if (when.startsWith('after')) first!.tells({ kind: 'running' });
    second!.tells(REASON);
    second!.ends(FAILED);
    await settled();
    if (when.startsWith('before')) first!.tells({ kind: 'running' });
    expect(await outcome).toEqual(new WorkerCannotStart('the journal cannot be used'));
    expect(puppets).toHaveLength(2);
  },
);

test('one that is killed meanwhile is replaced, and does not keep the others from serving', async () => {
  const { puppets, clock, outcome } = begin();
  await settled();
  puppets[0]!.tells({ kind: 'running' });
  puppets[1]!.ends({ code: null, signal: 'SIGKILL' });
  expect(await outcome).toHaveProperty('port');
  await clock.advance(1_000);
  expect(puppets).toHaveLength(3);
});

test('one that is to end while it starts waits for no worker, and a worker that died of the signal before it ran ended well', async () => {
  const { puppets, end, outcome } = begin();
  await settled();
  puppets[0]!.tells({ kind: 'running' });
  end.abort();
  const supervisor = (await outcome) as Supervisor;
  const stopped = supervisor.stop({ isAnnounced: false });
  puppets[1]!.ends({ code: null, signal: 'SIGINT' });
  expect(await stopped).toEqual({ lost: 0, unclean: 0 });
  expect(puppets).toHaveLength(2);
});

test('a worker that is killed as it ends is told, also when it did not run yet', async () => {
  const { puppets, end, outcome } = begin();
  await settled();
  end.abort();
  const supervisor = (await outcome) as Supervisor;
  puppets[1]!.ends({ code: null, signal: 'SIGKILL' });
  expect(await supervisor.stop({ isAnnounced: false })).toMatchObject({ unclean: 1 });
});

const STATIC = {
  CHANNEL: 'kafka',
  KAFKA_BROKERS: 'nobody:9092',
  KAFKA_INSTANCE_ID: 'flush-1',
  INGEST_ACK: 'replicated',
};

test('each worker is a static member of its own, also when it is restarted', async () => {
  const { puppets, assignments, clock } = begin(STATIC);
  await settled();
  puppets[1]!.ends({ code: null, signal: 'SIGKILL' });
  await clock.advance(1_000);
  expect(assignments.map(({ config }) => config.kafka?.instanceId)).toEqual(['flush-1-1', 'flush-1-2', 'flush-1-2']);
});

test('workers that are no static members become none', async () => {
  const { KAFKA_INSTANCE_ID: _, ...dynamic } = STATIC;
  const { assignments } = begin(dynamic);
  await settled();
  expect(assignments.map(({ config }) => config.kafka?.instanceId)).toEqual([null, null]);
});
