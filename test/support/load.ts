/**
 * Sends events and remembers every id: which were attempted, which were acknowledged and how. `auditOf` then compares
 * with the stores, so that nothing can be lost, doubled or invented unseen.
 */
import { randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { zstdDecompress } from 'node:zlib';
import { idsOf, splitRows } from '../../src/event/rows.ts';
import type { PostgresStores, Stores } from './stores.ts';

const decompress = promisify(zstdDecompress);

/** An event with this name breaks the constraint that `addPoisonConstraint` adds to the table. */
export const POISON = 'poison';

/** How one request ended. `uncertain`: it may have been accepted, so it is not sent again. */
export type Outcome = 'acknowledged' | 'refused' | 'uncertain';

export type SentEvent = { readonly id: string; readonly isPoison: boolean };

/** `queued` is the weakest promise: only it may be broken by kill -9. */
type Ack = 'queued' | 'journaled' | 'replicated' | 'dead-lettered' | 'stored';

export type Tally = {
  /** Generates ids that no other run uses. */
  newId(isPoison?: boolean): string;
  acknowledge(ids: readonly string[], ack: string): void;
  attempted(): number;
  acknowledged(): number;
  /** Ids acknowledged, with their promise. */
  acknowledgedIds(): ReadonlyMap<string, Ack>;
  isAttempted(id: string): boolean;
  isPoison(id: string): boolean;
  poisonIds(): ReadonlySet<string>;
};

export function createTally(): Tally {
  const run = randomBytes(4).toString('hex');
  const acknowledged = new Map<string, Ack>();
  const poison = new Set<string>();
  let made = 0;
  return {
    newId(isPoison = false) {
      const id = `${run}-0000-7000-8000-${(++made).toString(16).padStart(12, '0')}`;
      if (isPoison) poison.add(id);
      return id;
    },
    acknowledge(ids, ack) {
      for (const id of ids) acknowledged.set(id, ack as Ack);
    },
    attempted: () => made,
    acknowledged: () => acknowledged.size,
    acknowledgedIds: () => acknowledged,
    isAttempted: (id) => id.startsWith(`${run}-0000-7000-8000-`) && Number.parseInt(id.slice(-12), 16) <= made,
    isPoison: (id) => poison.has(id),
    poisonIds: () => poison,
  };
}

export type Load = {
  /** One request of `count` events, sent until it is accepted or its outcome is uncertain, or `stop` aborts. */
  send(
    count: number,
    options?: { ack?: 'queued' | 'journaled' | 'stored'; poisoned?: number; stop?: AbortSignal },
  ): Promise<Outcome>;
  /** About `eventsPerSecond`, in requests of varied sizes, until `stop` aborts. Never waits for answers. */
  run(eventsPerSecond: number, stop: AbortSignal): Promise<void>;
  counts(): Readonly<Record<Outcome | 'retries', number>>;
};

/** Enough names to locate errors in the hourly counts. */
const EVENT_NAMES = Array.from({ length: 40 }, (_, index) => `load_${index}`);
const RETRY_MS = 200;
/** Longer than Weir may wait for an acknowledgement of `stored`. */
const REQUEST_TIMEOUT_MS = 45_000;
const MAX_REQUESTS_AT_ONCE = 64;

export function createLoad(
  { tally, urls, random }: { tally: Tally; urls: () => readonly string[]; random: () => number },
  { token, poisonShare = 0 }: { token: string; poisonShare?: number },
): Load {
  const counts = { acknowledged: 0, refused: 0, uncertain: 0, retries: 0 };
  return { send, run, counts: () => counts };

  async function send(
    count: number,
    {
      ack = 'queued',
      poisoned = 0,
      stop,
    }: { ack?: 'queued' | 'journaled' | 'stored'; poisoned?: number; stop?: AbortSignal } = {},
  ): Promise<Outcome> {
    const ids: string[] = [];
    const events = Array.from({ length: count }, (_, index) => {
      // Spread, so that bad rows do not lead the batch.
      const isPoison =
        index % Math.max(1, Math.floor(count / Math.max(1, poisoned))) === 0 &&
        index < count &&
        poisonedSoFar() < poisoned;
      const id = tally.newId(isPoison);
      ids.push(id);
      return eventOf(id, isPoison);
    });
    const body = JSON.stringify({ events });
    for (;;) {
      const outcome = await post(body, ids, ack);
      if (outcome !== 'refused' || stop?.aborted) {
        counts[outcome]++;
        return outcome;
      }
      counts.retries++;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }

    function poisonedSoFar() {
      return ids.reduce((sum, id) => sum + Number(tally.isPoison(id)), 0);
    }
  }

  /** `refused` only when the request was certainly not accepted: it may then be sent again under the same ids. */
  async function post(body: string, ids: readonly string[], ack: string): Promise<Outcome> {
    const all = urls();
    const url = all[Math.floor(random() * all.length)];
    if (url === undefined) return 'refused';
    try {
      const answer = await fetch(`${url}/api/v1/ingest/events?ack=${ack}`, {
        method: 'POST',
        body,
        headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
        signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      });
      const text = await answer.text();
      if (answer.status === 202) {
        const { accepted } = JSON.parse(text) as { accepted: number };
        if (accepted !== ids.length) throw new Error(`accepted ${accepted} of ${ids.length}: ${text}`);
        tally.acknowledge(ids, answer.headers.get('weir-ack') ?? 'queued');
        return 'acknowledged';
      }
      // What brokers have not confirmed may be there all the same.
      if (answer.status === 503 && text.includes('"not_replicated"')) return 'uncertain';
      if ([429, 500, 503].includes(answer.status)) return 'refused';
      throw new UnexpectedAnswer(`unexpected answer ${answer.status}: ${text}`);
    } catch (error) {
      if (error instanceof UnexpectedAnswer) throw error;
      return codeOf(error) === 'ECONNREFUSED' ? 'refused' : 'uncertain';
    }
  }

  async function run(eventsPerSecond: number, stop: AbortSignal): Promise<void> {
    const running = new Set<Promise<unknown>>();
    let due = 0;
    const failures: unknown[] = [];
    for (let last = performance.now(); !stop.aborted && failures.length === 0;) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      const now = performance.now();
      // Requests missed while clients waited are not made up for later.
      due = Math.min(due + ((now - last) / 1_000) * eventsPerSecond, eventsPerSecond);
      last = now;
      while (due >= 1 && running.size < MAX_REQUESTS_AT_ONCE) {
        const count = Math.min(Math.ceil(due), sizeOfRequest());
        due -= count;
        const isPoisoned = random() < poisonShare * 10;
        const poisoned = isPoisoned ? Math.max(1, Math.round(count * 0.1)) : 0;
        const sent = send(count, { ack: ackOf(random()), poisoned, stop })
          .catch((error: unknown) => failures.push(error))
          .finally(() => running.delete(sent));
        running.add(sent);
      }
    }
    await Promise.all(running);
    if (failures.length > 0) throw failures[0];
  }

  /** Nothing that a killed process may lose: then no loss needs an excuse. */
  function ackOf(dice: number) {
    return dice < 0.2 ? 'stored' : 'journaled';
  }

  function sizeOfRequest(): number {
    const dice = random();
    if (dice < 0.5) return 1 + Math.floor(random() * 5);
    return dice < 0.9 ? 10 + Math.floor(random() * 90) : 100 + Math.floor(random() * 400);
  }
}

