import { type SwitchPosition, createSwitchboard } from '../postgres/accounts/switchboard.ts';
import type { Positions } from '../postgres/accounts/switches.ts';
import type { Database } from '../postgres/connection/pool.ts';

export type DrainPosition = Positions['drain'];

/** Whether dead letters are replayed, and since when. Throws `PostgresFailure`. */
export const readDrain = (db: Database): Promise<SwitchPosition<'drain'>> => createSwitchboard(db).read('drain');

/**
 * Pauses or resumes replaying in every process within 5 s. False when nothing had to change. Throws `PostgresFailure`.
 */
export const setDrain = (
  db: Database,
  { position, actor }: { position: DrainPosition; actor: string },
): Promise<boolean> => createSwitchboard(db).move('drain', position, actor);
