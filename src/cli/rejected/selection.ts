/** The options by which commands select rejected events. */
import { InvalidArgumentError } from 'commander';
import { REJECTION_KINDS, type RejectionKind } from '../../event/rejection-kind.ts';
import type { RejectedSelection } from '../../postgres/rejected-events/rejected-queries.ts';

export type SelectionOptions = { project?: string; door?: string; reason?: RejectionKind };

export function parseReason(text: string): RejectionKind {
  const kind = REJECTION_KINDS.find((known) => known === text);
  if (kind === undefined) throw new InvalidArgumentError(`One of ${REJECTION_KINDS.join(', ')}.`);
  return kind;
}

export function parseDoor(text: string): string {
  if (!/^[a-z0-9]{1,32}$/.test(text)) {
    throw new InvalidArgumentError('The source of the events of a door, such as segment or native.');
  }
  return text;
}

/** An id is only given where there is one: none selects every event. */
export function selectionOf(ids: readonly string[], { project, door, reason }: SelectionOptions): RejectedSelection {
  return {
    ...(ids.length > 0 && { ids: [...new Set(ids)] }),
    ...(project !== undefined && { projectId: project }),
    ...(door !== undefined && { door }),
    ...(reason !== undefined && { kind: reason }),
  };
}
