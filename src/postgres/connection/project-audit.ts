import { NO_DEAD_LETTER, type failedEventsAudit } from './schema.ts';

const MAX_INT4 = 2_147_483_647;

type ProjectEntry = {
  readonly action: 'forget' | 'restamp';
  readonly actor: string;
  readonly projectId: string;
  readonly events: number;
  /** What else belongs to the entry's detail. */
  readonly detail?: Readonly<Record<string, unknown>>;
};

/** An audit entry about a project's stored events, not about a dead letter. Its detail has the number that may not fit the column. */
export const projectAuditEntry = ({
  action,
  actor,
  projectId,
  events,
  detail,
}: ProjectEntry): typeof failedEventsAudit.$inferInsert => ({
  failedEventId: NO_DEAD_LETTER,
  action,
  actor,
  eventCount: Math.min(events, MAX_INT4),
  detail: { projects: [projectId], events, ...detail },
});

/** An audit entry about what a project may do, or who may send to it: no event is concerned. */
export const accountAuditEntry = ({
  action,
  actor,
  projectId,
  detail,
}: Pick<ProjectEntry, 'actor' | 'projectId' | 'detail'> & {
  readonly action: 'project create' | 'project delete' | 'origins' | 'token create' | 'token revoke';
}): typeof failedEventsAudit.$inferInsert => ({
  failedEventId: NO_DEAD_LETTER,
  action,
  actor,
  eventCount: 0,
  detail: { projects: [projectId], ...detail },
});