class UnexpectedAnswer extends Error {}

function codeOf(error: unknown): unknown {
  return error instanceof Error ? ((error.cause as NodeJS.ErrnoException | undefined)?.code ?? null) : null;
}

/** The properties repeat the id, so that a row under the wrong id is found out. */
function eventOf(id: string, isPoison: boolean): object {
  const number = Number.parseInt(id.slice(-12), 16);
  return {
    event: isPoison ? POISON : EVENT_NAMES[number % EVENT_NAMES.length],
    event_id: id,
    anonymous_id: `visitor-${number % 97}`,
    timestamp: new Date(Date.now() - (number % 50) * 60_000).toISOString(),
    properties: { id, text: 'x'.repeat(number % 200), number },
    channel: 'load',
  };
}

/** An event with fields of the test's choice; `isBad` when it must end in quarantine. */
export type Handmade = { readonly isBad: boolean; readonly fields: Record<string, unknown> };

export const goodEvents = (count: number, fields: Handmade['fields'] = {}): Handmade[] =>
  Array.from({ length: count }, () => ({ isBad: false, fields }));

/** One request, so that it becomes one batch. Throws when an event is not accepted. */
export async function sendHandmade(
  events: readonly Handmade[],
  { url, token, tally }: { url: string; token: string; tally: Tally },
): Promise<void> {
  const sent = events.map(({ isBad, fields }, index) => {
    const id = tally.newId(isBad);
    return { event: 'visit', event_id: id, timestamp: 1_760_000_000_000 + index, properties: { id }, ...fields };
  });
  const answer = await fetch(`${url}/api/v1/ingest/events`, {
    method: 'POST',
    body: JSON.stringify({ events: sent }),
    headers: { authorization: `Bearer ${token}` },
  });
  const text = await answer.text();
  if (text !== JSON.stringify({ accepted: sent.length, rejected: 0 })) throw new Error(`${answer.status}: ${text}`);
  const ids = sent.map(({ event_id: id }) => id);
  tally.acknowledge(ids, answer.headers.get('weir-ack') ?? 'queued');
}

