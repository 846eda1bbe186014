/**
 * What the reasons of `/health` mean and what to do, an entry for each kind of reason. docs/OPERATIONS.md says the same at
 * length; a test holds that every reason there has its entry here.
 */
import type { Reason } from './answers.ts';

type Entry = Omit<Reason, 'said' | 'anchor'> & { readonly pattern: RegExp; readonly anchor?: string };

const STATES = 'states';

/** The first one that matches is meant. */
const ENTRIES: readonly Entry[] = [
  {
    code: 'schema_drift',
    pattern: /; run: /,
    words: 'A table differs from what Weir made: events land, but a guarantee (such as landing once) may not hold.',
    remedy: 'Run the statement in the text.',
  },
  {
    code: 'memory_only',
    pattern: /batches are in memory only/,
    words: 'No store accepts a batch. Weir keeps it in memory and in the journal, and refuses new events.',
    remedy: 'Bring a store back; this then ends by itself. Do not restart Weir while it lasts.',
  },
  {
    code: 'intake_disabled',
    pattern: /^ingest is switched off/,
    words: 'An operator switched the intake off, or this process has INGEST_DISABLED=true. Clients get 503.',
    remedy: 'Switch it on again (`weir intake enable`). With the setting: unset it and restart.',
    anchor: 'the-kill-switch',
  },
  {
    code: 'shutting_down',
    pattern: /^this process is shutting down/,
    words: 'The process was told to end and takes no more events.',
    remedy: 'Nothing to do: another process takes over.',
    anchor: 'stopping',
  },
  {
    code: 'about_to_shut_down',
    pattern: /^this process is about to shut down/,
    words: 'The process was told to end, and load balancers are sending new requests elsewhere.',
    remedy: 'Nothing to do: everything is accepted meanwhile.',
    anchor: 'stopping',
  },
  {
    code: 'tls_failed',
    pattern: /^the TLS connection to (?:ClickHouse|Postgres) failed/,
    words:
      'A server answers, but its certificate is not trusted, or it does not speak TLS. Events wait, as in an outage.',
    remedy: 'Set NODE_EXTRA_CA_CERTS and restart, or correct the port: `weir doctor` says which.',
  },
  {
    code: 'connection_refused',
    pattern:
      /^(?:Postgres refuses the connection|ClickHouse refused the request|(?:ClickHouse|Postgres) cannot be reached)/,
    words: 'No connection to the store works, for the reason in brackets. Events go to the other store, or wait.',
    remedy: 'Mend the reason given; `weir doctor` prints the remedy. Weir connects again by itself.',
  },
  {
    code: 'not_clickhouse',
    pattern: /^the server at CLICKHOUSE_URL is not ClickHouse/,
    words: 'Another server answers in its place: a proxy, a login portal. Weir believes none of its answers.',
    remedy: 'Check CLICKHOUSE_URL and any proxy in front of ClickHouse.',
  },
  {
    code: 'clickhouse_away',
    pattern: /^ClickHouse does not answer/,
    words: 'Accepted events go to Postgres as dead letters. Nothing is lost or refused.',
    remedy: 'Bring ClickHouse back; the replay starts by itself.',
  },
  {
    code: 'postgres_away',
    pattern: /^Postgres does not answer/,
    words:
      'New tokens, dead letters and changes wait for Postgres; known tokens work for about 15 minutes. ' +
      'Where it stores the events, accepted ones wait in the journal.',
    remedy: 'Bring Postgres back.',
  },
  {
    code: 'not_migrated',
    pattern: /^(?:ClickHouse|Postgres) is not migrated yet/,
    words: 'The store answers, but its tables are missing or outdated.',
    remedy: 'It usually clears seconds after a start. If not: mend the reason given; `weir migrate` tries at once.',
  },
  {
    code: 'postgres_read_only',
    pattern: /^Postgres is read-only/,
    words: 'Postgres answers, but as a hot standby or with default_transaction_read_only: it keeps nothing new.',
    remedy: 'Point DATABASE_URL at the primary.',
  },
  {
    code: 'no_room',
    pattern: /^Postgres has had no room for dead letters/,
    words: 'The disk of Postgres is full. Events are accepted while ClickHouse takes them; no dead letter is added.',
    remedy: 'Free space, or bring ClickHouse back: letters that land free space.',
    anchor: 'room-in-postgres',
  },
  {
    code: 'inserts_suspended',
    pattern: /^inserts have been suspended/,
    words: 'Inserts failed several times in a row. Events go to Postgres, and Weir tries one batch at a time.',
    remedy: 'For `unavailable` and `ambiguous`, check ClickHouse; for `operator`, `weir doctor` says what is wrong.',
  },
  {
    code: 'channel_full',
    pattern: /^the channel is full/,
    words: 'Events arrive faster than they are stored; new ones get 503.',
    remedy:
      'It usually clears within seconds. If not: add processes, or raise INGEST_EVENT_BUFFER and INGEST_BUFFER_BYTES.',
  },
  {
    code: 'journal_failed',
    pattern: /^the journal cannot be written/,
    words: 'The disk of the journal is full, read-only or failing.',
    remedy: 'Check the disk under WEIR_DATA_DIR; Weir goes on by itself.',
  },
  {
    code: 'journal_full',
    pattern: /^the journal is full/,
    words: 'What is not stored yet has reached INGEST_JOURNAL_MAX_BYTES; new events get 503.',
    remedy: 'Bring ClickHouse or Postgres back, or raise the setting.',
  },
  {
    code: 'directory_copied',
    pattern: /^this data directory is a copy/,
    words: 'The data directory is a copy of one that another process uses; the events in it belong to that process.',
    remedy: 'Nothing to do: when the other process has stopped, Weir delivers what it left.',
  },
  {
    code: 'many_dead_letters',
    pattern: /^\d+ dead letters, more than DLQ_DEPTH_503_THRESHOLD/,
    words: 'So many dead letters wait that /healthz answers 503.',
    remedy: 'The groups of dead letters show why the events are refused.',
    anchor: 'dead-letters',
  },
  {
    code: 'quarantined',
    pattern: /^\d+ dead letters? (is|are) quarantined/,
    words: 'The store refuses these events; Weir does not try them again until a person decides.',
    remedy: 'Open the dead letters: mend the cause and replay them, or discard them.',
    anchor: 'dead-letters',
  },
  {
    code: 'nothing_lands',
    pattern: /^no batch has landed since/,
    words: 'The store answers and accepts nothing. Events wait as dead letters.',
    remedy:
      '`capacity`: the store is overloaded. `data`: see the groups of dead letters. `unknown`: run `weir doctor`.',
  },
  {
    code: 'drain_paused',
    pattern: /^the drain has been paused/,
    words: 'An operator paused the replay: dead letters wait, even if everything else is well.',
    remedy: 'Resume the replay (`weir dlq resume`).',
    anchor: 'dead-letters',
  },
  {
    code: 'drain_failing',
    pattern: /^drain passes have been failing/,
    words: 'Postgres answers, but every pass over the dead letters ends in an error: nothing is replayed.',
    remedy: 'By the code: 42501 a right is missing, 42P01 a table, 53100 the disk is full, 57014 it took too long.',
  },
  {
    code: 'oldest_letter_stuck',
    pattern: /dead letters have been waiting since .* and the oldest one is stuck/,
    words: 'The same dead letter has been the oldest for ten minutes: it is refused again and again.',
    remedy: 'The groups of dead letters show the cause.',
    anchor: 'dead-letters',
  },
  {
    code: 'worker_missing',
    pattern: /^worker \d+ (?:has ended and will be restarted|is starting)/,
    words: 'The process of one worker ended; the others serve requests.',
    remedy: 'Nothing to do if it happens once. If it stays: the log line `worker ended` has the reason.',
    anchor: 'several-workers',
  },
  {
    code: 'worker_silent',
    pattern: /^worker \d+ does not answer/,
    words: 'A worker is frozen, or very busy; its last known numbers are shown.',
    remedy: 'If it stays: `kill -9` its process; it is replaced.',
    anchor: 'several-workers',
  },
  {
    code: 'worker_left_events',
    pattern: /^the events that worker \d+ left behind/,
    words: 'There are fewer workers than before, and what a former one had accepted is being delivered.',
    remedy: 'Nothing to do.',
    anchor: 'several-workers',
  },
  {
    code: 'supervisor_silent',
    pattern: /^the supervisor of the workers does not answer/,
    words: 'These numbers are those of one worker only.',
    remedy: 'Check the supervisor: it is frozen, or the machine is overloaded.',
    anchor: 'several-workers',
  },
  {
    code: 'foreign_view',
    pattern: /^the materialized view .* not Weir's/,
    words: 'A materialized view that is not Weir’s makes inserts fail. The events land; the view misses them.',
    remedy: 'Mend or drop the view, then fill it again from events_raw_v1 for the time it missed.',
  },
  {
    code: 'proxy_limit',
    pattern: /^a proxy in front of ClickHouse rejects inserts/,
    words: 'A proxy refuses large bodies; Weir sends smaller batches.',
    remedy: 'Raise the limit of the proxy above 8 MiB (nginx: `client_max_body_size 16m`).',
  },
  {
    code: 'topic_away',
    pattern: /^no broker of the topic .* answers/,
    words: 'None of KAFKA_BROKERS answers. Accepted events wait in the journal; without one, new events get 503.',
    remedy: 'Bring the brokers back, or mend the reason given (`weir doctor` names the setting).',
  },
  {
    code: 'topic_not_joined',
    pattern: /^this process has not joined the readers/,
    words: 'It is starting, or the readers of the topic share its partitions anew.',
    remedy: 'It usually clears within seconds. If not: `weir channel status` shows the members.',
  },
  {
    code: 'topic_later_version',
    pattern: /^partition \d+ holds records of a later version/,
    words: 'A process of a newer Weir appends what this one cannot read; the records wait in the topic.',
    remedy: 'Upgrade the processes that flush before those that ingest.',
  },
  {
    code: 'topic_unreadable',
    pattern: /^partition \d+ holds a record that cannot be read/,
    words: 'A record has Weir’s head and a value that cannot be read. What is behind it waits; other partitions go on.',
    remedy: 'Upgrade this process where the text says so; otherwise the log has the offset.',
  },
  {
    code: 'topic_refuses',
    pattern: /^(?:partition \d+ cannot be written to by its reader|the topic refuses events)/,
    words: 'The brokers answer and refuse what Weir appends.',
    remedy: 'Mend rights or settings of the topic: `weir doctor` names them.',
  },
  {
    code: 'topic_too_large',
    pattern: /^\d+ events are larger than the topic takes/,
    words: 'Some events are too large for the topic; they stay in the journal, and the others go on.',
    remedy: 'Raise `max.message.bytes` of the topic.',
  },
];

const UNKNOWN = {
  code: 'other',
  words: 'The service says of itself that something is not as it should be.',
  remedy: 'Do what the text says; `weir doctor` looks closer.',
};

/** Where the service itself did not answer. */
export const SERVICE_SILENT: Reason = {
  code: 'service_silent',
  said: 'the service does not answer the console',
  words: 'The service is frozen, overloaded or not there; the numbers are the last known ones.',
  remedy: 'Look at the log of the service.',
  anchor: STATES,
};

/** What a sentence of `/health` means. */
export function explained(said: string): Reason {
  const { code, words, remedy, anchor = STATES } = entryOf(said);
  return { code, said, words, remedy, anchor };
}

const entryOf = (said: string): Omit<Entry, 'pattern'> => ENTRIES.find(({ pattern }) => pattern.test(said)) ?? UNKNOWN;
