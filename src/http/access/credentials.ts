/**
 * Token → credential, with a cache that lets ingest outlive its metadata database. A found token is trusted for 60 s
 * and, while Postgres cannot be queried, 15 minutes longer; an unknown one is remembered for 5 s. Concurrent look-ups
 * go out as one query, so that ten thousand random tokens cost the database a handful of them.
 */
import { hash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../log/log.ts';
import { failureOf } from '../../pipeline/outcome.ts';
import { type Credential, type LookUpCredentials, anonymousKey } from '../../pipeline/ports.ts';
import { ownText } from '../../runtime/own-text.ts';
import type { SyncOrAsync } from '../../runtime/sync-or-async.ts';

export type Credentials = {
  /** The credential of a token, or null when there is none. Rejects when the look-up failed. */
  find(token: string): SyncOrAsync<Credential | null>;
  /** The credential of a client without a token, or null when no project is open to everybody. Rejects like `find`. */
  anonymous(): SyncOrAsync<Credential | null>;
  /** Opens the project to everybody, at the doors that allow it. */
  admitAnonymous(projectId: string): void;
  /** Whether at least one token could be served from the cache if the database were down. */
  hasUsable(): boolean;
};

const FOUND_MS = 60_000;
/** From this age on an entry in use is refreshed in the background, so that no request waits at 60 s. */
const REFRESH_MS = 30_000;
const OUTAGE_MS = 15 * 60_000;
const MISSING_MS = 5_000;
/** 64-character keys and small values: about 10 MB when full. */
const MAX_FOUND = 20_000;
const MAX_MISSING = 50_000;
const MAX_HASHED = 1_000;
/** Keys per query. */
const MAX_ASKED = 500;
/**
 * A failure this old says nothing about the present. Longer than a query may take, so that one is always in progress.
 */
const FAILURE_COUNTS_MS = 10_000;
/** The most tokens that may wait for an answer; beyond it a request fails instead of queueing without bound. */
const MAX_WAITING = 20_000;

type Found = { readonly credential: Credential; at: number };
type Waiter = {
  readonly promise: Promise<Credential | null>;
  resolve(c: Credential | null): void;
  reject(e: Error): void;
};

export function createCredentials({
  lookUp,
  clock,
  log,
}: {
  lookUp: LookUpCredentials;
  clock: Clock;
  log: Log;
}): Credentials {
  const found = new LRUCache<string, Found>({ max: MAX_FOUND });
  const missing = new LRUCache<string, number>({ max: MAX_MISSING });
  /** Hashes of recently used tokens, so that a token is not hashed with every request. */
  const hashed = new Map<string, string>();
  const waiting = new Map<string, Waiter>();
  let isAsking = false;
  /** When the last query failed, null when it succeeded: known tokens are then served without waiting for the next. */
  let failedAt: number | null = null;

  let anonymousProject: string | null = null;

  return {
    find: (token) => findBy(keyOf(token)),
    anonymous: () => (anonymousProject === null ? null : findBy(anonymousKey(anonymousProject))),
    admitAnonymous: (projectId) => {
      anonymousProject = projectId;
    },
    hasUsable,
  };

  function keyOf(token: string): string {
    const known = hashed.get(token);
    if (known !== undefined) return known;
    const key = hash('sha256', token);
    if (hashed.size >= MAX_HASHED) hashed.clear();
    hashed.set(ownText(token), key);
    return key;
  }

  function findBy(key: string): SyncOrAsync<Credential | null> {
    const known = found.get(key);
    const age = known ? clock.elapsed() - known.at : Infinity;
    if (known && age < FOUND_MS) {
      if (age >= REFRESH_MS) refresh(key);
      return known.credential;
    }
    const missedAt = missing.get(key);
    if (missedAt !== undefined && clock.elapsed() - missedAt < MISSING_MS) return null;
    if (known && age < FOUND_MS + OUTAGE_MS) {
      if (failedAt !== null && clock.elapsed() - failedAt < FAILURE_COUNTS_MS) {
        refresh(key);
        return known.credential;
      }
      return ask(key).catch(() => known.credential);
    }
    return ask(key);
  }

  function hasUsable() {
    for (const { at } of found.values()) if (clock.elapsed() - at < FOUND_MS + OUTAGE_MS) return true;
    return false;
  }

  function refresh(key: string) {
    // A failed refresh changes nothing: the entry stays valid, and the failure is logged where the query is made.
    void ask(key).catch(() => {});
  }

  function ask(key: string): Promise<Credential | null> {
    const asked = waiting.get(key);
    if (asked) return asked.promise;
    if (waiting.size >= MAX_WAITING) return Promise.reject(new Error('too many token look-ups are waiting'));
    const waiter: Waiter = Promise.withResolvers<Credential | null>();
    waiting.set(key, waiter);
    // The queries' failures reach the callers through their waiters.
    if (!isAsking) void askAll();
    return waiter.promise;
  }

  async function askAll() {
    isAsking = true;
    // After the present callback, so that what it asks for shares the query; what comes meanwhile shares the next one.
    await Promise.resolve();
    while (waiting.size > 0) {
      const keys = waiting.keys().take(MAX_ASKED).toArray();
      const askedAt = clock.elapsed();
      const error = await failureOf(lookUp(keys).then((answer) => settle(keys, answer, askedAt)));
      if (error !== null) fail(error);
      else failedAt = null;
    }
    isAsking = false;
  }

  /** Ages count from the start of the query: its answer may miss later changes. */
  function settle(keys: readonly string[], answer: ReadonlyMap<string, Credential>, askedAt: number) {
    for (const key of keys) {
      const credential = answer.get(key) ?? null;
      if (credential) found.set(key, { credential, at: askedAt });
      else {
        found.delete(key);
        missing.set(key, askedAt);
      }
      if (credential) missing.delete(key);
      take(key).resolve(credential);
    }
  }

  /** Every waiter gets the failure: querying the rest would only make them wait for the same failure. */
  function fail(error: Error) {
    if (failedAt === null) log.warn({ err: error, tokens: waiting.size }, 'token look-up failed');
    failedAt = clock.elapsed();
    for (const key of waiting.keys()) take(key).reject(error);
  }

  function take(key: string): Waiter {
    const waiter = waiting.get(key)!;
    waiting.delete(key);
    return waiter;
  }
}
