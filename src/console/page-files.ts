/** The page and its files, as the build left them. */
import { type Dirent, readFileSync, readdirSync } from 'node:fs';
import { extname, join, relative, sep } from 'node:path';
import { Hono } from 'hono';
import type { ConsoleEnv } from './env.ts';

type PageFile = {
  readonly type: string;
  /** Its name changes with its contents. */
  readonly isHashed: boolean;
  readonly bytes: Buffer<ArrayBuffer>;
  /** The same compressed with brotli; null where the build made none. */
  readonly brotli: Buffer<ArrayBuffer> | null;
};

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.woff2': 'font/woff2',
};
const COMPRESSED = '.br';
const INDEX = '/index.html';
/** Where vite puts what it names after its contents. */
const HASHED = '/assets/';
const NOT_BUILT = 'The page of the console is not built. Build it with `npm run build`, then reload.\n';

/**
 * Serves the files beneath `directory`, and `index.html` at `/`. A path is looked up among their names, and nothing is
 * ever read by a name from outside. They are read when the page is first asked for, all of them.
 */
export function pageFiles(directory: string): Hono<ConsoleEnv> {
  let files: ReadonlyMap<string, PageFile> = new Map();
  return new Hono<ConsoleEnv>().get('*', async (c, next) => {
    if (files.size === 0) files = readFiles(directory);
    const path = c.req.path === '/' ? INDEX : c.req.path;
    const file = files.get(path);
    if (file === undefined) return path === INDEX ? c.text(NOT_BUILT, 503) : next();
    if (file.isHashed) c.header('Cache-Control', 'public, max-age=31536000, immutable');
    c.header('Content-Type', file.type);
    if (file.brotli === null) return c.body(file.bytes);
    c.header('Vary', 'Accept-Encoding');
    if (!/\bbr\b/.test(c.req.header('Accept-Encoding') ?? '')) return c.body(file.bytes);
    c.header('Content-Encoding', 'br');
    return c.body(file.brotli);
  });
}

/** By path. Empty where nothing is built. */
function readFiles(directory: string): ReadonlyMap<string, PageFile> {
  const paths = entriesOf(directory)
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  const known = new Set(paths);
  return new Map(
    paths.flatMap((path): [string, PageFile][] => {
      const type = TYPES[extname(path)];
      if (type === undefined) return [];
      const name = `/${relative(directory, path).split(sep).join('/')}`;
      const brotli = known.has(path + COMPRESSED) ? readFileSync(path + COMPRESSED) : null;
      return [[name, { type, isHashed: name.startsWith(HASHED), bytes: readFileSync(path), brotli }]];
    }),
  );
}

function entriesOf(directory: string): Dirent[] {
  try {
    return readdirSync(directory, { recursive: true, withFileTypes: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
