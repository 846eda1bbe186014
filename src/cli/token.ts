import type { Command } from 'commander';
import type { Database } from '../postgres/pool.ts';
import type { NewToken, Tokens } from '../postgres/tokens.ts';
import { CommandFailure, printJson, type Cli } from './cli.ts';
import { confirmed } from './confirm.ts';
import { withPostgres } from './stores.ts';
import { textTable } from './table.ts';

type CreateOptions = { project: string; secret?: boolean; import?: string; name?: string; json?: boolean };

export function addToken(program: Command, cli: Cli): void {
  const token = program.command('token').description('create, list and revoke the tokens that clients send');

  token
    .command('create')
    .description('create a token and print it, once')
    .requiredOption('--project <id>', 'the project it belongs to')
    .option('--secret', 'may also read its own project; keep it out of pages (default: public, may only send events)')
    .option('--import <key>', 'take over a key that clients of another service already use; "-" reads it from stdin')
    .option('--name <name>', 'a name for people')
    .option('--json', 'print the token as JSON')
    .addHelpText(
      'after',
      `
Only a hash of the token is kept: what is printed now cannot be printed again.
With --import the key is not printed. "--import -" keeps it out of the shell's history.

Examples:
  weir token create --project 0198c0de-0000-7000-8000-000000000000 --name website
  weir token create --project 0198c0de-0000-7000-8000-000000000000 --secret --json
  weir token create --project 0198c0de-0000-7000-8000-000000000000 --import - < old-key`,
    )
    .action(async (options: CreateOptions) => {
      const imported = await importedKey(cli, options);
      const created = await withPostgres(cli, async (db) =>
        createUnique(await tokensOf(db), {
          projectId: options.project,
          kind: options.secret ? 'secret' : 'public',
          name: options.name ?? null,
          imported,
        }),
      );
      if (created === null)
        throw new CommandFailure(`There is no project ${options.project}. See \`weir project list\`.`);
      printToken(cli, created, { isImported: imported !== null, json: options.json });
    });

  token
    .command('list')
    .description('list the tokens, without their secret part')
    .option('--project <id>', 'only those of one project')
    .option('--json', 'print one JSON array')
    .addHelpText(
      'after',
      '\nExamples:\n  weir token list\n  weir token list --project 0198c0de-0000-7000-8000-000000000000',
    )
    .action(async (options: { project?: string; json?: boolean }) => {
      const tokens = await withPostgres(cli, async (db) => (await tokensOf(db)).list(options.project ?? null));
      if (options.json) return printJson(cli.io, tokens);
      const rows = tokens.map(({ id, projectId, kind, name, createdAt, lastUsedAt, revokedAt }) => [
        id,
        projectId,
        kind,
        name ?? '',
        createdAt.toISOString(),
        lastUsedAt?.toISOString() ?? 'never',
        revokedAt === null ? 'active' : `revoked ${revokedAt.toISOString()}`,
      ]);
      cli.io.stdout(textTable(['ID', 'PROJECT', 'KIND', 'NAME', 'CREATED', 'LAST USED', 'STATE'], rows));
    });

  token
    .command('revoke')
    .description('revoke a token: it stops working within a minute, for good')
    .argument('<id>', 'the id of the token, not the token')
    .option('--yes', 'do not ask')
    .option('--json', 'print the outcome as JSON')
    .addHelpText('after', '\nExamples:\n  weir token revoke 0198c0de-0000-7000-8000-000000000000 --yes')
    .action(async (id: string, options: { yes?: boolean; json?: boolean }) => {
      await confirmed(cli, options, `Revoke the token ${id}?`);
      const revoked = await withPostgres(cli, async (db) => (await tokensOf(db)).revoke(id));
      if (!revoked) throw new CommandFailure(`There is no active token ${id}. See \`weir token list\`.`);
      if (options.json) return printJson(cli.io, { revoked: id });
      cli.io.stderr(`Token ${id} revoked.\n`);
    });
}

async function tokensOf(db: Database) {
  const { createTokens } = await import('../postgres/tokens.ts');
  return createTokens(db);
}

/** The key to take over, null when a new one is wanted. It must be fit to stand in a header. */
async function importedKey({ input }: Cli, { import: given, secret }: CreateOptions): Promise<string | null> {
  if (given === undefined) return null;
  const key = given === '-' ? (await input.readAll()).trim() : given;
  if (!/^[\x21-\x7e]{8,512}$/.test(key)) {
    throw new CommandFailure('The key to import must be 8 to 512 printable ASCII characters without spaces.');
  }
  if (key.startsWith(secret ? 'mere_pub_' : 'mere_sec_')) {
    throw new CommandFailure(
      `The key to import says that it is ${secret ? 'public' : 'secret'}: ${secret ? 'leave --secret out' : 'add --secret'}.`,
    );
  }
  return key;
}

async function createUnique(tokens: Tokens, token: NewToken) {
  const { TokenExists } = await import('../postgres/tokens.ts');
  return tokens.create(token).catch((error: unknown) => {
    if (!(error instanceof TokenExists)) throw error;
    throw new CommandFailure('This key is a token already, of this or of another project. See `weir token list`.');
  });
}

/** The plaintext alone goes to stdout, so that a script can keep it without cutting text. */
function printToken(
  { io }: Cli,
  { id, plaintext }: { id: string; plaintext: string },
  { isImported, json }: { isImported: boolean; json: boolean | undefined },
): void {
  if (json) return printJson(io, isImported ? { id } : { id, token: plaintext });
  if (isImported) return io.stderr(`Key imported as token ${id}.\n`);
  io.stdout(`${plaintext}\n`);
  io.stderr(`Token ${id} created. Keep it now: it is not stored and cannot be shown again.\n`);
}
