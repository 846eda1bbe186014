import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { addLs } from './ls.ts';
import { addReplay } from './replay.ts';
import { addShow } from './show.ts';

/** The rejected events that Weir has kept. */
export function addRejected(program: Command, cli: Cli): void {
  const rejected = program
    .command('rejected')
    .description('look at rejected events that were kept, and replay them')
    .addHelpText(
      'after',
      `
Events that Weir cannot store are rejected, and most clients tell nobody. With INGEST_KEEP_REJECTED set,
Weir keeps the latest ones of each project as they were sent, without tokens, for INGEST_KEEP_REJECTED_FOR.
When a newer version takes what an older one rejected, replay stores it.

Examples:
  weir rejected ls --door segment
  weir rejected show 0198c0de-0000-7000-8000-000000000000 --unsafe
  weir rejected replay --door segment --dry-run`,
    );
  addLs(rejected, cli);
  addShow(rejected, cli);
  addReplay(rejected, cli);
}
