/**
 * Builds the console's page: `src/console/page/` → `dist/console/`, with hashed names and a manifest, each file compressed beside itself.
 *
 *     node build.ts               builds it
 *     node build.ts --if-older    builds it where it is missing, or older than what it is made of
 */
import { existsSync, globSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync } from 'node:zlib';

const ROOT = fileURLToPath(new URL('.', import.meta.url));
const BUILT = join(ROOT, 'dist/console');
const MANIFEST = join(BUILT, 'manifest.json');
/** What the page is made of. Of the other rooms it takes types alone, which leave no trace in it. */
const SOURCES = ['src/console/page/**/*', 'package-lock.json', 'build.ts'];

/** Whether the page is missing, or older than what it is made of. */
function isOlder(): boolean {
  if (!existsSync(MANIFEST)) return true;
  const built = statSync(MANIFEST).mtimeMs;
  return globSync(SOURCES, { cwd: ROOT }).some((file) => statSync(join(ROOT, file)).mtimeMs > built);
}

/** Builds beside the old page and changes them over, so that nobody is served half of one. Rejects when it cannot. */
async function buildPage(): Promise<void> {
  const { build } = await import('vite');
  const beside = `${BUILT}-${process.pid}`;
  try {
    await build({
      configFile: false,
      root: join(ROOT, 'src/console/page'),
      logLevel: 'warn',
      build: {
        outDir: beside,
        emptyOutDir: true,
        manifest: 'manifest.json',
        target: 'es2022',
        modulePreload: { polyfill: false },
        // Its policy allows no data in scripts and styles, and there is nothing so small.
        assetsInlineLimit: 0,
      },
    });
    for (const file of globSync('**/*.{html,js,css}', { cwd: beside }))
      writeFileSync(join(beside, `${file}.br`), brotliCompressSync(readFileSync(join(beside, file))));
    mkdirSync(BUILT, { recursive: true });
    renameSync(BUILT, `${beside}-old`);
    renameSync(beside, BUILT);
  } finally {
    rmSync(beside, { recursive: true, force: true });
    rmSync(`${beside}-old`, { recursive: true, force: true });
  }
}

/** What builds the page and what it is made of; production installs none of it. */
const TOOLS = ['vite', 'preact', '@preact/signals', 'uplot'];

function areToolsInstalled(): boolean {
  return TOOLS.every((name) => existsSync(join(ROOT, 'node_modules', name)));
}

/** Builds the page where it is missing or older than its sources. False where it should, and its tools are missing. */
export async function buildPageIfOlder(): Promise<boolean> {
  if (!isOlder()) return true;
  if (!areToolsInstalled()) return false;
  await buildPage();
  return true;
}

if (import.meta.main) {
  if (!process.argv.includes('--if-older')) await buildPage();
  // Weir needs no page to take events in.
  else if (!(await buildPageIfOlder()))
    process.stderr.write("The console's page was not built: its tools are not installed here. `npm ci` brings them.\n");
}
