/** The types of answers that the operator API is going to give. */
export type Letter = {
  readonly id: string;
  readonly state: 'waiting' | 'replaying' | 'quarantined';
  readonly eventCount: number;
  readonly rawBytes: number;
  readonly projectIds: readonly string[];
  readonly group: string;
  readonly errorClass: string;
  readonly errorCode: number | null;
  readonly lastError: string;
  readonly attemptCount: number;
  readonly createdAt: string;
  readonly lastAttemptAt: string | null;
  readonly visibleAt: string;
  readonly quarantinedAt: string | null;
  readonly quarantineReason: string | null;
};
export type Group = {
  readonly group: string;
  readonly errorClass: string;
  readonly errorCode: number | null;
  readonly lastError: string;
  readonly letters: number;
  readonly events: number;
  readonly waiting: number;
  readonly quarantined: number;
  readonly firstSeen: string;
  readonly lastSeen: string;
  readonly projectIds?: readonly string[];
};

export type GroupAnswer = Group;
export type Count = { readonly letters: number; readonly events: number; readonly bytes: number };
export type LetterCount = Readonly<Record<Letter['state'], Count>>;
export type LetterStats = {
  readonly byState: LetterCount;
  readonly oldestAt: string | null;
};
export type Selection =
  | { readonly by: 'ids'; readonly ids: readonly string[] }
  | { readonly by: 'group'; readonly group: string }
  | { readonly by: 'project'; readonly projectId: string }
  | { readonly by: 'quarantined' };
export type LetterRow = {
  readonly row: number;
  readonly members: readonly {
    readonly column: string;
    readonly type: string | null;
    readonly value: string | null;
    readonly isOffending: boolean;
  }[];
  readonly refusal: { readonly code: number | null; readonly message: string } | null;
  readonly mend: string | null;
};
export type AuditEntry = {
  readonly at: string;
  readonly actor: string;
  readonly action: string;
  readonly eventCount: number;
  readonly letterId: string;
  readonly detail: unknown;
};
export type Project = {
  readonly id: string;
  readonly name: string;
  /** As people write it: `90d`, or `none`. */
  readonly retention: string;
  readonly retentionSeconds: number | null;
  readonly allowedOrigins: readonly string[];
  readonly createdAt: string;
};
export type Token = {
  readonly id: string;
  readonly projectId: string;
  readonly kind: 'public' | 'secret';
  readonly name: string | null;
  readonly createdAt: string;
  readonly lastUsedAt: string | null;
  readonly revokedAt: string | null;
};
export type Usage = { readonly day: string; readonly events: number };
export type ProjectAnswer = Project & { readonly tokens: readonly Token[]; readonly usage: readonly Usage[] };
export type NewToken = { readonly id: string; readonly plaintext: string };
export type RejectedEntry = {
  readonly id: string;
  readonly receivedAt: string;
  readonly projectId: string;
  readonly door: string;
  readonly kind: string;
  readonly reason: string;
  readonly size: number;
};
export type RejectedAnswer = RejectedEntry & { readonly event: unknown };
export type LiveEvent = {
  readonly at: string | number;
  readonly projectId: string;
  readonly event: string;
  readonly id: string;
  readonly distinctId: string | null;
  readonly requestId: string | null;
  readonly ack: string;
  readonly properties?: unknown;
};
export type LiveRates = { readonly seen: number; readonly shown: number };
export type FoundEvent = {
  readonly id: string | null;
  readonly event: string | null;
  readonly stage: string;
  readonly steps: readonly { readonly step: string; readonly at: string | null }[];
  readonly letterId: string | null;
  readonly rejectionId: string | null;
};
export type FindAnswer = { readonly events: readonly FoundEvent[] };
export type SchemaAnswer = {
  readonly tables: readonly {
    readonly name: string;
    readonly comment: string;
    readonly columns: readonly { readonly name: string; readonly type: string; readonly comment: string }[];
  }[];
  readonly events: readonly string[];
  readonly limits: {
    readonly sql_bytes: number;
    readonly rows: number;
    readonly result_bytes: number;
    readonly seconds: number;
    readonly queries_at_once: number;
  };
};
export type Cell = string | number | boolean | null | object;
export type QueryAnswer = {
  readonly columns: readonly { readonly name: string; readonly type: string }[];
  readonly rows: readonly (readonly Cell[])[];
  readonly stats: { readonly rows: number; readonly truncated: boolean; readonly elapsed_ms: number };
};
export type CookbookAnswer = {
  readonly questions: readonly {
    readonly section: string;
    readonly title: string;
    readonly text: string;
    readonly sql: string;
  }[];
};
