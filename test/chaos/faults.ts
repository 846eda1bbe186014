/** The faults of a chaos run: each begins, lasts, and ends. What begins is always ended, also when the run stops early. */
import type { HttpFault, TcpProxy } from '../support/fault-proxy.ts';
import { NO_VERDICTS, STRANGERS } from '../support/foreign-answers.ts';
import type { Server } from '../support/stores.ts';
import type { Rig, WeirPlace } from './rig.ts';

export type Fault = {
  readonly name: string;
  /** How long it lasts: from `minMs` up to `maxMs`. */
  readonly minMs: number;
  readonly maxMs: number;
  begin(): Promise<void> | void;
  end(): Promise<void> | void;
};

export type FaultTargets<R = Rig> = {
  readonly rig: R;
  readonly primary: WeirPlace;
  readonly second: WeirPlace;
  readonly random: () => number;
  /** Told when SIGTERM did not end with exit code 0. */
  readonly onBadExit: (code: number | null) => void;
};

/** Numbers ClickHouse answers with when it is in trouble itself; never one that blames the rows. */
const TROUBLED_CODES = [
  159, 202, 209, 210, 216, 225, 236, 241, 242, 243, 252, 285, 286, 289, 290, 319, 394, 425, 439, 473, 497, 745, 999,
  1000, 1002,
];
const FOREIGN_VIEW = 'default.weir_chaos_view';
/** Numbers that mean nothing to Weir. */
const UNKNOWN_CODES = [9_001, 9_002, 8_999];
const SPILL = /insert into "failed_events"/;

export function faultsOn({ rig, primary, second, random, onBadExit }: FaultTargets): Fault[] {
  const { clickhouseKilled, clickhouseFrozen, clickhouseRefused, onInserts, others } = onClickHouse({ rig, random });
  const { postgresKilled, postgresFrozen, postgresRefused } = onPostgres({
    postgres: rig.postgres,
    server: rig.stores.postgresServer,
  });
  const { restarted, logBlocked, killed, secondKilled, secondWeir } = onWeir({ primary, second, onBadExit });

  return [
    postgresKilled,
    postgresFrozen,
    postgresRefused,
    restarted,
    killed,
    secondWeir,
    secondKilled,
    both('both killed', clickhouseKilled, postgresKilled),
    both('both frozen', clickhouseFrozen, postgresFrozen),
    both('both refused', clickhouseRefused, postgresRefused),
    both('second weir, then clickhouse killed', secondWeir, clickhouseKilled),
    both('second weir, then postgres frozen', secondWeir, postgresFrozen),
    both('clickhouse refused, weir terminated', clickhouseRefused, restarted),
    both('clickhouse refused, weir killed', clickhouseRefused, killed),
    both('both frozen, weir killed', both('', clickhouseFrozen, postgresFrozen), killed),
    both(
      'answers cut, weir killed',
      onInserts('', () => ({ kind: 'cut-answer' })),
      killed,
    ),
    both('both refused, weir terminated', both('', clickhouseRefused, postgresRefused), restarted),
    both('both frozen, weir terminated', both('', clickhouseFrozen, postgresFrozen), restarted),
    both(
      'second weir, then answers cut',
      secondWeir,
      onInserts('', () => ({ kind: 'cut-answer' })),
    ),
    both(
      'log not read',
      logBlocked,
      onInserts('', () => ({ kind: 'answer', status: 503 })),
    ),
    both('log not read, weir terminated', logBlocked, restarted),
    ...others,
  ];
}

