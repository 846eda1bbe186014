/**
 * The tables of Postgres. `drizzle/` is generated from this file; what drizzle cannot express (`STORAGE EXTERNAL`) was
 * added to the generated SQL by hand.
 */
import { sql } from './drizzle.ts';
import {
  bigint,
  boolean,
  check,
  customType,
  index,
  integer,
  jsonb,
  pgTable,
  text,
  timestamp,
  uuid,
} from './drizzle.ts';

const bytea = customType<{ data: Buffer; driverData: Buffer }>({ dataType: () => 'bytea' });

const instant = (name: string) => timestamp(name, { withTimezone: true, precision: 3, mode: 'date' });

/** The tenants. A deleted one keeps its row: stored events still refer to it. */
export const projects = pgTable(
  'projects',
  {
    id: uuid('id').primaryKey().defaultRandom(),
    name: text('name').notNull(),
    /** Seconds from arrival until events expire; null keeps them. */
    retentionSeconds: bigint('retention_seconds', { mode: 'number' }),
    /**
     * What processes of the previous version read, rounded up so that they expire nothing early. They cannot write it:
     * their `project create` fails instead of creating a project that keeps everything. The next migration may drop it.
     */
    retentionDays: integer('retention_days').generatedAlwaysAs(sql`((retention_seconds + 86399) / 86400)::integer`),
    /** Exact browser origins that may use the tokens; an empty list allows every one. */
    allowedOrigins: text('allowed_origins')
      .array()
      .notNull()
      .default(sql`'{}'`),
    createdAt: instant('created_at').notNull().defaultNow(),
    deletedAt: instant('deleted_at'),
  },
  (table) => [check('projects_retention_seconds_positive', sql`${table.retentionSeconds} > 0`)],
);

/** The credentials of clients, as hashes only. */
export const apiTokens = pgTable(
  'api_tokens',
  {
    id: uuid('id').primaryKey().defaultRandom(),
    projectId: uuid('project_id')
      .notNull()
      .references(() => projects.id),
    kind: text('kind', { enum: ['public', 'secret'] }).notNull(),
    /** Lowercase hex SHA-256 of the whole plaintext. */
    tokenHash: text('token_hash').notNull().unique(),
    name: text('name'),
    createdAt: instant('created_at').notNull().defaultNow(),
    /** Accurate to five minutes. */
    lastUsedAt: instant('last_used_at'),
    revokedAt: instant('revoked_at'),
  },
  (table) => [
    index('api_tokens_project_id').on(table.projectId),
    check('api_tokens_kind_known', sql`${table.kind} in ('public', 'secret')`),
    check('api_tokens_token_hash_sha256', sql`${table.tokenHash} ~ '^[0-9a-f]{64}$'`),
  ],
);

/** The dead letters: batches that ClickHouse did not take. */
export const failedEvents = pgTable(
  'failed_events',
  {
    /** The batch's id, which is also its deduplication token. */
    id: uuid('id').primaryKey(),
    /** The letter from which this one was split, which no longer exists. */
    parentId: uuid('parent_id'),
    /** How many splits lie between this one and the first letter. */
    generation: integer('generation').notNull().default(0),
    /** Compressed NDJSON, the rows byte for byte. Already compressed, so stored EXTERNAL. */
    payload: bytea('payload').notNull(),
    /** Length of the rows before compression. */
    rawBytes: integer('raw_bytes').notNull(),
    eventCount: integer('event_count').notNull(),
    projectIds: uuid('project_ids').array().notNull(),
    errorClass: text('error_class').notNull(),
    errorCode: integer('error_code'),
    errorFingerprint: text('error_fingerprint').notNull(),
    /** At most 2 kB, without event data. */
    lastError: text('last_error').notNull(),
    /** It may have landed already: only the same bytes under the same id may be sent again. */
    ambiguous: boolean('ambiguous').notNull().default(false),
    attemptCount: integer('attempt_count').notNull().default(0),
    /** Milliseconds waited between tries against a working ClickHouse: the age that counts. */
    exposedMs: bigint('exposed_ms', { mode: 'number' }).notNull().default(0),
    createdAt: instant('created_at').notNull().defaultNow(),
    lastAttemptAt: instant('last_attempt_at'),
    /** The next try; while a lease is held, its end. */
    visibleAt: instant('visible_at').notNull().defaultNow(),
    /** Fences the holder of the lease: a process that lost it can no longer change the row. */
    leaseToken: uuid('lease_token'),
    quarantinedAt: instant('quarantined_at'),
    quarantineReason: text('quarantine_reason'),
  },
  (table) => [
    // The order of claims: ambiguous ones first, because the deduplication window counts inserts and stands still in
    // the meantime.
    index('failed_events_claim')
      .on(table.ambiguous.desc().nullsFirst(), table.visibleAt)
      .where(sql`${table.quarantinedAt} is null`),
    index('failed_events_quarantined')
      .on(table.quarantinedAt)
      .where(sql`${table.quarantinedAt} is not null`),
    index('failed_events_fingerprint').on(table.errorFingerprint, table.createdAt),
    // The order of lists, of all letters and of those that wait for an operator.
    index('failed_events_age').on(table.createdAt, table.id),
    index('failed_events_quarantined_age')
      .on(table.createdAt, table.id)
      .where(sql`${table.quarantinedAt} is not null`),
    // Without a list of pending keys, so that a look-up always costs the same.
    index('failed_events_projects').using('gin', table.projectIds).with({ fastupdate: false }),
    // For checking whether parts of a letter exist before it is put back. Most letters have no parent and are not in
    // it.
    index('failed_events_parent')
      .on(table.parentId)
      .where(sql`${table.parentId} is not null`),
    check('failed_events_event_count_positive', sql`${table.eventCount} > 0`),
    check('failed_events_raw_bytes_positive', sql`${table.rawBytes} > 0`),
    check('failed_events_attempt_count_natural', sql`${table.attemptCount} >= 0`),
    check('failed_events_generation_natural', sql`${table.generation} >= 0`),
    check(
      'failed_events_quarantine_has_reason',
      sql`(${table.quarantinedAt} is null) = (${table.quarantineReason} is null)`,
    ),
  ],
);

