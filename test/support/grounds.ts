/** A place for Weirs between real stores with faults, and an account of every promise they made. */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import {
  type PostgresRig,
  type Rig,
  type WeirPlace,
  forgetEvents,
  isQuiet,
  isReady,
  startPostgresRig,
  startRig,
  until,
} from '../chaos/rig.ts';
import { randomOf } from './factory.ts';
import {
  type Audit,
  type Handmade,
  type Load,
  type Tally,
  auditOf,
  createLoad,
  createTally,
  sendHandmade,
  wrongIn,
} from './load.ts';

/** A dead letter that a killed Weir was about to replay is leased for half a minute more. */
const REST_MS = 90_000;
/** So long that batches are only flushed when they have to be. */
export const NEVER = { INGEST_FLUSH_INTERVAL: '10m' };

const CONNECTIONS = 8;
const REFUSALS = [429, 500, 503];

type Answered = { readonly status: number; readonly text: string; readonly ack: string | null };

export type Grounds<R = Rig> = {
  readonly rig: R;
  /** The account of the events sent since the last `clear`. */
  tally(): Tally;
  /** A place where nothing runs yet. */
  newPlace(env?: Record<string, string>): WeirPlace;
  startAt(where: WeirPlace, more?: Record<string, string>): Promise<void>;
  /** A place where a Weir is ready. */
  newWeir(env?: Record<string, string>): Promise<WeirPlace>;
  /**
   * Requests of varied sizes until `stop` aborts, for `journaled` and one in ten for `stored`; refused ones are sent
   * again.
   */
  load(
    weir: WeirPlace,
    options: { seed: number; stop: AbortSignal },
  ): { done: Promise<unknown>; acknowledged(): number };
  /** For single requests, into the current account. */
  sender(weir: WeirPlace): Load;
  /** One request, sent once; null when it got no answer. */
  post(weir: WeirPlace, body: string, options?: { ack?: string; key?: string }): Promise<Answered | null>;
  /** A body of `count` events under new ids. */
  newBody(count: number, more?: object): { ids: string[]; body: string };
  /** Sends new events and records the promise. */
  accept(weir: WeirPlace, count: number, ack?: string): Promise<Answered>;
  /** Sends events with fields of the test's choice in one request. */
  send(weir: WeirPlace, events: readonly Handmade[]): Promise<void>;
  /** How often ClickHouse was asked to insert or to try events. */
  insertsTried(): number;
  rest(weir: WeirPlace, timeoutMs?: number): Promise<void>;
  /** Waits until everything is at rest and checks that every promise was kept; returns what became of the events. */
  expectKept(weir: WeirPlace, timeoutMs?: number): Promise<Audit>;
  /** Restores the stores. */
  heal(): Promise<void>;
  /** Heals, and ends what runs at the latest place. */
  endLatest(): Promise<void>;
  /** Empties the stores, and begins a new account. */
  clear(): Promise<void>;
};

export const startGrounds = async (): Promise<Grounds> => groundsOn(await startRig());

/** Where Postgres stores the events too. */
export const startPostgresGrounds = async (): Promise<Grounds<PostgresRig>> => groundsOn(await startPostgresRig());