/** Of the stores around a Weir whose events are in ClickHouse; `others`: every one that stands for itself. */
export function onClickHouse({ rig, random }: Pick<FaultTargets, 'rig' | 'random'>) {
  const { clickhouse, postgres, stores, disk } = rig;
  const { clickhouseServer } = stores;

  const onInserts = (name: string, fault: () => HttpFault, maxMs = 3_000): Fault => ({
    name,
    minMs: 300,
    maxMs,
    begin: () => clickhouse.set(fault(), { only: 'inserts' }),
    end: () => clickhouse.set(null),
  });
  const oneOf = <T>(named: readonly (readonly [string, T])[]): T => named[Math.floor(random() * named.length)]![1];
  const command = async (query: string) => void (await stores.clickhouse.command({ query }));
  /** Half of them have passed the rows on. */
  const strange = (): HttpFault => ({ kind: 'answer', ...oneOf(STRANGERS), isForwarded: random() < 0.5 });

  const clickhouseKilled: Fault = {
    name: 'clickhouse killed',
    minMs: 200,
    maxMs: 6_000,
    async begin() {
      await clickhouseServer.kill();
      await clickhouse.refuse();
    },
    async end() {
      await clickhouseServer.start();
      await clickhouse.accept();
    },
  };
  const clickhouseFrozen: Fault = {
    name: 'clickhouse frozen',
    minMs: 500,
    maxMs: 7_000,
    begin: () => clickhouseServer.pause(),
    end: () => clickhouseServer.resume(),
  };
  const clickhouseRefused: Fault = {
    name: 'clickhouse refused',
    minMs: 300,
    maxMs: 6_000,
    begin: () => clickhouse.refuse(),
    end: () => clickhouse.accept(),
  };

  const others: Fault[] = [
    clickhouseKilled,
    clickhouseFrozen,
    clickhouseRefused,
    onInserts('answers cut', () => ({ kind: 'cut-answer' })),
    onInserts('answers cut for long', () => ({ kind: 'cut-answer' }), 8_000),
    onInserts('requests cut', () => ({ kind: 'cut-request' })),
    onInserts('inserts reset', () => ({ kind: 'reset' })),
    onInserts('inserts hung', () => ({ kind: 'hang' }), 5_000),
    onInserts('clickhouse slow', () => ({ kind: 'slow', bytesPerSecond: 20_000 }), 6_000),
    onInserts('clickhouse troubled', () => ({
      kind: 'answer',
      status: 500,
      code: TROUBLED_CODES[Math.floor(random() * TROUBLED_CODES.length)]!,
    })),
    {
      name: 'failing by chance',
      minMs: 1_000,
      maxMs: 8_000,
      begin: () => {
        const code = UNKNOWN_CODES[Math.floor(random() * UNKNOWN_CODES.length)]!;
        clickhouse.set({ kind: 'answer', status: 500, code }, { hits: () => random() < 0.5 });
      },
      end: () => clickhouse.set(null),
    },
    {
      name: 'a proxy takes small bodies only',
      minMs: 1_000,
      maxMs: 8_000,
      begin: () => clickhouse.set({ kind: 'limit-body', maxBytes: 2_000 + Math.floor(random() * 20_000) }),
      end: () => clickhouse.set(null),
    },
    ...(disk === null
      ? []
      : [
          {
            name: 'postgres full',
            minMs: 1_000,
            maxMs: 8_000,
            begin: async () => {
              await disk.fill();
              // Only what ClickHouse does not take needs the room.
              clickhouse.set({ kind: 'answer', status: 503 }, { only: 'inserts', hits: () => random() < 0.5 });
            },
            end: async () => {
              clickhouse.set(null);
              await disk.clear();
            },
          } satisfies Fault,
        ]),
    onInserts('gateway error', () => ({ kind: 'answer', status: [502, 503, 504][Math.floor(random() * 3)]! })),
    onInserts('strangers answer inserts', strange),
    onInserts('no verdict', () => ({ kind: 'answer', ...oneOf(NO_VERDICTS), isForwarded: random() < 0.5 })),
    {
      name: 'strangers answer everything',
      minMs: 300,
      maxMs: 5_000,
      begin: () => clickhouse.set(strange()),
      end: () => clickhouse.set(null),
    },
    {
      name: 'a view of somebody else fails',
      minMs: 500,
      maxMs: 5_000,
      begin: () =>
        command(`CREATE MATERIALIZED VIEW IF NOT EXISTS ${FOREIGN_VIEW} ENGINE = MergeTree ORDER BY x AS
        SELECT throwIf(cityHash64(event_id) % 50 = 0) AS x FROM ${stores.database}.events_raw_v1`),
      end: () => command(`DROP VIEW IF EXISTS ${FOREIGN_VIEW} SYNC`),
    },
    {
      name: 'connections cut',
      minMs: 0,
      maxMs: 50,
      begin: () => {
        clickhouse.cut();
        postgres.cut();
      },
      end: () => {},
    },
    {
      name: 'postgres answers cut',
      minMs: 500,
      maxMs: 3_000,
      begin: () => {
        // Spills only happen while ClickHouse refuses.
        clickhouse.set({ kind: 'answer', status: 503 }, { only: 'inserts' });
        postgres.set({ kind: 'commit-then-cut', message: SPILL });
      },
      end: () => {
        clickhouse.set(null);
        postgres.set(null);
      },
    },
    {
      name: 'every postgres answer cut',
      minMs: 500,
      maxMs: 2_000,
      begin: () => postgres.set({ kind: 'commit-then-cut', message: /failed_events|commit\b/i }),
      end: () => postgres.set(null),
    },
  ];
  return { clickhouseKilled, clickhouseFrozen, clickhouseRefused, onInserts, others };
}

