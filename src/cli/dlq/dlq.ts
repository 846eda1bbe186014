import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { addDiscard } from './discard.ts';
import { addInspect } from './inspect.ts';
import { addPause } from './pause.ts';
import { addReplay } from './replay.ts';
import { addShow } from './show.ts';
import { addTransfer } from './transfer.ts';

/** The dead letters: batches that ClickHouse did not take. */
export function addDlq(program: Command, cli: Cli): void {
  const dlq = program
    .command('dlq')
    .description('inspect, replay, discard, export and import dead letters')
    .addHelpText(
      'after',
      `
Dead letters are batches that the store of the events did not accept. Weir replays them automatically; the ones
it has given up on are quarantined and wait for an operator. Find the cause with \`weir dlq groups\`,
remove it, see what would happen with \`weir dlq replay --dry-run\`, then replay.

Examples:
  weir dlq groups
  weir dlq replay --group 6f1c0d2e9a7b4c55 --dry-run
  weir dlq replay --group 6f1c0d2e9a7b4c55`,
    );
  addInspect(dlq, cli);
  addShow(dlq, cli);
  addReplay(dlq, cli);
  addDiscard(dlq, cli);
  addTransfer(dlq, cli);
  addPause(dlq, cli);
}