function groundsOn<R extends Rig | PostgresRig>(rig: R): Grounds<R> {
  let tally = createTally();
  const places: WeirPlace[] = [];
  return {
    rig,
    tally: () => tally,
    newPlace,
    startAt,
    async newWeir(env) {
      const place = newPlace(env);
      await startAt(place);
      return place;
    },
    load,
    sender: ({ url }) => createLoad({ tally, urls: () => [url()!], random: randomOf(1) }, rig),
    post,
    newBody,
    async accept(weir, count, ack) {
      const { ids, body } = newBody(count);
      const answer = await post(weir, body, ack === undefined ? {} : { ack });
      expect(answer).toMatchObject({ status: 202 });
      tally.acknowledge(ids, answer!.ack!);
      return answer!;
    },
    send: (weir, events) => sendHandmade(events, { url: weir.url()!, token: rig.token, tally }),
    insertsTried() {
      const { events, dryRuns } = rig.clickhouse!.statements();
      return events + dryRuns;
    },
    rest,
    async expectKept(weir, timeoutMs) {
      await rest(weir, timeoutMs);
      const audit = await auditOf(rig.stores, tally);
      expect(wrongIn(audit)).toEqual([]);
      expect(rig.clickhouse?.rewrittenTokens() ?? []).toEqual([]);
      return audit;
    },
    heal,
    async endLatest() {
      await heal();
      await places.at(-1)?.kill();
    },
    async clear() {
      tally = createTally();
      await forgetEvents(rig);
    },
  };

  function newPlace(env: Record<string, string> = {}): WeirPlace {
    const place = rig.place(`weir-${places.length}`, env);
    places.push(place);
    return place;
  }

  async function startAt(where: WeirPlace, more?: Record<string, string>): Promise<void> {
    await where.start(more);
    await until('ready', () => isReady(where.url()));
  }

  function load(weir: WeirPlace, { seed, stop }: { seed: number; stop: AbortSignal }) {
    const random = randomOf(seed);
    let acknowledged = 0;
    const work = async () => {
      while (!stop.aborted) {
        const { ids, body } = newBody(1 + Math.floor(random() * 20));
        const ack = random() < 0.1 ? 'stored' : 'journaled';
        let answer = await post(weir, body, { ack });
        while (answer !== null && REFUSALS.includes(answer.status) && !stop.aborted) {
          await sleep(50);
          answer = await post(weir, body, { ack });
        }
        if (answer?.status === 202) {
          tally.acknowledge(ids, answer.ack!);
          acknowledged++;
        } else if (answer !== null) expect(REFUSALS).toContain(answer.status);
        await sleep(20 + random() * 200);
      }
    };
    return { done: Promise.all(Array.from({ length: CONNECTIONS }, work)), acknowledged: () => acknowledged };
  }

  async function post(
    { url }: WeirPlace,
    body: string,
    { ack = 'journaled', key }: { ack?: string; key?: string } = {},
  ): Promise<Answered | null> {
    try {
      const answer = await fetch(`${url()}/api/v1/ingest/events?ack=${ack}`, {
        method: 'POST',
        body,
        headers: { authorization: `Bearer ${rig.token}`, ...(key === undefined ? {} : { 'idempotency-key': key }) },
      });
      return { status: answer.status, text: await answer.text(), ack: answer.headers.get('weir-ack') };
    } catch {
      return null; // The process went away, or was not there.
    }
  }

  function newBody(count: number, more: object = {}): { ids: string[]; body: string } {
    const ids = Array.from({ length: count }, () => tally.newId());
    const events = ids.map((event_id) => ({ event: 'kept', event_id, timestamp: Date.now() }));
    return { ids, body: JSON.stringify({ events, ...more }) };
  }

  async function rest(weir: WeirPlace, timeoutMs = REST_MS) {
    await until('at rest', () => isQuiet(rig, [weir]), timeoutMs);
  }

  async function heal(): Promise<void> {
    if (rig.clickhouse !== null) {
      rig.stores.clickhouseServer.resume();
      await rig.clickhouse.accept();
      rig.clickhouse.set(null);
    }
    rig.stores.postgresServer.resume();
    await rig.postgres.accept();
    rig.postgres.set(null);
  }
}

export const filesIn = (dir: string) => (existsSync(dir) ? readdirSync(dir) : []);

export const logOf = ({ logFile }: WeirPlace) => readFileSync(logFile, 'utf8');

const LAST_WORDS = 4_000;

/** SIGTERM, after which everything has a home and the exit code is 0; otherwise the failure shows what it logged last. */
export async function endCleanly(weir: WeirPlace): Promise<void> {
  const code = await weir.terminate();
  expect(code, `exit code ${code}, after\n${logOf(weir).slice(-LAST_WORDS)}`).toBe(0);
}