/** Of a Postgres behind a proxy. */
export function onPostgres({ postgres, server }: { postgres: TcpProxy; server: Server }) {
  const postgresKilled: Fault = {
    name: 'postgres killed',
    minMs: 200,
    maxMs: 5_000,
    async begin() {
      await server.kill();
      await postgres.refuse();
    },
    async end() {
      await server.start();
      await postgres.accept();
    },
  };
  const postgresFrozen: Fault = {
    name: 'postgres frozen',
    minMs: 500,
    maxMs: 7_000,
    begin: () => server.pause(),
    end: () => server.resume(),
  };
  const postgresRefused: Fault = {
    name: 'postgres refused',
    minMs: 300,
    maxMs: 5_000,
    begin: () => postgres.refuse(),
    end: () => postgres.accept(),
  };
  return { postgresKilled, postgresFrozen, postgresRefused };
}

/** Ends a place in order, if it runs, and tells when that did not end well. */
export const terminating = (onBadExit: FaultTargets['onBadExit']) => async (place: WeirPlace) => {
  if (place.pid() === null) return;
  const code = await place.terminate();
  if (code !== 0) onBadExit(code);
};

/** Of Weir itself. */
export function onWeir({ primary, second, onBadExit }: Pick<FaultTargets, 'primary' | 'second' | 'onBadExit'>) {
  const terminate = terminating(onBadExit);
  const restarted: Fault = {
    name: 'weir terminated',
    minMs: 50,
    maxMs: 1_000,
    begin: () => terminate(primary),
    end: () => primary.start(),
  };
  const logBlocked: Fault = {
    name: 'log not read',
    minMs: 1_000,
    maxMs: 8_000,
    begin: () => primary.blockLog(),
    end: () => primary.readLog(),
  };
  const killed: Fault = {
    name: 'weir killed',
    minMs: 50,
    maxMs: 500,
    begin: () => primary.kill(),
    end: () => primary.start(),
  };
  const secondKilled: Fault = {
    name: 'second weir killed',
    minMs: 3_000,
    maxMs: 8_000,
    begin: () => second.start(),
    end: () => second.kill(),
  };
  const secondWeir: Fault = {
    name: 'second weir',
    minMs: 3_000,
    maxMs: 8_000,
    begin: () => second.start(),
    end: () => terminate(second),
  };
  return { restarted, logBlocked, killed, secondKilled, secondWeir };
}

/** The second begins after the first and ends before it. */
export function both(name: string, first: Fault, then: Fault): Fault {
  return {
    name,
    minMs: Math.max(first.minMs, then.minMs),
    maxMs: Math.min(first.maxMs, then.maxMs),
    async begin() {
      await first.begin();
      await then.begin();
    },
    async end() {
      await then.end();
      await first.end();
    },
  };
}
