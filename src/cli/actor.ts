import { actorNamed } from '../operations/actor.ts';
import type { Cli } from './cli.ts';

/** The option of every command that the audit remembers. */
export const ACTOR_OPTION = ['--actor <name>', 'the name to record in the audit (default: your user name)'] as const;

/** Throws `OperationRefused`. */
export const actorOf = ({ user }: Cli, { actor = user }: { actor?: string }): string => actorNamed(actor, '--actor');