/** Actions on dead letters, and the person. Kept after the letter is gone. */
export const failedEventsAudit = pgTable(
  'failed_events_audit',
  {
    id: bigint('id', { mode: 'number' }).primaryKey().generatedAlwaysAsIdentity(),
    failedEventId: uuid('failed_event_id').notNull(),
    action: text('action').notNull(),
    /** `drain` for Weir itself, otherwise the operator's name from the command line. */
    actor: text('actor').notNull(),
    eventCount: integer('event_count').notNull(),
    detail: jsonb('detail').notNull().default({}),
    at: instant('at').notNull().defaultNow(),
  },
  (table) => [
    index('failed_events_audit_failed_event_id').on(table.failedEventId),
    index('failed_events_audit_at').on(table.at),
  ],
);

/**
 * The letters of an audit entry that concerns many, and names none itself. A separate table, because a column would
 * need a lock that everything waits for. Without a list of pending keys, so that a look-up always costs the same.
 */
export const failedEventsAuditLetters = pgTable(
  'failed_events_audit_letters',
  {
    auditId: bigint('audit_id', { mode: 'number' }).primaryKey(),
    deadLetterIds: uuid('letter_ids').array().notNull(),
  },
  (table) => [index('failed_events_audit_letters_ids').using('gin', table.deadLetterIds).with({ fastupdate: false })],
);

/** Rejected events, for a while, for whoever mends a client or a mapping. They have no home that is promised. */
export const rejectedEvents = pgTable(
  'rejected_events',
  {
    /** A UUID v7. */
    id: uuid('id').primaryKey(),
    projectId: uuid('project_id').notNull(),
    /** The source of the events of its door, and which of its paths. */
    door: text('door').notNull(),
    path: text('path').notNull(),
    /** A kind out of a closed set, and the reason for people. */
    kind: text('kind').notNull(),
    reason: text('reason').notNull(),
    /** The event as it was sent, without tokens. */
    bytes: bytea('bytes').notNull(),
    size: integer('size').notNull(),
    /** Its place in the request. */
    position: integer('position').notNull(),
    /** What its request said of it: `RejectedFacts`. */
    facts: jsonb('facts').notNull(),
    /** By the clock of the process that received it, as an accepted event has it. */
    receivedAt: instant('received_at').notNull(),
    /** By the clock of Postgres, which decides when it expires. */
    keptAt: instant('kept_at').notNull().defaultNow(),
  },
  (table) => [
    // With the size, so that the limits can be checked without reading an event.
    index('rejected_events_of_project').on(table.projectId, table.id, table.size),
    index('rejected_events_kept_at').on(table.keptAt),
  ],
);

/** The people who may sign in to the console. A disabled one keeps its row: the audit names it. */
export const operators = pgTable(
  'operators',
  {
    name: text('name').primaryKey(),
    role: text('role', { enum: ['viewer', 'operator'] }).notNull(),
    /** `scrypt$N$r$p$salt$hash`. */
    passwordHash: text('password_hash').notNull(),
    createdAt: instant('created_at').notNull().defaultNow(),
    disabledAt: instant('disabled_at'),
  },
  (table) => [check('operators_role_known', sql`${table.role} in ('viewer', 'operator')`)],
);

/** Who is signed in to the console. Neither a cookie nor the token of its changes can be made from a row. */
export const consoleSessions = pgTable(
  'console_sessions',
  {
    /** Lowercase hex SHA-256 of the cookie. */
    idHash: text('id_hash').primaryKey(),
    /** The name that the audit records. */
    name: text('name').notNull(),
    role: text('role', { enum: ['viewer', 'operator'] }).notNull(),
    /** The account; null for a session that began with a link. */
    operator: text('operator').references(() => operators.name),
    createdAt: instant('created_at').notNull().defaultNow(),
    /** Accurate to a minute. */
    lastSeenAt: instant('last_seen_at').notNull().defaultNow(),
  },
  (table) => [
    index('console_sessions_operator').on(table.operator),
    index('console_sessions_created_at').on(table.createdAt),
    check('console_sessions_role_known', sql`${table.role} in ('viewer', 'operator')`),
  ],
);

/** Links that sign in once. A used one is gone. */
export const consoleLinks = pgTable('console_links', {
  /** Lowercase hex SHA-256 of the secret. */
  secretHash: text('secret_hash').primaryKey(),
  /** Who made it: the name of the session. */
  name: text('name').notNull(),
  expiresAt: instant('expires_at').notNull(),
});

/** Switches that operators set and that outlive a restart, such as the intake's. */
export const settings = pgTable('settings', {
  key: text('key').primaryKey(),
  value: jsonb('value').notNull(),
  updatedAt: instant('updated_at').notNull().defaultNow(),
});

/** The audit's letter for entries about none in particular, or about many. */
export const NO_DEAD_LETTER = '00000000-0000-0000-0000-000000000000';