/** Makes the store refuse every event named `POISON`, one by one. */
export async function addPoisonConstraint(stores: Stores | PostgresStores): Promise<void> {
  if (!('clickhouse' in stores)) {
    await stores.select(`ALTER TABLE analytics.events_raw ADD CONSTRAINT no_poison CHECK (event <> '${POISON}')`);
    return;
  }
  const { clickhouse, database } = stores;
  await clickhouse.command({
    query: `ALTER TABLE ${database}.events_raw_v1 ADD CONSTRAINT no_poison CHECK event != '${POISON}'`,
  });
}

export type Quarantined = {
  readonly eventId: string;
  readonly reason: string;
  readonly code: number | null;
  readonly letter: string;
};

/** Where every event is, by id. The lists hold violations; if all are empty, every promise was kept. */
export type Audit = {
  readonly attempted: number;
  readonly acknowledged: number;
  readonly stored: number;
  readonly quarantined: number;
  /** Acknowledged, and still in a dead letter that is replayed. */
  readonly waiting: number;
  /** Acknowledged and nowhere. */
  readonly lost: readonly string[];
  /** The part of `lost` that was promised no more than a place in memory. */
  readonly lostQueued: number;
  readonly doubledInTable: readonly string[];
  readonly doubledInView: readonly string[];
  /** Events counted too often, and too seldom, by the hourly counts. */
  readonly rollupExcess: number;
  readonly rollupMissing: number;
  readonly invented: readonly string[];
  /** Stored with the properties of another event. */
  readonly altered: readonly string[];
  readonly storedAndQuarantined: readonly string[];
  readonly poisonNotQuarantined: readonly string[];
  readonly goodQuarantined: readonly Quarantined[];
};

/** What a store of events holds, by id. `differences`: of the hourly counts from the events, by name. */
type Held = {
  readonly rows: readonly { readonly id: string; readonly copies: string; readonly is_right: number | boolean }[];
  readonly view: readonly { readonly id: string }[];
  readonly rollup: readonly { readonly difference: string }[];
};

const heldIn = async (stores: Stores): Promise<Held> => ({
  rows: await stores.select(
    `SELECT toString(event_id) AS id, count() AS copies, min(JSONExtractString(properties, 'id') IN (id, '')) AS is_right
     FROM ${stores.database}.events_raw_v1 GROUP BY event_id`,
  ),
  view: await stores.select(
    `SELECT toString(event_id) AS id FROM ${stores.database}.events GROUP BY event_id HAVING count() > 1`,
  ),
  rollup: await stores.select(
    `SELECT toInt64(sum(counted)) - toInt64(sum(present)) AS difference FROM (
       SELECT event, sum(events) AS counted, 0 AS present FROM ${stores.database}.event_counts_hourly GROUP BY event
       UNION ALL
       SELECT event, 0 AS counted, uniqExact(event_id) AS present FROM ${stores.database}.events_raw_v1 GROUP BY event
     ) GROUP BY event`,
  ),
});

const heldInPostgres = async (stores: PostgresStores): Promise<Held> => ({
  rows: await stores.select(
    `SELECT event_id::text AS id, count(*) AS copies,
       bool_and(coalesce(properties ->> 'id', '') IN (event_id::text, '')) AS is_right
     FROM analytics.events_raw GROUP BY event_id`,
  ),
  view: await stores.select(`SELECT event_id::text AS id FROM analytics.events GROUP BY event_id HAVING count(*) > 1`),
  rollup: await stores.select(
    `SELECT sum(counted) - sum(present) AS difference FROM (
       SELECT event, sum(events) AS counted, 0 AS present FROM analytics.event_counts_hourly GROUP BY event
       UNION ALL
       SELECT event, 0 AS counted, count(DISTINCT event_id) AS present FROM analytics.events_raw GROUP BY event
     ) AS both_sides GROUP BY event`,
  ),
});

