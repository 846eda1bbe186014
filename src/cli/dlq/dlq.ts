import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { addDiscard } from './discard.ts';
import { addLook } from './look.ts';
import { addPause } from './pause.ts';
import { addReplay } from './replay.ts';
import { addShow } from './show.ts';
import { addTransfer } from './transfer.ts';

/** The dead letters: batches that ClickHouse did not take. */
export function addDlq(program: Command, cli: Cli): void {
  const dlq = program
    .command('dlq')
    .description('look into the dead letters, replay, discard, export and import them')
    .addHelpText(
      'after',
      `
Dead letters are batches that ClickHouse did not take. Weir replays them by itself; the ones
it has given up on are quarantined and wait for a person. Find the cause with \`weir dlq groups\`,
remove it, see what would happen with \`weir dlq replay --dry-run\`, then replay.

Examples:
  weir dlq groups
  weir dlq replay --group 6f1c0d2e9a7b4c55 --dry-run
  weir dlq replay --group 6f1c0d2e9a7b4c55`,
    );
  addLook(dlq, cli);
  addShow(dlq, cli);
  addReplay(dlq, cli);
  addDiscard(dlq, cli);
  addTransfer(dlq, cli);
  addPause(dlq, cli);
}
