import type { Command } from 'commander';
import type { Database } from '../postgres/connection/pool.ts';
import { SAFE_KEY_CHARACTERS, checkImportedKey } from '../operations/imported-key.ts';
import { ACTOR_OPTION, actorOf } from './actor.ts';
import { printJson, type Cli } from './cli.ts';
import { confirmed } from './confirm.ts';
import { withPostgres } from './stores.ts';
import { textTable } from './table.ts';

type CreateOptions = {
  project: string;
  secret?: boolean;
  import?: string;
  name?: string;
  actor?: string;
  json?: boolean;
};

export function addToken(program: Command, cli: Cli): void {
  const token = program.command('token').description('create, list and revoke the tokens that clients send');

  token
    .command('create')
    .description('create a token and print it, once')
    .requiredOption('--project <id>', 'the project it belongs to')
    .option(
      '--secret',
      'the token may also read its project; keep it out of web pages (default: public, may only send events)',
    )
    .option('--import <key>', 'import a key that clients of another service already use; "-" reads it from stdin')
    .option('--name <name>', 'a name for people')
    .option(...ACTOR_OPTION)
    .option('--json', 'print the token as JSON')
    .addHelpText(
      'after',
      `
Weir keeps only a hash of the token, so it cannot print the token again.
With --import the key is not printed. "--import -" keeps it out of the shell's history.

Examples:
  weir token create --project 0198c0de-0000-7000-8000-000000000000 --name website
  weir token create --project 0198c0de-0000-7000-8000-000000000000 --secret --json
  weir token create --project 0198c0de-0000-7000-8000-000000000000 --import - < old-key`,
    )
    .action(async (options: CreateOptions) => {
      const imported = await importedKey(cli, options);
      const { project: projectId, name = null } = options;
      const created = await withPostgres(cli, async (db) => {
        const { createToken } = await import('../operations/create-token.ts');
        return createToken(db, { projectId, kind: kindOf(options), name, imported }, { actor: actorOf(cli, options) });
      });
      printToken(cli, created, { isImported: imported !== null, json: options.json });
    });

  token
    .command('list')
    .description('list the tokens, without their plaintext')
    .option('--project <id>', 'only tokens of one project')
    .option('--json', 'print one JSON array')
    .addHelpText(
      'after',
      '\nExamples:\n  weir token list\n  weir token list --project 0198c0de-0000-7000-8000-000000000000',
    )
    .action(async (options: { project?: string; json?: boolean }) => {
      const { project = null } = options;
      const tokens = await withPostgres(cli, async (db) => {
        const found = await (await tokensOf(db)).list(project);
        if (found.length > 0 || project === null) return found;
        const { findKnownProject } = await import('../operations/find-project.ts');
        await findKnownProject(db, project);
        return found;
      });
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
    .option('--yes', 'skip the confirmation')
    .option(...ACTOR_OPTION)
    .option('--json', 'print the outcome as JSON')
    .addHelpText('after', '\nExamples:\n  weir token revoke 0198c0de-0000-7000-8000-000000000000 --yes')
    .action(async (id: string, options: { yes?: boolean; actor?: string; json?: boolean }) => {
      await confirmed(cli, options, `Revoke the token ${id}?`);
      await withPostgres(cli, async (db) => {
        const { revokeToken } = await import('../operations/revoke-token.ts');
        await revokeToken(db, id, { actor: actorOf(cli, options) });
      });
      if (options.json) return printJson(cli.io, { revoked: id });
      cli.io.stderr(`Token ${id} revoked.\n`);
    });
}

async function tokensOf(db: Database) {
  const { createTokens } = await import('../postgres/accounts/tokens.ts');
  return createTokens(db);
}

const kindOf = ({ secret }: CreateOptions) => (secret ? 'secret' : 'public');

/** The key to import; null to generate one. Throws `OperationRefused`. */
async function importedKey({ input, io }: Cli, options: CreateOptions): Promise<string | null> {
  const { import: given, secret } = options;
  if (given === undefined) return null;
  const key = given === '-' ? (await input.readAll()).trim() : given;
  if (checkImportedKey(key, kindOf(options)).isGuessable) {
    io.stderr(
      `Warning: this key has ${key.length} characters. An attacker who guesses it can ${secret ? 'read and send' : 'send'} the project's events; replace it with one of ${SAFE_KEY_CHARACTERS} or more, such as those that \`weir token create\` makes.\n`,
    );
  }
  return key;
}

/** Only the plaintext goes to stdout, so that a script can capture it without parsing. */
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
