import { createReadStream } from 'node:fs';
import type { Command } from 'commander';
import type { PutBack } from '../../postgres/letter-desk.ts';
import type { OpenedLetter, Selection } from '../../postgres/letter-lookup.ts';
import { ACTOR_OPTION, actorOf } from '../actor.ts';
import { CommandFailure, printJson, type Cli } from '../cli.ts';
import { createProgress } from '../progress.ts';
import { withPostgres } from '../stores.ts';
import { counted, grouped } from '../words.ts';
import { BadLetterFile, headerOf, readLetterFile } from './letter-file.ts';
import {
  type SelectionOptions,
  collectId,
  countSelected,
  deskOf,
  lookupOf,
  parseProject,
  selectionOf,
} from './selection.ts';

type ExportOptions = SelectionOptions & { rowsOnly?: boolean };

export function addTransfer(dlq: Command, cli: Cli): void {
  dlq
    .command('export')
    .description('write dead letters to stdout, each row exactly as it is stored')
    .argument('[ids...]', 'ids of letters', collectId)
    .option('--group <group>', 'those with one cause, from `weir dlq groups`')
    .option('--project <id>', 'the events of one project, without what else is in their letters', parseProject)
    .option('--all', 'every one')
    .option('--rows-only', 'one event a line and nothing else; such a file cannot be imported')
    .addHelpText(
      'after',
      `
Newline-delimited JSON. Each letter is one line {"weir_letter":1,"id":…,"events":…,"bytes":…,"sha256":…}
and then its rows, one event a line. The values of the events are in it: keep the file as you
would keep the events. Exporting changes nothing.

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
May be repeated: a letter that is there stays as it is. One whose checksum is wrong ends the import;
the letters before it are in. Quarantined letters come back quarantined. Weir asks ClickHouse which
of the events it has before it sends any, so importing what landed meanwhile makes no duplicates.

Examples:
  weir dlq import letters.ndjson
  weir dlq export --all | DATABASE_URL=postgres://… weir dlq import -`,
    )
    .action((file: string, options: { actor?: string; json?: boolean }) => importLetters(cli, file, options));
}

async function exportLetters(cli: Cli, selection: Selection, { rowsOnly }: ExportOptions): Promise<void> {
  const { io } = cli;
  const say = createProgress(cli);
  const done = { letters: 0, events: 0 };
  const unreadable: string[] = [];
  await withPostgres(cli, async (db) => {
    const lookup = await lookupOf(db);
    const { partByProject, partId } = await import('../../postgres/letter-lookup.ts');
    const ownPart = ({ letter, rows }: OpenedLetter, projectId: string): OpenedLetter | null => {
      if (rows === null || letter.projectIds.length === 1) return { letter, rows };
      const { own } = partByProject(rows, projectId);
      if (own.length === 0) return null;
      const bytes = Buffer.concat(own);
      // As if it had been split off: under the id that a split would give it.
      const part = { id: partId(letter.id, bytes), parentId: letter.id, generation: letter.generation + 1 };
      const size = { eventCount: own.length, rawBytes: bytes.length };
      return { letter: { ...letter, ...part, ...size, projectIds: [projectId] }, rows: bytes };
    };

    await countSelected(lookup, selection);
    for await (const found of lookup.openAll(selection)) {
      const opened = selection.by === 'project' ? ownPart(found, selection.projectId) : found;
      if (opened === null) continue;
      const { letter, rows } = opened;
      if (rows === null) {
        unreadable.push(letter.id);
        continue;
      }
      if (!rowsOnly) await io.send(headerOf(letter, rows));
      await io.send(rows);
      done.letters++;
      done.events += letter.eventCount;
      say(() => `${counted(done.letters, 'letter')} so far`);
    }
  });
  io.stderr(`${counted(done.letters, 'letter')} (${counted(done.events, 'event')}) exported.\n`);
  if (unreadable.length > 0) {
    const more = unreadable.length > 5 ? ` and ${unreadable.length - 5} more` : '';
    throw new CommandFailure(
      `${counted(unreadable.length, 'letter')} cannot be read and left out: ${unreadable.slice(0, 5).join(' ')}${more}`,
    );
  }
}

async function importLetters(cli: Cli, file: string, options: { actor?: string; json?: boolean }): Promise<void> {
  const actor = actorOf(cli, options);
  const say = createProgress(cli);
  const done: Record<PutBack, number> & { events: number } = {
    restored: 0,
    present: 0,
    divided: 0,
    'deleted project': 0,
    events: 0,
  };
  let stoppedBy: BadLetterFile | null = null;
  await withPostgres(cli, async (db) => {
    const desk = await deskOf(db, actor);
    try {
      for await (const returned of readLetterFile(file === '-' ? cli.input.bytes() : opened(file))) {
        const outcome = await desk.putBack(returned);
        done[outcome]++;
        if (outcome === 'restored') done.events += returned.letter.eventCount;
        say(() => `${counted(done.restored + done.present, 'letter')} so far`);
      }
    } catch (error) {
      if (!(error instanceof BadLetterFile)) throw error;
      stoppedBy = error;
    }
  });
  const { restored, present, divided, 'deleted project': deletedProject, events } = done;
  if (options.json) printJson(cli.io, { restored, events, present, divided, deletedProject });
  else {
    const lines = [`${counted(restored, 'letter')} (${counted(events, 'event')}) put back.`];
    if (present > 0) lines.push(`${grouped(present)} already there, left as they are.`);
    if (divided > 0) {
      lines.push(
        `${grouped(divided)} not put back: their rows lie in another letter (one they were split off from, or into), and would be there twice.`,
      );
    }
    if (deletedProject > 0)
      lines.push(`${grouped(deletedProject)} not put back: they hold events of a deleted project.`);
    cli.io.stderr(`${lines.join('\n')}\n`);
  }
  if (stoppedBy !== null) {
    throw new CommandFailure(`${(stoppedBy as BadLetterFile).message}. It and what follows it was not imported.`);
  }
  if (divided + deletedProject > 0) cli.exitWith(1);
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
