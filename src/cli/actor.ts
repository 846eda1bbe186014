import { CommandFailure, type Cli } from './cli.ts';

/** The option of every command that the audit remembers. */
export const ACTOR_OPTION = ['--actor <name>', 'who does this, for the audit (default: your user name)'] as const;

/** What Weir itself signs with. */
const RESERVED = 'drain';
const MAX_CHARACTERS = 200;

export function actorOf({ user }: Cli, { actor = user }: { actor?: string }): string {
  if (actor.trim() === '' || actor.length > MAX_CHARACTERS) {
    throw new CommandFailure(`--actor takes 1 to ${MAX_CHARACTERS} characters.`);
  }
  if (actor === RESERVED) {
    throw new CommandFailure(`"${RESERVED}" is how Weir itself signs in the audit. Say who you are with --actor.`);
  }
  return actor;
}
