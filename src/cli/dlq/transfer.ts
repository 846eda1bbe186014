import { createReadStream } from 'node:fs';
import type { Command } from 'commander';
import type { Imported } from '../../operations/import-dead-letters.ts';
import type { Selection } from '../../postgres/dead-letters/selection.ts';
import { ACTOR_OPTION, actorOf } from '../actor.ts';
import { CommandFailure, printJson, type Cli } from '../cli.ts';
import { createProgress, deadLetterProgress } from '../progress.ts';
import { withPostgres } from '../stores.ts';
import { counted, grouped } from '../../operations/wording.ts';
import { type SelectionOptions, collectId, parseProject, selectionOf } from './selection.ts';

type ExportOptions = SelectionOptions & { rowsOnly?: boolean };

export function addTransfer(dlq: Command, cli: Cli): void {
  dlq
    .command('export')
    .description('write dead letters to stdout, each row exactly as it is stored')
    .argument('[ids...]', 'ids of letters', collectId)
    .option('--group <group>', 'letters with one cause, from `weir dlq groups`')
    .option('--project <id>', 'the events of one project, without the other events in their letters', parseProject)
    .option('--all', 'every one')
    .option('--rows-only', 'only the events, one per line; such a file cannot be imported')
    .addHelpText(
      'after',
      `
Newline-delimited JSON. Each letter is one line {"weir_letter":1,"id":…,"events":…,"bytes":…,"sha256":…}
and then its rows, one event per line. The file contains the values of the events: protect it like
the events themselves. Exporting changes nothing.

Examples:
  weir dlq export --all > letters.ndjson
  weir dlq export --group 6f1c0d2e9a7b4c55 --rows-only | jq .event`,
    )
    .action(async (ids: string[], options: ExportOptions, command: Command) => {
      const selection = selectionOf(command, ids, options);
      await exportLetters(cli, selection, options);
    });

  dlq
    .command('import')
    .description('put exported letters back, under the ids and with the bytes they had')
    .argument('<file>', 'a file that `weir dlq export` wrote; "-" reads stdin')
    .option(...ACTOR_OPTION)
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      `
May be repeated: letters that already exist stay unchanged. A letter with a wrong checksum ends the import;
the letters before it are imported. Quarantined letters come back quarantined. Before Weir sends any event
it asks the store of the events which ones it has, so importing events that landed meanwhile makes no duplicates.

Examples:
  weir dlq import letters.ndjson
  weir dlq export --all | DATABASE_URL=postgres://… weir dlq import -`,
    )
    .action((file: string, options: { actor?: string; json?: boolean }) => importLetters(cli, file, options));
}

async function exportLetters(cli: Cli, selection: Selection, { rowsOnly = false }: ExportOptions): Promise<void> {
  const { io } = cli;
  const say = createProgress(cli);
  const done = { letters: 0, events: 0 };
  const unreadable: string[] = [];
  await withPostgres(cli, async (db) => {
    const { exportDeadLetters } = await import('../../operations/export-dead-letters.ts');
    for await (const { id, events, bytes } of exportDeadLetters(db, { selection, rowsOnly }, deadLetterProgress(cli))) {
      if (bytes === null) {
        unreadable.push(id);
        continue;
      }
      await io.send(bytes);
      done.letters++;
      done.events += events;
      say(() => `${counted(done.letters, 'letter')} so far`);
    }
  });
  io.stderr(`${counted(done.letters, 'letter')} (${counted(done.events, 'event')}) exported.\n`);
  if (unreadable.length > 0) {
    const more = unreadable.length > 5 ? ` and ${unreadable.length - 5} more` : '';
    throw new CommandFailure(
      `${counted(unreadable.length, 'letter')} cannot be read and were left out: ${unreadable.slice(0, 5).join(' ')}${more}`,
    );
  }
}

async function importLetters(cli: Cli, file: string, options: { actor?: string; json?: boolean }): Promise<void> {
  const actor = actorOf(cli, options);
  const imported = await withPostgres(cli, async (db) => {
    const { importDeadLetters } = await import('../../operations/import-dead-letters.ts');
    const source = file === '-' ? cli.input.bytes() : opened(file);
    return importDeadLetters(db, { source, actor }, deadLetterProgress(cli));
  });
  const { stoppedBy, ...counts } = imported;
  if (options.json) printJson(cli.io, counts);
  else cli.io.stderr(describe(imported));
  if (stoppedBy !== null) {
    throw new CommandFailure(`${stoppedBy.message}. Neither that letter nor those after it were imported.`);
  }
  if (imported.divided + imported.deletedProject > 0) cli.exitWith(1);
}

function describe({ restored, events, present, divided, deletedProject }: Imported): string {
  const lines = [`${counted(restored, 'letter')} (${counted(events, 'event')}) put back.`];
  if (present > 0) lines.push(`${grouped(present)} exist already and stay unchanged.`);
  if (divided > 0) {
    lines.push(
      `${grouped(divided)} not put back: another letter (split off from them, or they from it) already holds their rows.`,
    );
  }
  if (deletedProject > 0) lines.push(`${grouped(deletedProject)} not put back: they hold events of a deleted project.`);
  return `${lines.join('\n')}\n`;
}

async function* opened(file: string): AsyncGenerator<Uint8Array> {
  try {
    yield* createReadStream(file) as AsyncIterable<Buffer>;
  } catch (error) {
    const code = error instanceof Error ? (error as { code?: unknown }).code : null;
    if (typeof code !== 'string') throw error;
    throw new CommandFailure(
      `${file} cannot be read (${code}). Give the path of a file that \`weir dlq export\` wrote.`,
      {
        cause: error,
      },
    );
  }
}