export async function auditOf(stores: Stores | PostgresStores, tally: Tally): Promise<Audit> {
  // First: an event that moves in the meantime is then seen twice rather than not at all.
  const letters = await readDeadLetters(stores);
  const { rows, view, rollup } = await ('clickhouse' in stores ? heldIn(stores) : heldInPostgres(stores));
  const stored = new Set(rows.map(({ id }) => id));
  const quarantined = letters.filter(({ isQuarantined }) => isQuarantined);
  const isQuarantined = new Set(quarantined.map(({ eventId }) => eventId));
  const waiting = new Set(letters.filter((letter) => !letter.isQuarantined).map(({ eventId }) => eventId));
  const lost = [...tally.acknowledgedIds()].filter(
    ([id]) => !stored.has(id) && !isQuarantined.has(id) && !waiting.has(id),
  );
  const differences = rollup.map(({ difference }) => Number(difference));

  return {
    attempted: tally.attempted(),
    acknowledged: tally.acknowledged(),
    stored: stored.size,
    quarantined: isQuarantined.size,
    waiting: waiting.size,
    lost: lost.map(([id]) => id),
    lostQueued: lost.filter(([, ack]) => ack === 'queued').length,
    doubledInTable: rows.filter(({ copies }) => Number(copies) > 1).map(({ id }) => id),
    doubledInView: view.map(({ id }) => id),
    rollupExcess: differences.reduce((sum, difference) => sum + Math.max(0, difference), 0),
    rollupMissing: differences.reduce((sum, difference) => sum + Math.max(0, -difference), 0),
    invented: [...stored, ...isQuarantined, ...waiting].filter((id) => !tally.isAttempted(id)),
    altered: rows.filter(({ is_right }) => !is_right).map(({ id }) => id),
    storedAndQuarantined: [...isQuarantined].filter((id) => stored.has(id)),
    poisonNotQuarantined: [...tally.poisonIds()].filter(
      (id) => stored.has(id) || (tally.acknowledgedIds().has(id) && !isQuarantined.has(id) && !waiting.has(id)),
    ),
    goodQuarantined: quarantined.filter(({ eventId }) => !tally.isPoison(eventId)),
  };
}

/** The violations in the audit, in words; empty when every promise was kept. */
export function wrongIn(audit: Audit): string[] {
  const counts: Record<string, number> = {
    lost: audit.lost.length,
    'doubled in the table': audit.doubledInTable.length,
    'doubled in the view': audit.doubledInView.length,
    'counted too often by the hourly counts': audit.rollupExcess,
    'missing in the hourly counts': audit.rollupMissing,
    invented: audit.invented.length,
    altered: audit.altered.length,
    'stored and quarantined': audit.storedAndQuarantined.length,
    'poison not quarantined': audit.poisonNotQuarantined.length,
    'good but quarantined': audit.goodQuarantined.length,
    'still waiting': audit.waiting,
    // Without acknowledged events nothing is proved.
    'no acknowledged events': Number(audit.acknowledged === 0),
  };
  return Object.entries(counts)
    .filter(([, count]) => count !== 0)
    .map(([what, count]) => `${what}: ${count}`);
}

/** Every event in `failed_events`. */
export async function readDeadLetters({
  postgres,
}: Pick<Stores, 'postgres'>): Promise<(Quarantined & { isQuarantined: boolean })[]> {
  const { rows } = await postgres.pool.query<{
    id: string;
    payload: Buffer;
    quarantine_reason: string | null;
    error_code: number | null;
  }>('SELECT id, payload, quarantine_reason, error_code FROM failed_events');
  const events = await Promise.all(
    rows.map(async ({ id, payload, quarantine_reason: reason, error_code: code }) =>
      splitRows(await decompress(payload)).map((row) => ({
        eventId: idsOf(row)?.eventId ?? 'unreadable',
        reason: reason ?? '',
        code,
        letter: id,
        isQuarantined: reason !== null,
      })),
    ),
  );
  return events.flat();
}
