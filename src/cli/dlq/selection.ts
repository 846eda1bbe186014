/** The options by which commands select dead letters. */
import { InvalidArgumentError, type Command } from 'commander';
import { isUuid } from '../../event/uuid.ts';
import type { Database } from '../../postgres/connection/pool.ts';
import type { Selection } from '../../postgres/dead-letters/selection.ts';

export type SelectionOptions = { group?: string; project?: string; all?: boolean; allQuarantined?: boolean };

/** An id, and several, of what the command `shownBy` lists. */
export function idsShownBy(shownBy: string) {
  const one = (text: string): string => {
    if (!isUuid(text)) throw new InvalidArgumentError(`An id is a UUID; \`${shownBy}\` shows them.`);
    return text.toLowerCase();
  };
  const collect = (text: string, earlier: readonly string[] = []): string[] => [...earlier, one(text)];
  return { one, collect };
}

export const { one: parseId, collect: collectId } = idsShownBy('weir dlq ls');

export function parseProject(text: string): string {
  if (!isUuid(text)) throw new InvalidArgumentError('A project id is a UUID; `weir project list` shows them.');
  return text.toLowerCase();
}

export function parseCount(text: string): number {
  const count = Number(text);
  if (!/^\d{1,7}$/.test(text) || count < 1) throw new InvalidArgumentError('A whole number from 1 to 9999999.');
  return count;
}

/** Requires exactly one way of selecting letters; anything else is wrong usage. */
export function selectionOf(command: Command, ids: readonly string[], options: SelectionOptions): Selection {
  const given: Selection[] = [];
  if (ids.length > 0) given.push({ by: 'ids', ids: [...new Set(ids)] });
  if (options.group !== undefined) given.push({ by: 'group', group: options.group });
  if (options.project !== undefined) given.push({ by: 'project', projectId: options.project });
  if (options.all) given.push({ by: 'all' });
  if (options.allQuarantined) given.push({ by: 'quarantined' });
  const [selection] = given;
  if (selection === undefined || given.length > 1) {
    return command.error('error: say which letters in exactly one way: ids, or one of the options that select them');
  }
  return selection;
}

export async function queriesOf(db: Database) {
  const { createDeadLetterQueries } = await import('../../postgres/dead-letters/dead-letter-queries.ts');
  return createDeadLetterQueries(db);
}
