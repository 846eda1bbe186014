/**
 * The faults of a chaos run with a broker in the middle: of the broker, of the processes before and behind it, of the
 * stores, and of several of them at once.
 */
import { API } from '../support/kafka-proxy.ts';
import { type Fault, both, onClickHouse, onPostgres, terminating } from './faults.ts';
import type { KafkaRig, WeirPlace } from './rig.ts';

export type KafkaFaultTargets = {
  readonly rig: KafkaRig;
  /** Take events; the first has a journal, the second has none. */
  readonly ingest: readonly [WeirPlace, WeirPlace];
  /** Insert. */
  readonly flush: readonly [WeirPlace, WeirPlace];
  readonly random: () => number;
  /** Told when SIGTERM did not end with exit code 0. */
  readonly onBadExit: (code: number | null) => void;
};

export function kafkaFaultsOn({ rig, ingest, flush, random, onBadExit }: KafkaFaultTargets): Fault[] {
  const { kafka } = rig;
  const { clickhouseKilled, clickhouseFrozen, clickhouseRefused, onInserts, others } = onClickHouse({ rig, random });
  const { postgresKilled, postgresFrozen, postgresRefused } = onPostgres({
    postgres: rig.postgres,
    server: rig.stores.postgresServer,
  });

  const brokerKilled: Fault = {
    name: 'broker killed',
    minMs: 100,
    maxMs: 4_000,
    begin: () => kafka.kill(),
    end: () => kafka.restart(),
  };
  const brokerFrozen: Fault = {
    name: 'broker frozen',
    minMs: 500,
    maxMs: 12_000,
    begin: () => kafka.freeze(),
    end: () => kafka.thaw(),
  };
  const brokerRefused: Fault = {
    name: 'broker refused',
    minMs: 300,
    maxMs: 6_000,
    begin: () => kafka.proxy.refuse(),
    end: () => kafka.proxy.accept(),
  };
  /** The broker did what it was asked, and says so to nobody. */
  const cut = (name: string, api: number, maxMs = 3_000): Fault => ({
    name,
    minMs: 300,
    maxMs,
    begin: () => kafka.proxy.set({ kind: 'cut-answer', api }),
    end: () => kafka.proxy.set(null),
  });
  const answersCut = onInserts('', () => ({ kind: 'cut-answer' }));

  const killed = (name: string, place: WeirPlace): Fault => ({
    name,
    minMs: 50,
    maxMs: 3_000,
    begin: () => place.kill(),
    end: () => place.start(),
  });
  const terminate = terminating(onBadExit);
  const terminated = (name: string, place: WeirPlace): Fault => ({
    name,
    minMs: 50,
    maxMs: 2_000,
    begin: () => terminate(place),
    end: () => place.start(),
  });
  /** Longer than its session: when it wakes up, others have what it held. */
  const frozen = (name: string, place: WeirPlace): Fault => ({
    name,
    minMs: 1_000,
    maxMs: 16_000,
    begin: () => place.freeze(),
    end: () => place.thaw(),
  });
  const [journaled, inMemory] = ingest;
  const [flusher, other] = flush;
  const flusherKilled = killed('flusher killed', flusher);
  const flusherFrozen = frozen('flusher frozen', flusher);

  return [
    brokerKilled,
    brokerFrozen,
    brokerRefused,
    cut('produce answers cut', API.produce),
    cut('fetch answers cut', API.fetch),
    cut('commit answers cut', API.offsetCommit),
    cut('commit answers cut for long', API.offsetCommit, 8_000),
    cut('joins cut', API.joinGroup),
    cut('syncs cut', API.syncGroup),
    cut('heartbeats cut', API.heartbeat, 8_000),
    {
      name: 'broker hung',
      minMs: 300,
      maxMs: 6_000,
      begin: () => kafka.proxy.set({ kind: 'hang' }),
      end: async () => {
        kafka.proxy.set(null);
        // Those requests are never answered on their connections.
        await kafka.proxy.refuse();
        await kafka.proxy.accept();
      },
    },
    killed('ingest killed', journaled),
    killed('ingest without a journal killed', inMemory),
    terminated('ingest terminated', journaled),
    terminated('ingest without a journal terminated', inMemory),
    frozen('ingest frozen', journaled),
    flusherKilled,
    killed('other flusher killed', other),
    terminated('flusher terminated', flusher),
    terminated('other flusher terminated', other),
    flusherFrozen,
    frozen('other flusher frozen', other),
    both('both flushers killed', flusherKilled, killed('', other)),
    both('both flushers frozen', flusherFrozen, frozen('', other)),
    both('flusher frozen, other killed', flusherFrozen, killed('', other)),
    both('insert answers cut, flusher killed', answersCut, flusherKilled),
    both('insert answers cut, flusher frozen', answersCut, flusherFrozen),
    both('insert answers cut, flusher terminated', answersCut, terminated('', flusher)),
    both('commit answers cut, flusher killed', cut('', API.offsetCommit), flusherKilled),
    both('commit answers cut, flusher terminated', cut('', API.offsetCommit), terminated('', flusher)),
    both('produce answers cut, ingest killed', cut('', API.produce), killed('', journaled)),
    both('produce answers cut, ingest terminated', cut('', API.produce), terminated('', inMemory)),
    both('broker frozen, ingest killed', brokerFrozen, killed('', journaled)),
    both('broker frozen, flusher killed', brokerFrozen, flusherKilled),
    both('broker killed, ingest killed', brokerKilled, killed('', journaled)),
    both('broker killed, ingest terminated', brokerKilled, terminated('', journaled)),
    both('broker killed, flusher killed', brokerKilled, flusherKilled),
    both('broker killed, flusher terminated', brokerKilled, terminated('', flusher)),
    both('broker killed, clickhouse killed', brokerKilled, clickhouseKilled),
    both('clickhouse killed, flusher killed', clickhouseKilled, flusherKilled),
    both('clickhouse refused, flusher terminated', clickhouseRefused, terminated('', flusher)),
    both('clickhouse frozen, flusher frozen', clickhouseFrozen, flusherFrozen),
    postgresKilled,
    postgresFrozen,
    postgresRefused,
    both('both stores killed', clickhouseKilled, postgresKilled),
    both('both stores frozen', clickhouseFrozen, postgresFrozen),
    both('both stores refused', clickhouseRefused, postgresRefused),
    both('both stores frozen, flusher killed', both('', clickhouseFrozen, postgresFrozen), flusherKilled),
    both(
      'both stores refused, flusher terminated',
      both('', clickhouseRefused, postgresRefused),
      terminated('', flusher),
    ),
    ...others,
  ];
}
