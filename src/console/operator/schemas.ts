/** What the operator API is sent and answers, as schemas: they check, describe, and give `answers.ts` its types. */
import * as v from 'valibot';
import { REJECTION_KINDS } from '../../event/rejection-kind.ts';
import { Count, Instant, Next, Text, Uuid } from './fields.ts';

const NullableText = v.nullable(Text);
const NullableInstant = v.nullable(Instant);

// Jobs

const JOB = {
  id: Uuid,
  kind: v.picklist(['try', 'replay', 'discard', 'replay rejected', 'delete project', 'change retention']),
  /** The name of who began it. */
  by: Text,
  startedAt: Instant,
  endedAt: NullableInstant,
  state: v.picklist(['running', 'done', 'failed', 'stopped']),
  progress: v.strictObject({ step: Text, done: Count, total: v.nullable(Count) }),
  error: NullableText,
};
export const Job = v.strictObject({
  ...JOB,
  /** What the command prints with `--json`. */
  result: v.unknown(),
});
export const JobStarted = v.strictObject({ job: Job });
/** Without results, which may be large: a page asks for this again and again. */
export const ListedJob = v.strictObject(JOB);
export const JobPage = v.strictObject({ jobs: v.array(ListedJob), next: Next });

// Dead letters

const State = v.picklist(['waiting', 'replaying', 'quarantined']);
const Size = v.strictObject({ letters: Count, events: Count, bytes: Count });
const ByState = v.strictObject({ waiting: Size, replaying: Size, quarantined: Size });

export const LetterStats = v.strictObject({
  byState: ByState,
  oldestAt: NullableInstant,
  /** Some of it was estimated. */
  isEstimate: v.boolean(),
  byClass: v.array(v.strictObject({ errorClass: Text, state: State, letters: Count, events: Count, bytes: Count })),
  drain: v.strictObject({ position: v.picklist(['running', 'paused']), since: NullableInstant, by: NullableText }),
});
export const LetterGroups = v.strictObject({
  groups: v.array(
    v.strictObject({
      group: Text,
      errorClass: Text,
      errorCode: v.nullable(v.number()),
      lastError: Text,
      letters: Count,
      events: Count,
      waiting: Count,
      quarantined: Count,
      firstSeen: Instant,
      lastSeen: Instant,
      isEstimate: v.boolean(),
    }),
  ),
  more: Count,
});
const LETTER = {
  id: Uuid,
  parentId: v.nullable(Uuid),
  generation: Count,
  state: State,
  eventCount: Count,
  rawBytes: Count,
  projectIds: v.array(Uuid),
  group: Text,
  errorClass: Text,
  errorCode: v.nullable(v.number()),
  lastError: Text,
  ambiguous: v.boolean(),
  attemptCount: Count,
  exposedMs: Count,
  createdAt: Instant,
  lastAttemptAt: NullableInstant,
  visibleAt: Instant,
  quarantinedAt: NullableInstant,
  quarantineReason: NullableText,
};
export const LetterEntry = v.strictObject(LETTER);
export const LetterPage = v.strictObject({ letters: v.array(LetterEntry), next: Next });
export const Letter = v.strictObject({ ...LETTER, isReadable: v.boolean(), rows: v.array(v.unknown()), more: Count });

