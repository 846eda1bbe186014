/**
 * The project a newcomer starts with. Only with the embedded Postgres: its tokens lie in the data directory in plain
 * text, so that every start can show a line that works.
 */
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as v from 'valibot';
import type { Config } from '../config/config.ts';
import type { Projects } from '../postgres/accounts/projects.ts';
import type { Tokens } from '../postgres/accounts/tokens.ts';

const Demo = v.object({ project_id: v.string(), public_token: v.string(), secret_token: v.string() });
export type Demo = v.InferOutput<typeof Demo>;

type Stores = {
  readonly projects: Pick<Projects, 'create' | 'get'>;
  readonly tokens: Pick<Tokens, 'create'>;
};

/** The demo project of this data directory, created if it does not exist (any more). */
async function findOrCreateDemo(dataDir: string, { projects, tokens }: Stores): Promise<Demo> {
  const path = join(dataDir, 'demo.json');
  const known = readDemo(path);
  if (known && (await projects.get(known.project_id)) !== null) return known;

  const project = await projects.create({ name: 'demo', retentionSeconds: null, allowedOrigins: [] });
  const tokenOf = async (kind: 'public' | 'secret') => {
    const token = await tokens.create({ projectId: project.id, kind, name: `demo ${kind}`, imported: null });
    return token!.plaintext;
  };
  const demo = {
    project_id: project.id,
    public_token: await tokenOf('public'),
    secret_token: await tokenOf('secret'),
  };
  writeFileSync(path, `${JSON.stringify(demo, null, 2)}\n`, { mode: 0o600 });
  chmodSync(path, 0o600);
  return demo;
}

/** The demo, where one is wanted, as soon as it is possible: with an embedded Postgres, once that is migrated. */
export async function provideDemo(
  {
    databaseUrl,
    clickhouse,
    eventStore,
    dataDir,
    production,
  }: Pick<Config, 'databaseUrl' | 'clickhouse' | 'eventStore' | 'dataDir' | 'production'>,
  weir: Stores & { readonly postgresReady: Promise<void>; readonly migrated: Promise<void> },
): Promise<Demo | null> {
  if (production || databaseUrl !== null) return null;
  await weir.postgresReady;
  // Without both stores there is nothing to try yet; a configured one may take its time.
  if (clickhouse.url === null || eventStore === 'postgres') await weir.migrated;
  return findOrCreateDemo(dataDir, weir);
}

function readDemo(path: string): Demo | null {
  try {
    const parsed = v.safeParse(Demo, JSON.parse(readFileSync(path, 'utf8')));
    return parsed.success ? parsed.output : null;
  } catch {
    // Missing or damaged: a new one is created.
    return null;
  }
}
