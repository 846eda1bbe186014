/** The faults of a chaos run on a Postgres that stores the events too: there is one database to hurt, and Weir. */
import { type Fault, type FaultTargets, both, onPostgres, onWeir } from './faults.ts';
import type { PostgresRig } from './rig.ts';

/** The statement that ends a transaction: its answer is lost, and what it did is not. */
const COMMIT = /\bcommit\b/i;
/** What stores events, and everything else of the same transaction. */
const INSERT = /event_batches|events_raw/;

export function postgresFaultsOn({ rig, primary, second, random, onBadExit }: FaultTargets<PostgresRig>): Fault[] {
  const { postgres, stores } = rig;
  const { postgresKilled, postgresFrozen, postgresRefused } = onPostgres({ postgres, server: stores.postgresServer });
  const { restarted, logBlocked, killed, secondKilled, secondWeir } = onWeir({ primary, second, onBadExit });
  const run = async (statement: string) => void (await stores.select(statement));
  const cut = (name: string, message: RegExp, maxMs = 3_000): Fault => ({
    name,
    minMs: 300,
    maxMs,
    begin: () => postgres.set({ kind: 'commit-then-cut', message }),
    end: () => postgres.set(null),
  });

  return [
    postgresKilled,
    postgresFrozen,
    postgresRefused,
    restarted,
    killed,
    secondWeir,
    secondKilled,
    cut('commits cut', COMMIT),
    cut('commits cut for long', COMMIT, 8_000),
    cut('inserts cut', INSERT),
    cut('every answer cut', /./s, 2_000),
    both('commits cut, weir killed', cut('', COMMIT), killed),
    both('commits cut, weir terminated', cut('', COMMIT), restarted),
    both('second weir, then commits cut', secondWeir, cut('', COMMIT)),
    both('second weir, then postgres killed', secondWeir, postgresKilled),
    both('second weir, then postgres frozen', secondWeir, postgresFrozen),
    both('postgres killed, weir killed', postgresKilled, killed),
    both('postgres frozen, weir killed', postgresFrozen, killed),
    both('postgres refused, weir terminated', postgresRefused, restarted),
    both('postgres frozen, weir terminated', postgresFrozen, restarted),
    both('log not read', logBlocked, postgresRefused),
    {
      name: 'statements hung',
      minMs: 300,
      maxMs: 6_000,
      begin: () => postgres.set({ kind: 'hang' }),
      end: () => postgres.set(null),
    },
    {
      name: 'connections reset',
      minMs: 300,
      maxMs: 3_000,
      begin: () => postgres.set({ kind: 'reset' }),
      end: () => postgres.set(null),
    },
    {
      name: 'connections cut',
      minMs: 0,
      maxMs: 50,
      begin: () => postgres.cut(),
      end: () => {},
    },
    {
      name: 'backends terminated',
      minMs: 0,
      maxMs: 500,
      begin: () =>
        run(
          `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'weir%' AND pid <> pg_backend_pid()`,
        ),
      end: () => {},
    },
    {
      name: 'read-only',
      minMs: 500,
      maxMs: 5_000,
      begin: () => setReadOnly('on'),
      end: () => setReadOnly('off'),
    },
    {
      name: 'tables locked',
      minMs: 0,
      maxMs: 50,
      // As a careless migration does.
      begin: () =>
        run(
          `BEGIN; LOCK TABLE analytics.events_raw IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(${(random() * 3).toFixed(1)}); COMMIT`,
        ),
      end: () => {},
    },
    {
      name: 'a table is missing',
      minMs: 500,
      maxMs: 4_000,
      begin: () => run('ALTER TABLE analytics.event_batches RENAME TO event_batches_away'),
      end: () => run('ALTER TABLE analytics.event_batches_away RENAME TO event_batches'),
    },
  ];

  /** Not of the connections that heal it. */
  async function setReadOnly(position: 'on' | 'off') {
    const client = await stores.postgres.pool.connect();
    try {
      await client.query('SET default_transaction_read_only = off');
      await client.query(`ALTER SYSTEM SET default_transaction_read_only = ${position}`);
      await client.query('SELECT pg_reload_conf()');
    } finally {
      client.release();
    }
  }
}