/** Why the store refuses a row, and what would mend it. */
const Refusal = v.strictObject({
  message: Text,
  code: v.nullable(v.number()),
  /** While it is read, or when it has been read and is stored. */
  when: v.picklist(['reading', 'storing']),
  /** An ordinary event is refused as well: the schema is to blame. */
  isOrdinaryRefused: v.boolean(),
  column: NullableText,
  constraint: NullableText,
  /** The members of the event to look at, as paths: `timestamp`, `properties.amount`. */
  members: v.array(Text),
  /** The statement that makes the table take it, for the store's own client; null where none can be told. */
  statement: NullableText,
});
export const LetterRows = v.strictObject({
  table: v.nullable(Text),
  columns: v.array(
    v.strictObject({
      name: Text,
      type: Text,
      /** Whether rows carry it; others are computed, or have defaults. */
      isCarried: v.boolean(),
    }),
  ),
  constraints: v.array(v.strictObject({ name: Text, expression: Text })),
  /** What of the tables differs from what Weir made, with the statement that mends it. */
  drift: v.array(v.strictObject({ table: Text, problem: Text, remedy: Text })),
  rows: v.array(
    v.strictObject({ place: Count, eventId: v.nullable(Text), row: v.unknown(), refusal: v.nullable(v.number()) }),
  ),
  /** What `refusal` of a row counts in. */
  refusals: v.array(Refusal),
  /** Rows of the whole letter. */
  total: Count,
  refused: Count,
  /** Whether every row was looked at; null where the store could not be asked, `why` says the reason. */
  isComplete: v.nullable(v.boolean()),
  why: NullableText,
  next: Next,
});
export const LetterCount = v.strictObject({
  ...ByState.entries,
  letters: Count,
  events: Count,
  /** When it was counted: give it back to discard no more than that. */
  asOf: Text,
});

export const LetterSelection = v.variant(
  'by',
  [
    v.strictObject({
      by: v.literal('ids'),
      ids: v.pipe(v.array(Uuid), v.minLength(1, 'name at least one'), v.maxLength(1_000, 'at most 1000 at a time')),
    }),
    v.strictObject({ by: v.literal('group'), group: v.pipe(Text, v.minLength(1), v.maxLength(100)) }),
    v.strictObject({ by: v.literal('project'), projectId: Uuid }),
    v.strictObject({ by: v.literal('quarantined') }),
    v.strictObject({ by: v.literal('all') }),
  ],
  'must be ids, group, project, quarantined or all',
);

export const AuditPage = v.strictObject({
  entries: v.array(
    v.strictObject({
      id: Count,
      at: Instant,
      actor: Text,
      action: Text,
      letterId: Uuid,
      eventCount: Count,
      detail: v.unknown(),
    }),
  ),
  next: Next,
});

// Switches

export const IntakePosition = v.picklist(['open', 'disabled'], 'must be open or disabled');
export const DrainPosition = v.picklist(['running', 'paused'], 'must be running or paused');
export const Intake = v.strictObject({
  position: IntakePosition,
  since: NullableInstant,
  by: NullableText,
  INGEST_DISABLED: v.boolean(),
});
export const IntakeMoved = v.strictObject({ intake: IntakePosition, changed: v.boolean() });
export const Drain = v.strictObject({ position: DrainPosition, since: NullableInstant, by: NullableText });
export const DrainMoved = v.strictObject({ drain: DrainPosition, changed: v.boolean() });

// Rejected events

export const RejectionKind = v.picklist(REJECTION_KINDS, `must be one of ${REJECTION_KINDS.join(', ')}`);
export const DoorName = v.pipe(
  Text,
  v.regex(/^[a-z0-9]{1,32}$/, 'must be the source of a door, such as segment or native'),
);
const REJECTED = {
  id: Uuid,
  projectId: Uuid,
  door: Text,
  path: Text,
  kind: RejectionKind,
  reason: Text,
  size: Count,
  index: Count,
  receivedAt: Instant,
};
export const RejectedPage = v.strictObject({
  events: v.array(v.strictObject({ ...REJECTED, keptAt: Instant })),
  next: Next,
});
/** `event`: as JSON; as text where it is none. */
export const RejectedShown = v.strictObject({ ...REJECTED, event: v.unknown() });
export const RejectedSelection = v.strictObject({
  ids: v.optional(
    v.pipe(v.array(Uuid), v.minLength(1, 'name at least one'), v.maxLength(1_000, 'at most 1000 at a time')),
  ),
  projectId: v.optional(Uuid),
  door: v.optional(DoorName),
  kind: v.optional(RejectionKind),
});

