import { CommandFailure, type Cli } from './cli.ts';

/** Returns when `--yes` was given or a person says so; otherwise the command ends without having done anything. */
export async function confirmed({ io, input }: Cli, { yes }: { yes?: boolean }, question: string): Promise<void> {
  if (yes) return;
  if (!io.isTTY) throw new CommandFailure('Nobody can be asked here, so nothing was changed. Confirm with --yes.');
  const answer = await input.ask(`${question} [y/N] `);
  if (!/^y(es)?$/i.test(answer.trim())) throw new CommandFailure('Nothing was changed.');
}
