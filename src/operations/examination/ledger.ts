/**
 * The ledger: checks that every accepted event is where it should be. The counters of a process begin with its start,
 * while the stores keep what all processes ever wrote, so the two are compared by inequalities: what a process handed
 * over must be in the stores, which may hold more.
 */
import type { KafkaSettings } from '../../config/kafka-settings.ts';
import { explainKafka } from '../../kafka/errors.ts';
import { readChannelStatus } from '../../kafka/topic.ts';
import type { EventOperations } from '../../pipeline/operator-port.ts';
import type { Database } from '../../postgres/connection/pool.ts';
import { createDeadLetterQueries } from '../../postgres/dead-letters/dead-letter-queries.ts';
import type { Clock } from '../../runtime/clock.ts';
import { OperationRefused } from '../refused.ts';
import type { Check } from './checks.ts';
import {
  type ProcessCounts,
  type StoreCounts,
  type WaitingTopic,
  checkProcess,
  checkStores,
} from './reconcile-checks.ts';

export type Ledger = {
  readonly processes: readonly ProcessCounts[];
  readonly stores: StoreCounts;
  readonly checks: readonly Check[];
};

type LedgerDeps = {
  readonly db: Database;
  readonly events: Pick<EventOperations, 'name' | 'countStored'>;
  readonly clock: Clock;
  /** The topic between intake and flush; null where there is none. */
  readonly kafka: KafkaSettings | null;
};

export type LedgerQuestion = {
  /** Only the stores, of one project; null for everything. */
  readonly projectId: string | null;
  /** Addresses of running processes, which are not asked about one project. */
  readonly urls: readonly string[];
  readonly metricsToken: string | null;
};

const ANSWER_WITHIN_MS = 5_000;
/**
 * Numbers read one after the other differ while events flow; a difference that persists for this many rounds is real.
 */
const ROUNDS = 3;
const BETWEEN_ROUNDS_MS = 700;

/**
 * Reads all events, which takes a while where there are many. Throws `OperationRefused` when a process or the topic
 * does not answer, `PostgresFailure`, and what the store's driver throws.
 */
export async function readLedger(deps: LedgerDeps, question: LedgerQuestion): Promise<Ledger> {
  const { projectId, urls, metricsToken } = question;
  for (let round = 1; ; round++) {
    const asked = projectId === null ? urls : [];
    const processes = await Promise.all(asked.map((url) => askProcess(url, metricsToken)));
    // Before the stores: a record that is stored in between then counts twice rather than not at all.
    const topic = deps.kafka === null ? null : await readTopic(deps.kafka);
    const stores = await countStores(deps, projectId);
    const checks = [...processes.flatMap(checkProcess), ...checkStores(stores, processes, projectId, topic)];
    if (round === ROUNDS || isBalanced(checks)) return { processes, stores, checks };
    await deps.clock.sleep(BETWEEN_ROUNDS_MS);
  }
}

/** Whether none of the checks fails. */
export const isBalanced = (checks: readonly Check[]): boolean => checks.every(({ outcome }) => outcome !== 'fail');

async function readTopic(kafka: KafkaSettings): Promise<WaitingTopic> {
  try {
    const { partitions } = await readChannelStatus(kafka);
    return { name: kafka.topic, records: partitions.reduce((sum, { lag }) => sum + lag, 0) };
  } catch (error) {
    throw new OperationRefused('store', `The topic ${kafka.topic} cannot be asked: ${explainKafka(error)}`, {
      cause: error,
    });
  }
}

async function askProcess(url: string, metricsToken: string | null): Promise<ProcessCounts> {
  const headers: Record<string, string> = metricsToken === null ? {} : { Authorization: `Bearer ${metricsToken}` };
  let page: string;
  try {
    const signal = AbortSignal.timeout(ANSWER_WITHIN_MS);
    const answer = await fetch(new URL('/internal/metrics', url), { headers, signal });
    if (answer.status === 401)
      throw new OperationRefused('store', `${url} requires its METRICS_TOKEN: set it for this command too.`);
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    page = await answer.text();
  } catch (error) {
    if (error instanceof OperationRefused) throw error;
    throw new OperationRefused('store', `${url} does not answer /internal/metrics. Name a running Weir with --url.`, {
      cause: error,
    });
  }
  return parseMetrics(url, page);
}

/** The counters from a metrics page. Throws `OperationRefused` where one is missing. */
export function parseMetrics(url: string, page: string): ProcessCounts {
  const read = (name: string) => {
    const line = page.split('\n').find((line) => line.startsWith(`${name} `));
    if (line === undefined)
      throw new OperationRefused('store', `${url} has no ${name} on its metrics page: is that a Weir?`);
    return Number(line.slice(name.length + 1).split(' ', 1)[0]);
  };
  const eventsOf = (result: string) => read(`weir_events_total{result="${result}"}`);
  // Only where there is a topic.
  const ofTopic = (result: string) => (page.includes(`{result="${result}"}`) ? eventsOf(result) : 0);
  return {
    url,
    accepted: eventsOf('accepted'),
    stored: eventsOf('stored'),
    taken: ofTopic('taken'),
    replicated: ofTopic('replicated'),
    handedOver: ofTopic('handed_over'),
    deadLettered: eventsOf('dead_lettered'),
    pending: read('weir_pending_events'),
    lost: read('weir_events_lost_total'),
  };
}

async function countStores({ db, events }: LedgerDeps, projectId: string | null): Promise<StoreCounts> {
  const queries = createDeadLetterQueries(db);
  // Dead letters are read before events: an event that lands in between is counted twice rather than missed.
  const letters = await queries.count(projectId === null ? { by: 'all' } : { by: 'project', projectId });
  const balance = await queries.balance(projectId);
  return { letters, balance, store: events.name, events: await events.countStored(projectId) };
}
