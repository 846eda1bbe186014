/** How the commands are told which dead letters they are about. */
import { InvalidArgumentError, type Command } from 'commander';
import type { Database } from '../../postgres/pool.ts';
import type { CountByState, LetterLookup, Selection } from '../../postgres/letter-lookup.ts';
import { CommandFailure } from '../cli.ts';

export type SelectionOptions = { group?: string; project?: string; all?: boolean; allQuarantined?: boolean };

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

export function parseId(text: string): string {
  if (!UUID.test(text)) throw new InvalidArgumentError('An id is a UUID; `weir dlq ls` shows them.');
  return text.toLowerCase();
}

export function collectId(text: string, earlier: readonly string[] = []): string[] {
  return [...earlier, parseId(text)];
}

export function parseProject(text: string): string {
  if (!UUID.test(text)) throw new InvalidArgumentError('A project id is a UUID; `weir project list` shows them.');
  return text.toLowerCase();
}

export function parseCount(text: string): number {
  const count = Number(text);
  if (!/^\d{1,7}$/.test(text) || count < 1) throw new InvalidArgumentError('A whole number from 1 to 9999999.');
  return count;
}

/** Exactly one way of saying which letters; anything else is wrong usage. */
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

/** How many letters are meant. An id or a group that does not exist is a failure; an empty project is not. */
export async function countSelected(lookup: LetterLookup, selection: Selection): Promise<CountByState> {
  if (selection.by === 'ids') {
    const existing = await lookup.existing(selection.ids);
    const missing = selection.ids.filter((id) => !existing.has(id));
    if (missing.length > 0) {
      const more = missing.length > 5 ? ` and ${missing.length - 5} more` : '';
      throw new CommandFailure(
        `There is no dead letter ${missing.slice(0, 5).join(', ')}${more}: it landed, was split or was discarded; \`weir dlq audit --letter ID\` says what became of one. Nothing was changed.`,
      );
    }
  }
  const count = await lookup.count(selection);
  if (selection.by === 'group' && totalOf(count).letters === 0) {
    throw new CommandFailure(`No dead letter is in the group ${selection.group}. See \`weir dlq groups\`.`);
  }
  return count;
}

export function totalOf({ waiting, replaying, quarantined }: CountByState) {
  return {
    letters: waiting.letters + replaying.letters + quarantined.letters,
    events: waiting.events + replaying.events + quarantined.events,
  };
}

export async function lookupOf(db: Database) {
  const { createLetterLookup } = await import('../../postgres/letter-lookup.ts');
  return createLetterLookup(db);
}

export async function deskOf(db: Database, actor: string) {
  const { createLetterDesk } = await import('../../postgres/letter-desk.ts');
  return createLetterDesk(db, { actor });
}