// Projects

const PROJECT = {
  id: Uuid,
  name: Text,
  /** As people write it. */
  retention: Text,
  retentionSeconds: v.nullable(Count),
  allowedOrigins: v.array(Text),
  createdAt: Instant,
};
export const Project = v.strictObject(PROJECT);
export const ProjectPage = v.strictObject({ projects: v.array(Project), next: Next });
export const Token = v.strictObject({
  id: Uuid,
  projectId: Uuid,
  kind: v.picklist(['public', 'secret']),
  name: NullableText,
  createdAt: Instant,
  lastUsedAt: NullableInstant,
  revokedAt: NullableInstant,
});
export const TokenPage = v.strictObject({ tokens: v.array(Token), next: Next });
/** `token`: the plaintext, this once; absent for an imported key. */
export const NewToken = v.strictObject({ id: Uuid, token: v.optional(Text), isGuessable: v.boolean() });
export const ProjectDetails = v.strictObject({
  ...PROJECT,
  /** The oldest; `GET /projects/:id/tokens` pages through all. */
  tokens: v.array(Token),
  moreTokens: v.boolean(),
  /** Events that landed on each of the last 30 days (UTC) on which some did; null where the store could not be asked. */
  usage: v.nullable(v.array(v.strictObject({ day: v.pipe(Text, v.isoDate()), events: Count }))),
  why: NullableText,
});
export const RetentionEffect = v.strictObject({
  id: Uuid,
  name: Text,
  retention: Text,
  retentionSeconds: v.nullable(Count),
  stored: Count,
  differing: Count,
  expiring: Count,
});
export const RetentionChanged = v.strictObject({
  id: Uuid,
  name: Text,
  retention: Text,
  retentionSeconds: v.nullable(Count),
  changed: v.boolean(),
});
export const OriginsChanged = v.strictObject({ id: Uuid, allowedOrigins: v.array(Text), changed: v.boolean() });
export const ProjectClosed = v.strictObject({ deleted: Uuid, keptEvents: v.literal(true) });
export const TokenRevoked = v.strictObject({ revoked: Uuid });

// Ask

export const ProjectSchema = v.strictObject({
  tables: v.array(
    v.strictObject({
      name: Text,
      comment: Text,
      columns: v.array(v.strictObject({ name: Text, type: Text, comment: Text })),
    }),
  ),
  events: v.array(Text),
  limits: v.strictObject({
    sql_bytes: Count,
    rows: Count,
    result_bytes: Count,
    seconds: Count,
    queries_at_once: Count,
  }),
});
export const QueryAnswer = v.strictObject({
  columns: v.array(v.strictObject({ name: Text, type: Text })),
  rows: v.array(v.array(v.unknown())),
  stats: v.strictObject({ rows: Count, truncated: v.boolean(), elapsed_ms: Count }),
});
export const Cookbook = v.strictObject({
  recipes: v.array(v.strictObject({ chapter: Text, title: Text, description: Text, sql: Text })),
});

// Ledger

export const Check = v.strictObject({
  name: Text,
  outcome: v.picklist(['ok', 'warn', 'fail']),
  detail: Text,
  remedy: NullableText,
});
export const Doctor = v.strictObject({ checks: v.array(Check) });
export const Ledger = v.strictObject({
  processes: v.array(
    v.strictObject({
      url: Text,
      accepted: Count,
      stored: Count,
      taken: Count,
      replicated: Count,
      handedOver: Count,
      deadLettered: Count,
      pending: Count,
      lost: Count,
    }),
  ),
  stores: v.strictObject({
    store: v.picklist(['ClickHouse', 'Postgres']),
    events: v.strictObject({ rows: Count, distinctRows: Count, counted: Count, landed: Count }),
    letters: ByState,
    balance: v.strictObject({ discarded: v.number(), imported: v.number(), forgotten: v.number() }),
  }),
  checks: v.array(Check),
});
