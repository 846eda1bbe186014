import { parse, TomlError } from 'smol-toml';
import { isSettingName, SETTING_NAMES, type SettingName } from './settings.ts';

export type Environment = Readonly<Record<string, string | undefined>>;
/** The text of a file; throws what `fs` throws. */
export type ReadFile = (path: string) => string;
export type Source = 'env' | 'file' | 'default';

/** Settings as text, before anything is checked. */
export type Written = ReadonlyMap<SettingName, { readonly text: string; readonly source: Source }>;
export type Reading = { readonly written: Written; readonly problems: readonly string[] };

const DEFAULT_FILE = 'weir.toml';
const OUR_PREFIX = /^(INGEST|DLQ|WEIR|CLICKHOUSE)_/;
/** Variables that the compose files put into the configuration of their services: a `.env` beside them may hold them. */
const OF_COMPOSE: ReadonlySet<string> = new Set([
  'WEIR_POSTGRES_PASSWORD',
  'WEIR_CLICKHOUSE_PASSWORD',
  'WEIR_POSTGRES_IMAGE',
  'WEIR_CLICKHOUSE_IMAGE',
  'WEIR_NODE_IMAGE',
  'WEIR_KAFKA_IMAGE',
]);
/** Shorter names than this have neighbours in every environment: `HOST`, `PORT`, `CHANNEL`. */
const MIN_TELLING = 8;
/** From this length on a name may be two characters off; a shorter one only one. */
const MIN_LONG = 13;
/** Variables of other programs that differ from a setting by a character. */
const OF_OTHERS: ReadonlySet<string> = new Set(['LOGLEVEL', 'LOG_LEVELS']);
// Kubernetes sets these for every service of the namespace, so one named "clickhouse" or "weir" puts variables into the
// environment that no person wrote.
const SERVICE_LINK = /_SERVICE_HOST$|_SERVICE_PORT(_\w+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$/;

/** The environment over the file. Empty text counts as unset. */
export function readSources(env: Environment, readFile: ReadFile): Reading {
  const problems: string[] = [];
  const written = new Map<SettingName, { text: string; source: Source }>();

  for (const [name, text] of readTomlFile(env, readFile, problems)) {
    if (!isSettingName(name)) problems.push(unknownName(name, 'the configuration file'));
    else if (name === 'WEIR_CONFIG') problems.push('WEIR_CONFIG: the configuration file cannot name another one');
    else if (text !== '') written.set(name, { text, source: 'file' });
  }
  const strangers: string[] = [];
  for (const [name, text] of Object.entries(env)) {
    if (text === undefined || text === '') continue;
    if (isSettingName(name)) written.set(name, { text, source: 'env' });
    else if (!OF_COMPOSE.has(name) && !isServiceLink(name, text)) strangers.push(name);
  }
  const hasTopic = written.get('CHANNEL')?.text === 'kafka';
  for (const name of strangers) {
    if (OUR_PREFIX.test(name) || isMistyped(name, { env, hasTopic }))
      problems.push(unknownName(name, 'the environment'));
  }
  return { written, problems };
}

/** Whether a name without a prefix of ours is nearly always meant for one of the settings. */
function isMistyped(name: string, { env, hasTopic }: { env: Environment; hasTopic: boolean }): boolean {
  if (OF_OTHERS.has(name)) return false;
  return SETTING_NAMES.some((known) => {
    const mayDiffer = known.length < MIN_LONG ? 1 : 2;
    if (known.length < MIN_TELLING || Math.abs(known.length - name.length) > mayDiffer) return false;
    // Whoever has set the right one as well does not mean it with this one.
    if (env[known]) return false;
    // Other programs have brokers as well; Weir reads none of these settings without a topic.
    if (known.startsWith('KAFKA_') && !hasTopic) return false;
    return editDistance(name, known) <= mayDiffer;
  });
}

function readTomlFile(env: Environment, readFile: ReadFile, problems: string[]): Map<string, string> {
  const named = env['WEIR_CONFIG'] || null;
  const path = named ?? DEFAULT_FILE;
  try {
    return flatten(parse(readFile(path)), problems);
  } catch (error) {
    if (error instanceof TomlError) {
      // The error's own message quotes the line, and the line may hold a password.
      problems.push(`${path}: is not TOML: look at line ${error.line}, column ${error.column}`);
    } else if (named !== null || !isMissing(error)) {
      const reason = isMissing(error) ? 'there is no such file' : 'the file could not be read';
      problems.push(`${named === null ? path : `WEIR_CONFIG: given ${JSON.stringify(named)}`}: ${reason}`);
    }
    return new Map();
  }
}

/** `INGEST_FLUSH_EVENTS = 5000` and `[ingest] flush_events = 5000` are the same setting. */
function flatten(
  table: object,
  problems: string[],
  prefix = '',
  into = new Map<string, string>(),
): Map<string, string> {
  for (const [key, value] of Object.entries(table)) {
    const name = `${prefix}${key}`.toUpperCase();
    if (isTable(value)) {
      flatten(value, problems, `${name}_`, into);
      continue;
    }
    const text = asText(value);
    if (text === null)
      problems.push(
        `${name}: the configuration file holds something other than text, a number, true or false, or a list of texts`,
      );
    else if (into.has(name)) problems.push(`${name}: set twice in the configuration file`);
    else into.set(name, text);
  }
  return into;
}

function asText(value: unknown): string | null {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  return Array.isArray(value) && value.every((part) => typeof part === 'string') ? value.join(',') : null;
}

function isTable(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && (error as { code?: unknown }).code === 'ENOENT';
}

function isServiceLink(name: string, text: string): boolean {
  return SERVICE_LINK.test(name) || (name.endsWith('_PORT') && /^(tcp|udp|sctp):\/\//.test(text));
}

/** The message omits the value: with a mistyped name, a password may be in it. */
function unknownName(name: string, where: string): string {
  return `${name}: there is no such setting (in ${where}); did you mean ${nearestName(name)}?`;
}

/** The known name with the smallest edit distance; an unfinished name counts as one edit away. */
export function nearestName(name: string): SettingName {
  const ranked = SETTING_NAMES.map((known) => ({
    known,
    distance: known.startsWith(name) ? 1 : editDistance(name, known),
  }));
  return ranked.reduce((best, next) => (next.distance < best.distance ? next : best)).known;
}

/** Levenshtein, one row at a time, where two neighbours that changed places count as one edit. */
function editDistance(from: string, to: string): number {
  let aboveThat: number[] = [];
  let above = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (let row = 0; row < from.length; row++) {
    const current = [row + 1];
    for (let column = 1; column <= to.length; column++) {
      const replace = above[column - 1]! + (from[row] === to[column - 1] ? 0 : 1);
      const isSwap = row > 0 && column > 1 && from[row] === to[column - 2] && from[row - 1] === to[column - 1];
      const swap = isSwap ? aboveThat[column - 2]! + 1 : Infinity;
      current.push(Math.min(replace, swap, above[column]! + 1, current[column - 1]! + 1));
    }
    [aboveThat, above] = [above, current];
  }
  return above[to.length]!;
}
