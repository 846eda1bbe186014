/**
 * Which software stores the events of this start. A data directory remembers what the last start chose, so that another
 * set of installed packages does not silently change it.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Config } from '../config/config.ts';
import type { EventStoreName } from '../pipeline/storage-port.ts';

export type EventStoreChoice = NonNullable<Config['eventStore']>;

/** `said`: what the person who starts Weir has to know of it, a sentence; null when it is what they would expect. */
export type ChosenEventStore = { readonly store: EventStoreChoice; readonly said: string | null };

type Chooser = Pick<Config, 'eventStore' | 'clickhouse' | 'production' | 'dataDir'>;

const FILE = 'event-store';
/** What people call it. */
export const STORE_NAMES: Readonly<Record<EventStoreChoice, EventStoreName>> = {
  clickhouse: 'ClickHouse',
  postgres: 'Postgres',
};

/**
 * A setting decides; without one the directory's own choice; without that ClickHouse, unless it would have to be embedded and
 * cannot be. `whyNotEmbedded`: why not, in words; asked only then.
 */
export async function chooseEventStore(
  config: Chooser,
  whyNotEmbedded: () => Promise<string | null>,
): Promise<ChosenEventStore> {
  const before = rememberedEventStore(config.dataDir);
  const named = namedEventStore(config);
  if (named !== null)
    return { store: named, said: before === null || before === named ? null : changed(before, named) };
  if (before !== null) return { store: before, said: null };
  const why = await whyNotEmbedded();
  if (why === null) return { store: 'clickhouse', said: null };
  return { store: 'postgres', said: `Events are stored in Postgres: ${why}.` };
}

/** What the settings say; null when they leave it open. */
export function namedEventStore({
  eventStore,
  clickhouse,
  production,
}: Pick<Config, 'eventStore' | 'clickhouse' | 'production'>): EventStoreChoice | null {
  if (eventStore !== null) return eventStore;
  return clickhouse.url !== null || production ? 'clickhouse' : null;
}

/** What the last start in this directory chose; null when there was none. */
export function rememberedEventStore(dataDir: string): EventStoreChoice | null {
  const written = textOf(join(dataDir, FILE)).trim();
  if (written === 'clickhouse' || written === 'postgres') return written;
  // A directory of a version that knew nothing else.
  return existsSync(join(dataDir, 'clickhouse', 'data')) ? 'clickhouse' : null;
}

/** Throws what `fs` throws. */
export function rememberEventStore(dataDir: string, store: EventStoreChoice): void {
  const path = join(dataDir, FILE);
  if (textOf(path).trim() !== store) writeFileSync(path, `${store}\n`, { mode: 0o600 });
}

function changed(before: EventStoreChoice, now: EventStoreChoice): string {
  const bring = before === 'postgres' ? ' Bring them over with: weir copy --to clickhouse.' : '';
  return (
    `Events are stored in ${STORE_NAMES[now]} from now on. Those that this Weir stored in ${STORE_NAMES[before]} before stay there, ` +
    `and no query finds them here.${bring} To go back: EVENT_STORE=${before}.`
  );
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // There is none, or it cannot be read: nothing is remembered.
  }
}
