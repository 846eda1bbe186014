import { type SwitchPosition, createSwitchboard } from '../postgres/accounts/switchboard.ts';
import type { Positions } from '../postgres/accounts/switches.ts';
import type { Database } from '../postgres/connection/pool.ts';

export type IntakePosition = Positions['intake'];

/** Whether new events are accepted, and since when. Throws `PostgresFailure`. */
export const readIntake = (db: Database): Promise<SwitchPosition<'intake'>> => createSwitchboard(db).read('intake');

/**
 * Refuses new events in every process, or accepts them again, within 5 s. False when nothing had to change. Throws
 * `PostgresFailure`.
 */
export const setIntake = (
  db: Database,
  { position, actor }: { position: IntakePosition; actor: string },
): Promise<boolean> => createSwitchboard(db).move('intake', position, actor);
