import { CommandFailure, type Cli } from './cli.ts';

/**
 * Returns when `--yes` was given or a person confirms. Otherwise throws `CommandFailure` before anything is changed.
 */
export async function confirmed({ io, input }: Cli, { yes }: { yes?: boolean }, question: string): Promise<void> {
  if (yes) return;
  if (!io.isTTY)
    throw new CommandFailure(
      'This command asks for confirmation, but there is no terminal. Nothing was changed. Confirm with --yes.',
    );
  const answer = await input.ask(`${question} [y/N] `);
  if (!/^y(es)?$/i.test(answer.trim())) throw new CommandFailure('Nothing was changed.');
}
